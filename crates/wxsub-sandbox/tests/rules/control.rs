//! The control API.

use serde_json::{Value, json};

use crate::weixin::{SECRET, SEND, STABLE, START, TOKEN, Weixin, appid, code, lifetime, message, text};

fn control(weixin: &Weixin, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let response = weixin.response(method, &format!("/_sandbox{path}"), &body);
    assert_eq!(response.content_type, "application/json");
    (response.status, serde_json::from_slice(&response.body).unwrap())
}

fn post(weixin: &Weixin, path: &str, body: &Value) -> (u16, Value) {
    control(weixin, "POST", path, body)
}

fn consent() -> Value {
    json!({"appid": appid(), "openid": "oUser", "template_id": "T", "scene": 7, "reserved": "proof1", "action": "confirm"})
}

#[test]
fn consent_send_and_clock_work_over_control_api() {
    let weixin = Weixin::new();
    let callback =
        json!({"openid": "oUser", "template_id": "T", "action": "confirm", "scene": 7, "reserved": "proof1"});
    assert_eq!(post(&weixin, "/consents", &consent()), (200, callback));
    let token = weixin.token();
    assert_eq!(code(&weixin.send(&token, &message())), 0);
    let mut received = message();
    received["appid"] = json!(appid());
    received["received_at"] = json!(START);
    assert_eq!(control(&weixin, "GET", "/mailbox?openid=oUser", &Value::Null), (200, json!([received])));
    assert_eq!(post(&weixin, "/tokens/invalidate", &json!({"appid": appid()})).0, 200);
    assert_eq!(weixin.token_errcode(&token), 40001);
    assert_eq!(post(&weixin, "/clock/advance", &json!({"seconds": 7200})), (200, json!({})));
    assert_eq!(weixin.0.now().as_secs(), START + 7200);
}

#[test]
fn consent_accepts_text_scene_and_cancel_without_openid() {
    let weixin = Weixin::new();
    for scene in [json!(7), json!("7")] {
        let mut body = consent();
        body["scene"] = scene;
        assert_eq!(post(&weixin, "/consents", &body).1["scene"], json!(7));
    }
    let mut body = consent();
    body["action"] = json!("cancel");
    body["reserved"] = json!(null);
    let response = json!({"template_id": "T", "action": "cancel", "scene": 7});
    assert_eq!(post(&weixin, "/consents", &body), (200, response.clone()));
    body["openid"] = json!(null);
    assert_eq!(post(&weixin, "/consents", &body), (200, response));
    assert_eq!(code(&weixin.send(&weixin.token(), &message())), 0);
}

#[test]
fn posting_an_app_adds_it_or_replaces_its_settings() {
    let weixin = Weixin::new();
    let app = json!({"appid": "wx2", "secret": "s2", "templates": ["A"], "token_lifetime_s": 5, "overlap_s": 1,
        "token_length": 64, "allowed_ips": ["127.0.0.1", "::1"], "frozen": false, "token_quota": 2, "send_quota": 3,
        "minute_limit": 4});
    assert_eq!(post(&weixin, "/apps", &app), (200, json!({})));
    let fetch = |secret| {
        let target = format!("{TOKEN}?grant_type=client_credential&appid=wx2&secret={secret}");
        weixin.ask("GET", &target, "")
    };
    let first = fetch("s2");
    assert_eq!((lifetime(&first), text(&first).len()), (5, 64));
    let changed = json!({"appid": "wx2", "secret": "new"});
    assert_eq!(post(&weixin, "/apps", &changed).0, 200);
    assert_eq!(code(&fetch("s2")), 40125);
    assert_eq!(lifetime(&fetch("new")), 7200);
    assert_eq!(weixin.token_errcode(&text(&first)), 0);
    let frozen = json!({"appid": "wx2", "secret": "new", "frozen": true});
    assert_eq!(post(&weixin, "/apps", &frozen).0, 200);
    assert_eq!(code(&fetch("new")), 40243);
}

#[test]
fn faults_are_added_and_cleared() {
    let weixin = Weixin::new();
    for (fault, name) in [
        (json!({"errcode": -1}), "errcode"),
        (json!({"status": 502}), "status"),
        (json!({"delay_ms": 10}), "delay_ms"),
        (json!("reset_before_apply"), "reset_before_apply"),
        (json!("reset_after_apply"), "reset_after_apply"),
        (json!("truncate"), "truncate"),
        (json!("html"), "html"),
        (json!("hang"), "hang"),
    ] {
        let body = json!({"path": TOKEN, "times": 1, "fault": fault});
        assert_eq!(post(&weixin, "/faults", &body), (200, json!({})));
        let _met = weixin.0.handle("GET", TOKEN, b"");
        let event = weixin.0.event_log().events.pop_back().unwrap();
        assert_eq!(event.fault, Some(name));
    }
    let hang = json!({"path": TOKEN, "fault": "hang"});
    assert_eq!(post(&weixin, "/faults", &hang).0, 200);
    assert_eq!(control(&weixin, "DELETE", "/faults", &Value::Null).0, 200);
    assert_eq!(code(&weixin.fetch()), 0);
}

#[test]
fn events_count_requests_and_contain_no_secret() {
    let weixin = Weixin::new();
    post(&weixin, "/consents", &consent());
    let token = weixin.token();
    weixin.stable(false);
    weixin.send(&token, &message());
    weixin.send(&token, &message());
    let (status, log) = control(&weixin, "GET", "/events", &Value::Null);
    assert_eq!(status, 200);
    assert_eq!(log["requests"], json!({TOKEN: 1, STABLE: 1, SEND: 2}));
    let events = log["events"].as_array().unwrap();
    assert_eq!(
        events.last().unwrap(),
        &json!({"at": START, "what": format!("POST {SEND}"), "appid": appid(), "token": 1, "errcode": 43101})
    );
    for secret in [SECRET, token.as_str(), "oUser", "proof1"] {
        assert!(!log.to_string().contains(secret), "{secret}");
    }
}

