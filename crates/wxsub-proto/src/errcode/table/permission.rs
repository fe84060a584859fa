//! 48000 to 50999: what the app may do, and to whom.

use super::super::Remedy::{FixConfig, FixRequest, SlowDown, Stop};
use super::{Entry, both, link, on, row, send};

#[rustfmt::skip]
pub(super) const ROWS: [Entry; 13] = [
    row(48001, "api_unauthorized", link::TROUBLESHOOTING,
        on(FixConfig, "this account may not fetch access tokens here"),
        on(FixConfig, "the app was not granted this endpoint, or the token is of another kind of account")),
    send(48002, "user_blocks_messages", link::CODES, Stop,
        "the user has blocked messages of this account"),
    both(48004, "api_forbidden", link::CODES, FixConfig,
        "Weixin has taken the endpoint away because of irregularities; the console says why"),
    both(48006, "clear_quota_limit", link::LIMITS, SlowDown,
        "the quota has been reset as often as a month allows"),
    send(48008, "message_type_unauthorized", link::CODES, FixConfig,
        "the app may not send this type of message"),
    send(48011, "template_disabled", link::CODES, FixConfig,
        "the template has been disabled"),
    send(49003, "openid_appid_mismatch", link::CODES, FixRequest,
        "the openid was issued for another app"),
    both(50001, "unauthorized", link::CODES, FixConfig,
        "app or user is not authorised for this endpoint"),
    send(50002, "user_limited", link::CODES, Stop,
        "the user's account is restricted, frozen or gone"),
    send(50003, "user_unexpected", link::CODES, FixConfig,
        "the user is not among those this app may reach, such as its list of testers"),
    both(50004, "token_api_forbidden", link::TOKEN, FixConfig,
        "as a punishment the account may not fetch tokens; appeal in the console"),
    send(50005, "user_unsubscribed", link::CODES, Stop,
        "the user has unfollowed the account"),
    both(50007, "account_frozen", link::TOKEN, FixConfig,
        "the account is frozen; appeal in the console"),
];
