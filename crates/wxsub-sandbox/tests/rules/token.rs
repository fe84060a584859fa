//! `GET /cgi-bin/token`.

use crate::weixin::{TOKEN, Weixin, appid, code, errmsg, lifetime, text, token_target};

/// Source: Mobile_App/One-time_subscription_info, appendix: two hours, up to at least 512 characters.
#[test]
fn token_is_valid_for_two_hours() {
    let weixin = Weixin::new();
    let response = weixin.fetch();
    assert_eq!((lifetime(&response), text(&response).len()), (7200, 136));
    assert!(text(&response).bytes().all(|b| b.is_ascii_graphic()));
    weixin.advance(7199);
    assert_eq!(weixin.token_errcode(&text(&response)), 0);
    weixin.advance(1);
    assert_eq!(weixin.token_errcode(&text(&response)), 42001);
    let long = Weixin::with(|settings| settings.token_length = 512);
    assert_eq!(long.token().len(), 512);
    assert_eq!(long.token_errcode(&long.token()), 0);
}

/// Source: oplatform/developers/dev/AccessToken: previous and new token are both valid for five minutes.
#[test]
fn previous_token_is_invalid_after_300_s() {
    let weixin = Weixin::new();
    let (old, new) = (weixin.token(), weixin.token());
    assert_ne!(old, new);
    assert_eq!((weixin.token_errcode(&old), weixin.token_errcode(&new)), (0, 0));
    weixin.advance(299);
    assert_eq!(weixin.token_errcode(&old), 0);
    weixin.advance(1);
    assert_eq!((weixin.token_errcode(&old), weixin.token_errcode(&new)), (40001, 0));
}

/// Source: [INF] from "old and new" on the same page: at most the last two tokens are valid.
#[test]
fn third_fetch_invalidates_first_token_at_once() {
    let weixin = Weixin::new();
    let tokens = [weixin.token(), weixin.token(), weixin.token()];
    assert_eq!(tokens.map(|token| weixin.token_errcode(&token)), [40001, 0, 0]);
}

/// Source: global return codes: 42001 means expired, 40001 not the latest. [CHOSEN] The first cause counts.
#[test]
fn expired_and_superseded_have_different_codes() {
    let weixin = Weixin::new();
    let (replaced, latest) = (weixin.token(), weixin.token());
    weixin.advance(7200);
    assert_eq!((weixin.token_errcode(&replaced), weixin.token_errcode(&latest)), (40001, 42001));
    let weixin = Weixin::new();
    let expired = weixin.token();
    weixin.advance(7100);
    weixin.token();
    weixin.advance(100);
    assert_eq!(weixin.token_errcode(&expired), 42001);
}

/// Source: service/Message_Management/API_Call_Limits: 2000 a day. [CHOSEN] It resets at midnight in Beijing.
#[test]
fn daily_quota_resets_at_midnight_in_beijing() {
    let weixin = Weixin::new();
    for _ in 0..2000 {
        assert_eq!(code(&weixin.fetch()), 0);
    }
    let response = weixin.fetch();
    assert_eq!(code(&response), 45009);
    assert!(
        errmsg(&response)
            .starts_with("reach max api daily quota limit, could get access_token by getStableAccessToken")
    );
    // It is 06:13:20 in Beijing. Midnight is in 17:46:40.
    weixin.advance(63_999);
    assert_eq!(code(&weixin.fetch()), 45009);
    weixin.advance(1);
    assert_eq!(code(&weixin.fetch()), 0);
}

/// Source: [CHOSEN] a rejected fetch does not count.
#[test]
fn rejected_fetch_does_not_count() {
    let weixin = Weixin::with(|settings| settings.token_quota = 1);
    assert_eq!(code(&weixin.ask("GET", &token_target().replace("test-secret", "wrong"), "")), 40125);
    assert_eq!(code(&weixin.fetch()), 0);
    assert_eq!(code(&weixin.fetch()), 45009);
}

/// Source: global return codes, 45011: a limit per minute. [CHOSEN] Each minute of the clock is one window.
#[test]
fn minute_limit_applies() {
    let weixin = Weixin::with(|settings| settings.minute_limit = Some(2));
    let codes = [(); 3].map(|()| code(&weixin.fetch()));
    assert_eq!(codes, [0, 0, 45011]);
    weixin.advance(60);
    assert_eq!(code(&weixin.fetch()), 0);
}

/// Source: global return codes, 43001: GET is required. [CHOSEN] It applies to this endpoint.
#[test]
fn fetch_requires_get() {
    let weixin = Weixin::new();
    assert_eq!(code(&weixin.ask("POST", &token_target(), "")), 43001);
    let body = token_target().split_once('?').unwrap().1.to_owned();
    assert_eq!(code(&weixin.ask("POST", TOKEN, &body)), 43001);
}

/// Source: oplatform/developers/dev/AccessToken, on several servers that fetch tokens for one app.
#[test]
fn invalidate_tokens_ends_both_kinds() {
    let weixin = Weixin::new();
    let (classic, stable) = (weixin.token(), text(&weixin.stable(false)));
    weixin.0.invalidate_tokens(&appid()).unwrap();
    assert_eq!((weixin.token_errcode(&classic), weixin.token_errcode(&stable)), (40001, 40001));
    assert_ne!(text(&weixin.stable(false)), stable);
    assert_eq!(weixin.token_errcode(&weixin.token()), 0);
}

/// Source: global return codes: 41001 missing, 40014 invalid.
#[test]
fn missing_and_unknown_tokens_have_different_codes() {
    let weixin = Weixin::new();
    let made_up = "x".repeat(136);
    for (target, expected) in [
        ("/cgi-bin/get_api_domain_ip".to_owned(), 41001),
        ("/cgi-bin/get_api_domain_ip?access_token=".to_owned(), 41001),
        (format!("/cgi-bin/get_api_domain_ip?access_token={made_up}"), 40014),
        ("/cgi-bin/get_api_domain_ip?access_token=%ff%20".to_owned(), 40014),
    ] {
        assert_eq!(code(&weixin.ask("GET", &target, "")), expected, "{target}");
    }
}