#[test]
fn invalid_member_is_named_in_error() {
    let weixin = Weixin::new();
    let change = |name: &str, value: Value| {
        let mut body = consent();
        body[name] = value;
        body
    };
    let app = |name: &str, value: Value| json!({"appid": "wx2", "secret": "s", name: value});
    for (path, body, named) in [
        ("/apps", json!([]), "body"),
        ("/apps", Value::Null, "body"),
        ("/apps", json!({"secret": "s"}), "appid"),
        ("/apps", json!({"appid": "wx2"}), "secret"),
        ("/apps", app("templates", json!("T")), "templates"),
        ("/apps", app("templates", json!(["t t"])), "templates[0]"),
        ("/apps", app("allowed_ips", json!(["x"])), "allowed_ips[0]"),
        ("/apps", app("token_lifetime_s", json!(0)), "token_lifetime_s"),
        ("/apps", app("token_quota", json!("1")), "token_quota"),
        ("/apps", app("frozen", json!(1)), "frozen"),
        ("/apps", app("forzen", json!(true)), "forzen"),
        ("/consents", change("appid", json!("wx2")), "appid"),
        ("/consents", change("openid", json!(null)), "openid"),
        ("/consents", change("openid", json!("o o")), "openid"),
        ("/consents", change("template_id", json!("X")), "template_id"),
        ("/consents", change("scene", json!(10001)), "scene"),
        ("/consents", change("scene", json!([7])), "scene"),
        ("/consents", change("reserved", json!("a-b")), "reserved"),
        ("/consents", change("action", json!("maybe")), "action"),
        ("/clock/advance", json!({}), "seconds"),
        ("/clock/advance", json!({"seconds": -1}), "seconds"),
        ("/clock/advance", json!({"seconds": 1.5}), "seconds"),
        ("/tokens/invalidate", json!({"appid": "wx2"}), "appid"),
        ("/faults", json!({"fault": "hang"}), "path"),
        ("/faults", json!({"path": "/_sandbox/apps", "fault": "hang"}), "path"),
        ("/faults", json!({"path": "/x", "times": 0, "fault": "hang"}), "times"),
        ("/faults", json!({"path": "/x", "fault": "hang", "appid": "wx2"}), "appid"),
        ("/faults", json!({"path": "/x", "fault": "hang", "appid": "w x"}), "appid"),
        ("/faults", json!({"path": "/x"}), "fault"),
        ("/faults", json!({"path": "/x", "fault": "explode"}), "fault"),
        ("/faults", json!({"path": "/x", "fault": {"status": 99}}), "fault.status"),
        ("/faults", json!({"path": "/x", "fault": {"errcode": "x"}}), "fault.errcode"),
        ("/faults", json!({"path": "/x", "fault": {"status": 500, "errcode": 1}}), "fault"),
    ] {
        let (status, response) = post(&weixin, path, &body);
        let error = response["error"].as_str().unwrap();
        assert_eq!(status, 400, "{path} {body}");
        assert!(error.starts_with(&format!("{named}: ")), "{path} {body}: {error}");
    }
    assert_eq!(control(&weixin, "GET", "/mailbox", &Value::Null).0, 400);
    assert_eq!(control(&weixin, "GET", "/mailbox?openid=o%20o", &Value::Null).0, 400);
}

#[test]
fn error_of_control_says_what_is_accepted() {
    let weixin = Weixin::new();
    for (path, body, error) in [
        ("/clock/advance", json!({"second": 1}), "second: unknown field `second`, expected `seconds`"),
        (
            "/clock/advance",
            json!({"seconds": "1"}),
            "seconds: invalid type: string \"1\", expected a whole number from 0 to 315360000",
        ),
        ("/tokens/invalidate", json!({}), "appid: is missing; it is required"),
        (
            "/consents",
            json!({"action": "maybe"}),
            "action: unknown variant `maybe`, expected `confirm` or `cancel`",
        ),
        (
            "/faults",
            json!({"path": "/x", "fault": {"status": 99}}),
            "fault.status: invalid value: integer `99`, expected a whole number from 200 to 599",
        ),
        (
            "/faults",
            json!({"path": "/x", "fault": "explode"}),
            "fault: invalid value: string \"explode\", expected one of {\"errcode\":N}, {\"status\":N}, \
             {\"delay_ms\":N}, \"reset_before_apply\", \"reset_after_apply\", \"truncate\", \"html\", \"hang\"",
        ),
    ] {
        assert_eq!(post(&weixin, path, &body), (400, json!({ "error": error })));
    }
}

#[test]
fn wrong_method_path_or_size_is_rejected() {
    let weixin = Weixin::new();
    assert_eq!(control(&weixin, "GET", "/apps", &Value::Null).0, 405);
    assert_eq!(control(&weixin, "GET", "/nothing", &Value::Null).0, 404);
    assert_eq!(control(&weixin, "GET", "", &Value::Null).0, 404);
    let long = Value::String("x".repeat(64 * 1024));
    let (status, response) = post(&weixin, "/apps", &long);
    assert_eq!((status, response["error"].is_string()), (413, true));
    assert_eq!(weixin.response("GET", "/_sandboxed", "").status, 404);
}
