//! AppID and AppSecret, on both token endpoints.

use serde_json::{Value, json};

use crate::weixin::{SECRET, STABLE, TOKEN, Weixin, appid, code, errmsg};

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
/// responses; that of 41004 imitates their style.
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
    ] {
        assert_eq!(both(&weixin, &credentials), (expected, text.to_owned()));
    }
}

/// Source: a probe of the live API without credentials. With both wrong, it reports the AppID.
#[test]
fn appid_is_checked_before_grant_type() {
    let weixin = Weixin::new();
    assert_eq!(both(&weixin, &[("appid", "wxunknown"), ("grant_type", "x")]).0, 40013);
    assert_eq!(both(&weixin, &[("grant_type", "x")]).0, 41002);
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
    for (method, target) in [
        ("GET", crate::weixin::token_target()),
        ("GET", format!("/cgi-bin/get_api_domain_ip?access_token={token}")),
    ] {
        let response = weixin.ask_from(other_address, method, &target, "");
        assert_eq!(code(&response), 40164);
        assert_eq!(errmsg(&response), "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist");
        let mapped = "::ffff:127.0.0.1".parse().unwrap();
        assert_eq!(code(&weixin.ask_from(mapped, method, &target, "")), 0);
    }
    let v6 = weixin.ask_from("2001:db8::7".parse().unwrap(), "GET", &crate::weixin::token_target(), "");
    assert_eq!(errmsg(&v6), "invalid ip 2001:db8::7 ipv6 2001:db8::7, not in whitelist");
}
