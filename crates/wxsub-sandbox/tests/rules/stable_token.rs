//! `POST /cgi-bin/stable_token`. Source, unless stated otherwise: service/api/base/api_getStableAccessToken.

use crate::weixin::{STABLE, Weixin, code, lifetime, stable_body, text};

/// Normal mode returns the same token with its remaining lifetime.
#[test]
fn stable_token_is_shared_until_300_s_before_expiry() {
    let weixin = Weixin::new();
    let first = weixin.stable(false);
    assert_eq!(lifetime(&first), 7200);
    weixin.advance(6855);
    let late = weixin.stable(false);
    assert_eq!((text(&late), lifetime(&late)), (text(&first), 345));
    weixin.advance(45);
    let next = weixin.stable(false);
    assert_ne!(text(&next), text(&first));
    assert_eq!(lifetime(&next), 7200);
}

/// After the renewal both tokens are valid for five minutes. The previous one then expires.
#[test]
fn previous_token_stays_valid_until_it_expires() {
    let weixin = Weixin::new();
    let old = text(&weixin.stable(false));
    weixin.advance(6900);
    let new = text(&weixin.stable(false));
    weixin.advance(299);
    assert_eq!((weixin.token_errcode(&old), weixin.token_errcode(&new)), (0, 0));
    weixin.advance(1);
    assert_eq!((weixin.token_errcode(&old), weixin.token_errcode(&new)), (42001, 0));
}

/// The two kinds of tokens do not affect each other.
#[test]
fn classic_and_stable_tokens_are_independent() {
    let weixin = Weixin::new();
    let (stable, classic) = (text(&weixin.stable(false)), weixin.token());
    weixin.token();
    weixin.token();
    assert_eq!((weixin.token_errcode(&stable), weixin.token_errcode(&classic)), (0, 40001));
    let latest = weixin.token();
    weixin.stable(true);
    weixin.advance(30);
    weixin.stable(true);
    assert_eq!((weixin.token_errcode(&stable), weixin.token_errcode(&latest)), (40001, 0));
}

/// [CHOSEN] The previous token keeps its five minutes after one forced refresh. The page says that two, 30 s apart, are
/// needed to invalidate a leaked token at once.
#[test]
fn second_forced_refresh_ends_the_overlap() {
    let weixin = Weixin::new();
    let leaked = text(&weixin.stable(false));
    let forced = weixin.stable(true);
    assert_ne!(text(&forced), leaked);
    assert_eq!((lifetime(&forced), weixin.token_errcode(&leaked)), (7200, 0));
    assert_eq!(text(&weixin.stable(false)), text(&forced));
    weixin.advance(30);
    let again = text(&weixin.stable(true));
    assert_eq!(weixin.token_errcode(&leaked), 40001);
    assert_eq!((weixin.token_errcode(&text(&forced)), weixin.token_errcode(&again)), (0, 0));
}

#[test]
fn forced_refresh_invalidates_previous_token_after_overlap() {
    let weixin = Weixin::new();
    let old = text(&weixin.stable(false));
    weixin.stable(true);
    weixin.advance(300);
    assert_eq!(weixin.token_errcode(&old), 40001);
}

/// A forced refresh less than 30 s after another returns the same token. [CHOSEN] It does not count.
#[test]
fn forced_refresh_within_30_s_returns_same_token() {
    let weixin = Weixin::new();
    let first = text(&weixin.stable(true));
    weixin.advance(29);
    let second = weixin.stable(true);
    assert_eq!((text(&second), lifetime(&second)), (first.clone(), 7171));
    weixin.advance(1);
    assert_ne!(text(&weixin.stable(true)), first);
}

/// Normal mode still works after the limit is reached.
#[test]
fn forced_refresh_is_limited_to_20_per_day() {
    let weixin = Weixin::new();
    for _ in 0..20 {
        assert_eq!(code(&weixin.stable(true)), 0);
        weixin.stable(true);
        weixin.advance(30);
    }
    assert_eq!(code(&weixin.stable(true)), 45009);
    assert_eq!(code(&weixin.stable(false)), 0);
    weixin.advance(24 * 3600);
    assert_eq!(code(&weixin.stable(true)), 0);
}

#[test]
fn calls_are_limited_to_10000_per_minute() {
    let weixin = Weixin::new();
    for _ in 0..10_000 {
        weixin.stable(false);
    }
    assert_eq!(code(&weixin.stable(false)), 45011);
    weixin.advance(60);
    assert_eq!(code(&weixin.stable(false)), 0);
}

/// The endpoint accepts only POST with JSON.
#[test]
fn invalid_request_is_rejected() {
    let weixin = Weixin::new();
    let body = stable_body(false).to_string();
    assert_eq!(code(&weixin.ask("GET", STABLE, &body)), 43002);
    assert_eq!(code(&weixin.ask("POST", STABLE, "")), 44002);
    for bad in ["appid=wx1", "[]", "{", &body.replace("false", "\"yes\"")] {
        assert_eq!(code(&weixin.ask("POST", STABLE, bad)), 47001, "{bad}");
    }
    for absent in ["null", "false"] {
        assert_eq!(code(&weixin.ask("POST", STABLE, &body.replace("false", absent))), 0);
    }
}

/// [CHOSEN] A token with a lifetime of seconds is renewed at half of it, so that tests can use short lifetimes.
#[test]
fn short_lived_token_is_renewed_at_half_lifetime() {
    let weixin = Weixin::with(|settings| settings.token_lifetime = std::time::Duration::from_secs(4));
    let first = weixin.stable(false);
    assert_eq!(lifetime(&first), 4);
    weixin.advance(1);
    assert_eq!(text(&weixin.stable(false)), text(&first));
    weixin.advance(1);
    let second = weixin.stable(false);
    assert_ne!(text(&second), text(&first));
    weixin.advance(2);
    assert_eq!((weixin.token_errcode(&text(&first)), weixin.token_errcode(&text(&second))), (42001, 0));
}
