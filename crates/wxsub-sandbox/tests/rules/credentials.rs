//! AppID and AppSecret, on both token endpoints.

use serde_json::{Value, json};

use crate::weixin::{SECRET, STABLE, TOKEN, Weixin, appid, code, errmsg};

/// Asks both endpoints with the same credentials; they must say the same.
fn both(weixin: &Weixin, credentials: &[(&str, &str)]) -> (i64, String) {
    let query: Vec<_> = credentials.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let body: serde_json::Map<_, _> =
        credentials.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let classic = weixin.ask("GET", &format!("{TOKEN}?{}", query.join("&")), "");
    let stable = weixin.ask("POST", STABLE, &Value::Object(body).to_string());
    assert_eq!((code(&classic), errmsg(&classic)), (code(&stable), errmsg(&stable)));
    (code(&classic), errmsg(&classic).to_owned())
}

/// Source: error tables of Mobile_App/One-time_subscription_info and of getStableAccessToken; texts from real answers,
/// that of 41004 in their style.
#[test]
fn missing_and_wrong_credentials_are_told_apart() {
    let (weixin, appid) = (Weixin::new(), appid().to_string());
    let (appid, grant) = (("appid", appid.as_str()), ("grant_type", "client_credential"));
    let secret = ("secret", SECRET);
    for (credentials, expected, text) in [
        (vec![grant, secret], 41002, "appid missing"),
        (vec![("appid", ""), grant, secret], 41002, "appid missing"),
        (vec![("appid", "wxstranger"), grant, secret], 40013, "invalid appid"),
        (vec![("appid", "w!"), grant, secret], 40013, "invalid appid"),
        (vec![appid, secret], 40002, "invalid grant_type"),
        (vec![appid, ("grant_type", "password"), secret], 40002, "invalid grant_type"),
        (vec![appid, grant], 41004, "appsecret missing"),
        (vec![appid, grant, ("secret", "wrong")], 40125, "invalid appsecret"),
    ] {
        assert_eq!(both(&weixin, &credentials), (expected, text.to_owned()));
    }
}

/// Source: a probe of the live API without credentials: with both wrong, the AppID is what it complains about.
#[test]
fn the_appid_is_looked_at_before_the_grant_type() {
    let weixin = Weixin::new();
    assert_eq!(both(&weixin, &[("appid", "wxstranger"), ("grant_type", "x")]).0, 40013);
    assert_eq!(both(&weixin, &[("grant_type", "x")]).0, 41002);
}

/// Source: real answers; get_rid_info: the first group is the time of the call in hex.
#[test]
fn every_refusal_names_its_call() {
    let answer = Weixin::new().ask("GET", TOKEN, "");
    let errmsg = answer["errmsg"].as_str().unwrap();
    let rid = errmsg.strip_prefix("appid missing rid: ").unwrap();
    assert_eq!((rid.len(), &rid[..9]), (26, "6553f100-"));
}

/// Source: service/api/base/api_getStableAccessToken, error table; text in the style of the others.
#[test]
fn a_frozen_secret_gets_no_token_and_ends_none() {
    let weixin = Weixin::new();
    let token = weixin.token();
    let mut settings = weixin.0.settings(&appid()).unwrap();
    settings.frozen = true;
    weixin.0.configure(&appid(), settings).unwrap();
    assert_eq!(code(&weixin.fetch()), 40243);
    assert_eq!(code(&weixin.stable(false)), 40243);
    assert_eq!(weixin.worth(&token), 0);
}

/// Source: oplatform/developers/basic_func/ip_whitelist (for Official Accounts every call counts); real answers.
#[test]
fn an_allow_list_turns_other_addresses_away_and_quotes_them() {
    let weixin = Weixin::with(|settings| settings.allowed_ips = Some(vec![[127, 0, 0, 1].into()]));
    let token = weixin.token();
    let stranger = [1, 2, 3, 4].into();
    for (method, target) in [
        ("GET", crate::weixin::token_target()),
        ("GET", format!("/cgi-bin/get_api_domain_ip?access_token={token}")),
    ] {
        let answer = weixin.ask_from(stranger, method, &target, "");
        assert_eq!(code(&answer), 40164);
        assert_eq!(errmsg(&answer), "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist");
        let mapped = "::ffff:127.0.0.1".parse().unwrap();
        assert_eq!(code(&weixin.ask_from(mapped, method, &target, "")), 0);
    }
    let v6 = weixin.ask_from("2001:db8::7".parse().unwrap(), "GET", &crate::weixin::token_target(), "");
    assert_eq!(errmsg(&v6), "invalid ip 2001:db8::7 ipv6 2001:db8::7, not in whitelist");
}
