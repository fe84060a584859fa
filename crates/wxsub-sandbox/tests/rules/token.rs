//! `GET /cgi-bin/token`, and the credentials of both token endpoints.

use std::time::Duration;

use serde_json::{Value, json};

use crate::weixin::{SECRET, STABLE, TOKEN, Weixin, appid, code, errmsg, lifetime, text, token_target};

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

/// Sends the same credentials to both endpoints. Both must return the same error.
fn both(weixin: &Weixin, credentials: &[(&str, &str)]) -> (i64, String) {
    let query: Vec<_> = credentials.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let body: serde_json::Map<_, _> =
        credentials.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let classic = weixin.ask("GET", &format!("{TOKEN}?{}", query.join("&")), "");
    let stable = weixin.ask("POST", STABLE, &Value::Object(body).to_string());
    assert_eq!((code(&classic), errmsg(&classic)), (code(&stable), errmsg(&stable)));
    (code(&classic), errmsg(&classic).to_owned())
}

/// Source: error tables of Mobile_App/One-time_subscription_info and of getStableAccessToken. The messages are from real
/// responses; that of 41004 imitates their style. Source of the last two rows: a probe of the live API without credentials.
#[test]
fn each_credential_error_has_its_code() {
    let (weixin, appid) = (Weixin::new(), appid().to_string());
    let (appid, grant) = (("appid", appid.as_str()), ("grant_type", "client_credential"));
    let secret = ("secret", SECRET);
    for (credentials, expected, text) in [
        (vec![grant, secret], 41002, "appid missing"),
        (vec![("appid", ""), grant, secret], 41002, "appid missing"),
        (vec![("appid", "wxunknown"), grant, secret], 40013, "invalid appid"),
        (vec![("appid", "w!"), grant, secret], 40013, "invalid appid"),
        (vec![appid, secret], 40002, "invalid grant_type"),
        (vec![appid, ("grant_type", "password"), secret], 40002, "invalid grant_type"),
        (vec![appid, grant], 41004, "appsecret missing"),
        (vec![appid, grant, ("secret", "wrong")], 40125, "invalid appsecret"),
        // The AppID is checked before the grant type.
        (vec![("appid", "wxunknown"), ("grant_type", "x")], 40013, "invalid appid"),
        (vec![("grant_type", "x")], 41002, "appid missing"),
    ] {
        assert_eq!(both(&weixin, &credentials), (expected, text.to_owned()));
    }
}

/// Source: real responses; get_rid_info: the first group is the time of the request in hex.
#[test]
fn every_error_has_a_rid() {
    let response = Weixin::new().ask("GET", TOKEN, "");
    let errmsg = response["errmsg"].as_str().unwrap();
    let rid = errmsg.strip_prefix("appid missing rid: ").unwrap();
    assert_eq!((rid.len(), &rid[..9]), (26, "6553f100-"));
}

/// Source: service/api/base/api_getStableAccessToken, error table. The message imitates the style of the others.
#[test]
fn frozen_secret_blocks_fetches_and_keeps_tokens_valid() {
    let weixin = Weixin::new();
    let token = weixin.token();
    let mut settings = weixin.0.settings(&appid()).unwrap();
    settings.frozen = true;
    weixin.0.configure(&appid(), settings).unwrap();
    assert_eq!(code(&weixin.fetch()), 40243);
    assert_eq!(code(&weixin.stable(false)), 40243);
    assert_eq!(weixin.token_errcode(&token), 0);
}

/// Source: oplatform/developers/basic_func/ip_whitelist (for Official Accounts it applies to every request); real responses.
#[test]
fn address_outside_allow_list_is_rejected_and_quoted() {
    let weixin = Weixin::with(|settings| settings.allowed_ips = Some(vec![[127, 0, 0, 1].into()]));
    let token = weixin.token();
    let other_address = [1, 2, 3, 4].into();
    for (method, target) in
        [("GET", token_target()), ("GET", format!("/cgi-bin/get_api_domain_ip?access_token={token}"))]
    {
        let response = weixin.ask_from(other_address, method, &target, "");
        assert_eq!(code(&response), 40164);
        assert_eq!(errmsg(&response), "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist");
        let mapped = "::ffff:127.0.0.1".parse().unwrap();
        assert_eq!(code(&weixin.ask_from(mapped, method, &target, "")), 0);
    }
    let v6 = weixin.ask_from("2001:db8::7".parse().unwrap(), "GET", &token_target(), "");
    assert_eq!(errmsg(&v6), "invalid ip 2001:db8::7 ipv6 2001:db8::7, not in whitelist");
}

#[test]
fn time_ends_with_the_year_9999() {
    let weixin = Weixin::new();
    weixin.0.advance(Duration::MAX);
    assert_eq!(weixin.0.now().as_secs(), 253_402_300_799);
    assert_eq!(weixin.token_errcode(&weixin.token()), 0);
    assert_eq!(code(&weixin.stable(true)), 0);
}

/// The settings of a test that wants no end of its tokens.
#[test]
fn endless_lifetime_and_overlap_do_not_overflow() {
    let weixin = Weixin::with(|settings| {
        (settings.token_lifetime, settings.overlap) = (Duration::MAX, Duration::MAX);
    });
    let stable = |force| text(&weixin.stable(force));
    for token in [weixin.token(), weixin.token(), stable(false), stable(true), stable(false)] {
        assert_eq!(weixin.token_errcode(&token), 0);
    }
}
