//! What goes wrong on demand, in process.

use std::time::Duration;

use serde_json::json;
use wxsub_proto::ErrCode;
use wxsub_sandbox::{CAPTIVE_PORTAL_PATH, ConnectionFault, Exchange, Fault};

use crate::weixin::{SEND, TOKEN, Weixin, code, errmsg, message};

/// Sends one message into a fault; gives what came of it and whether the message arrived.
fn send_into(fault: Fault) -> (Exchange, bool) {
    let weixin = Weixin::new();
    weixin.grant("oUser", "T", "7");
    let target = format!("{SEND}?access_token={}", weixin.token());
    weixin.0.add_fault(SEND, 1, fault);
    let handled = weixin.0.handle("POST", &target, message().to_string().as_bytes());
    assert_eq!(weixin.0.event_log().request_count(SEND), 1);
    let event = weixin.0.event_log().events.pop_back().unwrap();
    assert_eq!(event.fault, Some(fault.name()));
    (handled, !weixin.mailbox("oUser").is_empty())
}

#[test]
fn broken_connections() {
    for (fault, expected, arrived) in [
        (Fault::ResetBeforeApply, ConnectionFault::ResetBeforeApply, false),
        (Fault::ResetAfterApply, ConnectionFault::ResetAfterApply, true),
        (Fault::Hang, ConnectionFault::Hang, false),
    ] {
        let (handled, did) = send_into(fault);
        assert_eq!((handled.outcome.unwrap_err(), did), (expected, arrived));
    }
    let (handled, arrived) = send_into(Fault::Truncate);
    assert!(
        matches!(handled.outcome, Err(ConnectionFault::Truncated(reply)) if reply.body == br#"{"errcode":0,"errmsg":"ok"}"#)
    );
    assert!(arrived);
}

#[test]
fn replies_that_are_not_the_one_hoped_for() {
    let (handled, arrived) = send_into(Fault::Status(502));
    assert_eq!((handled.outcome.unwrap().status, arrived), (502, false));
    let (handled, arrived) = send_into(Fault::Status(307));
    assert_eq!((handled.outcome.unwrap().location.as_deref(), arrived), (Some(CAPTIVE_PORTAL_PATH), false));
    let (handled, arrived) = send_into(Fault::Html);
    let reply = handled.outcome.unwrap();
    assert!(reply.status == 200 && reply.body.starts_with(b"<!DOCTYPE html>") && !arrived);
    let (handled, arrived) = send_into(Fault::Delay(Duration::from_secs(20)));
    assert_eq!(handled.delay, Duration::from_secs(20));
    assert!(handled.outcome.is_ok() && arrived);
}

#[test]
fn an_errcode_comes_with_its_text() {
    let weixin = Weixin::new();
    for (fault, text) in [
        (-1, "system error"),
        (48001, "api unauthorized"),
        (40164, "invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist"),
        (123_456, "refused by the sandbox"),
    ] {
        weixin.0.add_fault(TOKEN, 1, Fault::ErrCode(ErrCode::new(fault)));
        let answer = weixin.fetch();
        assert_eq!((code(&answer), errmsg(&answer)), (fault, text));
    }
    weixin.0.add_fault(TOKEN, 1, Fault::ErrCode(ErrCode::OK));
    assert_eq!(weixin.fetch(), json!({"errcode": 0, "errmsg": "ok"}));
}

#[test]
fn each_is_met_as_often_as_asked_and_only_on_its_path() {
    let weixin = Weixin::new();
    weixin
        .0
        .add_fault(TOKEN, 2, Fault::ErrCode(ErrCode::SYSTEM_BUSY))
        .add_fault(TOKEN, 1, Fault::Html)
        .add_fault(TOKEN, 9, Fault::Hang);
    assert_eq!(code(&weixin.stable(false)), 0);
    assert_eq!([code(&weixin.fetch()), code(&weixin.fetch())], [-1, -1]);
    let portal = weixin.reply("GET", TOKEN, "");
    assert_eq!(portal.content_type, "text/html; charset=utf-8");
    assert_eq!(weixin.0.handle("GET", TOKEN, b"").outcome.unwrap_err(), ConnectionFault::Hang);
    weixin.0.clear_faults();
    assert_eq!(code(&weixin.fetch()), 0);
    assert_eq!(weixin.0.event_log().request_count(TOKEN), 5);
}

/// The lost answer: the token before the last one keeps its overlap, and nobody knows the new one.
#[test]
fn a_lost_fetch_ends_the_token_in_use() {
    let weixin = Weixin::new();
    let held = weixin.token();
    weixin.0.add_fault(TOKEN, 1, Fault::ResetAfterApply);
    assert!(weixin.0.handle("GET", &crate::weixin::token_target(), b"").outcome.is_err());
    assert_eq!(weixin.worth(&held), 0);
    weixin.advance(300);
    assert_eq!(weixin.worth(&held), 40001);
}
