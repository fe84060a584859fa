//! The remaining quota of an endpoint. Source: apimanage/api_getapiquota.

use serde_json::{Value, json};

use crate::weixin::{SEND, TOKEN, Weixin, code, message};

const QUOTA: &str = "/cgi-bin/openapi/quota/get";

fn ask(weixin: &Weixin, token: &str, path: &str) -> Value {
    let target = format!("{QUOTA}?access_token={token}");
    weixin.ask("POST", &target, &json!({ "cgi_path": path }).to_string())
}

#[test]
fn quota_reports_remaining_calls_and_is_free() {
    let weixin = Weixin::with(|settings| settings.send_quota = 3);
    let token = weixin.token();
    weixin.send(&token, &message());
    for _ in 0..2 {
        let response = ask(&weixin, &token, SEND);
        assert_eq!(response["quota"], json!({"daily_limit": 3, "used": 1, "remain": 2}));
    }
    assert_eq!(ask(&weixin, &token, TOKEN)["quota"], json!({"daily_limit": 2000, "used": 1, "remain": 1999}));
    for _ in 0..5 {
        weixin.send(&token, &message());
    }
    assert_eq!(ask(&weixin, &token, SEND)["quota"]["remain"], 0);
    weixin.advance(24 * 3600);
    assert_eq!(ask(&weixin, &weixin.token(), SEND)["quota"]["remain"], 3);
}

/// 76021 is from the same page. [INF] The token is checked first.
#[test]
fn quota_request_is_validated() {
    let weixin = Weixin::new();
    let token = weixin.token();
    assert_eq!(code(&ask(&weixin, "", SEND)), 41001);
    assert_eq!(code(&ask(&weixin, &token, "/cgi-bin/nothing")), 76021);
    let target = format!("{QUOTA}?access_token={token}");
    for (method, body, expected) in
        [("GET", "", 43002), ("POST", "", 44002), ("POST", "x", 47001), ("POST", "{}", 76021)]
    {
        assert_eq!(code(&weixin.ask(method, &target, body)), expected, "{method} {body}");
    }
}
