//! Fault injection in process.

use std::time::Duration;

use serde_json::json;
use wxsub_proto::{AppId, ErrCode};
use wxsub_sandbox::{CAPTIVE_PORTAL_PATH, ConnectionFault, Exchange, Fault};

use crate::weixin::{SECRET, SEND, STABLE, TOKEN, Weixin, appid, code, errmsg, message, text};

/// Sends one message with a fault. Returns the exchange, and whether the message arrived.
fn send_into(fault: Fault) -> (Exchange, bool) {
    let weixin = Weixin::new();
    weixin.grant("oUser", "T", "7");
    let target = format!("{SEND}?access_token={}", weixin.token());
    weixin.0.add_fault(SEND, 1, fault);
    let exchange = weixin.0.handle("POST", &target, message().to_string().as_bytes());
    assert_eq!(weixin.0.event_log().request_count(SEND), 1);
    let event = weixin.0.event_log().events.pop_back().unwrap();
    assert_eq!(event.fault, Some(fault.name()));
    (exchange, !weixin.mailbox("oUser").is_empty())
}

#[test]
fn connection_faults_say_whether_request_took_effect() {
    for (fault, expected, arrived) in [
        (Fault::ResetBeforeApply, ConnectionFault::ResetBeforeApply, false),
        (Fault::ResetAfterApply, ConnectionFault::ResetAfterApply, true),
        (Fault::Hang, ConnectionFault::Hang, false),
    ] {
        let (exchange, did) = send_into(fault);
        assert_eq!((exchange.outcome.unwrap_err(), did), (expected, arrived));
    }
    let (exchange, arrived) = send_into(Fault::Truncate);
    assert!(
        matches!(exchange.outcome, Err(ConnectionFault::Truncated(response)) if response.body == br#"{"errcode":0,"errmsg":"ok"}"#)
    );
    assert!(arrived);
}

#[test]
fn intermediary_faults_and_delays_shape_the_response() {
    let (exchange, arrived) = send_into(Fault::Status(502));
    assert_eq!((exchange.outcome.unwrap().status, arrived), (502, false));
    let (exchange, arrived) = send_into(Fault::Status(307));
    assert_eq!((exchange.outcome.unwrap().location.as_deref(), arrived), (Some(CAPTIVE_PORTAL_PATH), false));
    let (exchange, arrived) = send_into(Fault::Html);
    let response = exchange.outcome.unwrap();
    assert!(response.status == 200 && response.body.starts_with(b"<!DOCTYPE html>") && !arrived);
    let (exchange, arrived) = send_into(Fault::Delay(Duration::from_secs(20)));
    assert_eq!(exchange.delay, Duration::from_secs(20));
    assert!(exchange.outcome.is_ok() && arrived);
}

#[test]
fn errcode_fault_has_weixins_message() {
    let weixin = Weixin::new();
    for (fault, text) in [
        (-1, "system error"),
        (48001, "api unauthorized"),
        (40164, "invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist"),
        (123_456, "rejected by the sandbox"),
    ] {
        weixin.0.add_fault(TOKEN, 1, Fault::ErrCode(ErrCode::new(fault)));
        let response = weixin.fetch();
        assert_eq!((code(&response), errmsg(&response)), (fault, text));
    }
    weixin.0.add_fault(TOKEN, 1, Fault::ErrCode(ErrCode::OK));
    assert_eq!(weixin.fetch(), json!({"errcode": 0, "errmsg": "ok"}));
}

#[test]
fn faults_apply_the_requested_times_on_their_path_only() {
    let weixin = Weixin::new();
    weixin
        .0
        .add_fault(TOKEN, 2, Fault::ErrCode(ErrCode::SYSTEM_BUSY))
        .add_fault(TOKEN, 1, Fault::Html)
        .add_fault(TOKEN, 9, Fault::Hang);
    assert_eq!(code(&weixin.stable(false)), 0);
    assert_eq!([code(&weixin.fetch()), code(&weixin.fetch())], [-1, -1]);
    let portal = weixin.response("GET", TOKEN, "");
    assert_eq!(portal.content_type, "text/html; charset=utf-8");
    assert_eq!(weixin.0.handle("GET", TOKEN, b"").outcome.unwrap_err(), ConnectionFault::Hang);
    weixin.0.clear_faults();
    assert_eq!(code(&weixin.fetch()), 0);
    assert_eq!(weixin.0.event_log().request_count(TOKEN), 5);
}

/// The response of the fetch is lost: the previous token keeps its overlap, and no client has the new one.
#[test]
fn lost_fetch_response_supersedes_the_current_token() {
    let weixin = Weixin::new();
    let held = weixin.token();
    weixin.0.add_fault(TOKEN, 1, Fault::ResetAfterApply);
    assert!(weixin.0.handle("GET", &crate::weixin::token_target(), b"").outcome.is_err());
    assert_eq!(weixin.token_errcode(&held), 0);
    weixin.advance(300);
    assert_eq!(weixin.token_errcode(&held), 40001);
}

/// The app of a request is known from its token, from its query, or from its body.
#[test]
fn fault_for_one_app_leaves_the_others_alone() {
    let weixin = Weixin::new();
    let other: AppId = "wx2".parse().unwrap();
    weixin.0.add_app(other.clone(), SECRET.parse().unwrap(), []);
    let fetch_stable = |appid: &AppId| {
        let body = json!({"grant_type": "client_credential", "appid": appid, "secret": SECRET});
        weixin.ask("POST", STABLE, &body.to_string())
    };
    let tokens = [text(&fetch_stable(&appid())), text(&fetch_stable(&other))];
    let ask = |appid: &AppId, token: &str| {
        let target = format!("{TOKEN}?grant_type=client_credential&appid={appid}&secret={SECRET}");
        let (fetched, sent) = (weixin.ask("GET", &target, ""), weixin.send(token, &message()));
        [fetched, fetch_stable(appid), sent].map(|response| code(&response))
    };
    for path in [TOKEN, STABLE, SEND] {
        weixin.0.add_fault_for_app(&appid(), path, 2, Fault::ErrCode(ErrCode::DAILY_QUOTA)).unwrap();
    }
    weixin.0.add_fault(SEND, 1, Fault::ErrCode(ErrCode::SYSTEM_BUSY));
    assert_eq!(ask(&other, &tokens[1]), [0, 0, -1]);
    assert_eq!(ask(&other, &tokens[1]), [0, 0, 40037]);
    assert_eq!(ask(&appid(), &tokens[0]), [45009; 3]);
    // The token is known, although it is no longer valid.
    weixin.0.invalidate_tokens(&appid()).unwrap();
    assert_eq!(code(&weixin.send(&tokens[0], &message())), 45009);
    assert_eq!(code(&weixin.send(&tokens[0], &message())), 40001);
    // A request of no app.
    weixin.0.add_fault_for_app(&other, SEND, 1, Fault::Hang).unwrap();
    let codes = ["unknown", ""].map(|token| code(&weixin.send(token, &message())));
    assert_eq!(codes, [40014, 41001]);
    let fault = json!({"path": SEND, "fault": {"errcode": 48001}, "appid": appid()}).to_string();
    assert_eq!(weixin.response("POST", "/_sandbox/faults", &fault).status, 200);
    assert_eq!(code(&weixin.send(&tokens[0], &message())), 48001);
    let event = weixin.0.event_log().events.pop_back().unwrap();
    assert_eq!((event.appid, event.fault), (Some(appid()), Some("errcode")));
}
