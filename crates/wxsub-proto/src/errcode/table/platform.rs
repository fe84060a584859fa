//! 61000 and above: third-party platforms, trace ids, addresses awaiting confirmation, newer ranges.

use super::super::Remedy::{AllowIp, FixConfig, Investigate, RetryLater};
use super::{Entry, both, link};

#[rustfmt::skip]
pub(super) const ROWS: [Entry; 15] = [
    both(61004, "client_ip_unauthorized", link::ALLOW_LIST, AllowIp,
        "the calling address is not registered; by another page, the account was not granted this endpoint"),
    both(61007, "component_unauthorized", link::CODES, FixConfig,
        "the account has not granted this endpoint to the third-party platform that acts for it"),
    both(61024, "component_token_required", link::TOKEN, FixConfig,
        "the account belongs to a third-party platform; its tokens come from api_component_token"),
    both(76001, "rid_not_found", link::RID, Investigate,
        "Weixin has no record of this trace id"),
    both(76002, "rid_invalid", link::RID, Investigate,
        "the trace id is malformed"),
    both(76003, "rid_of_another_account", link::RID, Investigate,
        "the trace id belongs to a call of another account"),
    both(76004, "rid_too_old", link::RID, Investigate,
        "trace ids can be looked up for seven days only"),
    both(76021, "cgi_path_not_found", link::QUOTA, Investigate,
        "there is no endpoint with this path"),
    both(76022, "cgi_path_unauthorized", link::QUOTA, Investigate,
        "this endpoint cannot be looked up by this account"),
    both(89501, "ip_awaiting_confirmation", link::STABLE_TOKEN, AllowIp,
        "the administrator has not answered yet whether this address may call"),
    both(89503, "ip_needs_confirmation", link::STABLE_TOKEN, AllowIp,
        "the administrator has just been asked whether this address may call; once confirmed, call again"),
    both(89506, "ip_refused_for_a_day", link::STABLE_TOKEN, AllowIp,
        "the administrator refused this address twice; it may not call for 24 hours"),
    both(89507, "ip_refused_for_an_hour", link::STABLE_TOKEN, AllowIp,
        "the administrator refused this address once; it may not call for an hour"),
    both(268_487_001, "blacklist_api_busy", link::COMMON, RetryLater,
        "Weixin is busy; a newer number, seen on other endpoints"),
    both(268_487_002, "followers_api_busy", link::COMMON, RetryLater,
        "Weixin is busy; a newer number, seen on other endpoints"),
];
