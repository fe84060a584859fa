//! The journal: durable before the request takes effect. Not part of Weixin.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use wxsub_proto::ErrCode;
use wxsub_sandbox::{Fault, Journal, JournalRecord};

use crate::weixin::{SECRET, SEND, START, Weixin, appid, code, message};

/// The lines that a journal has written.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn journal(&self) -> Journal {
        let Self(lines) = self.clone();
        Journal::with_writer(move |line| {
            lines.lock().unwrap().extend_from_slice(line);
            Ok(())
        })
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn records(&self) -> Vec<JournalRecord> {
        JournalRecord::parse(self.text().as_bytes()).collect()
    }
}

/// A sandbox with a grant, a valid token and a journal.
fn recorded() -> (Weixin, String, Lines) {
    let (weixin, lines) = (Weixin::new(), Lines::default());
    weixin.grant("oUser", "T", "7");
    let token = weixin.token();
    weixin.0.set_journal(lines.journal());
    (weixin, token, lines)
}

fn disk_is_full(_: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::StorageFull.into())
}

#[test]
fn send_is_recorded_with_its_result() {
    let (weixin, token, lines) = recorded();
    assert_eq!(code(&weixin.send(&token, &message())), 0);
    assert_eq!(code(&weixin.send(&token, &message())), 43101);
    let text = lines.text();
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = |accepted: bool, errcode: i64| {
        json!({"at_ms": START * 1000, "operation": "send", "appid": appid(), "token": 1, "touser": "oUser",
               "template_id": "T", "scene": "7", "body_sha256": records[0]["body_sha256"], "accepted": accepted,
               "errcode": errcode})
    };
    assert_eq!(records, [expected(true, 0), expected(false, 43101)]);
    assert_eq!(records[0]["body_sha256"].as_str().unwrap().len(), 64);
    for secret in [SECRET, token.as_str(), "Parcel", "It is here."] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[test]
fn other_content_has_another_digest() {
    let (weixin, token, lines) = recorded();
    let mut other = message();
    other["title"] = json!("Another");
    weixin.send(&token, &message());
    weixin.send(&token, &other);
    weixin.send(&token, &message());
    let digests: Vec<_> = lines.records().into_iter().map(|one| one.message.unwrap().body_sha256).collect();
    assert!(digests[0] != digests[1] && digests[0] == digests[2]);
}

/// A request that meets a fault names its app too.
#[test]
fn fault_is_recorded_with_its_effect() {
    for (fault, accepted, errcode) in [
        (Fault::ResetBeforeApply, false, None),
        (Fault::ResetAfterApply, true, Some(0)),
        (Fault::Truncate, true, Some(0)),
        (Fault::Hang, false, None),
        (Fault::Status(502), false, None),
        (Fault::ErrCode(ErrCode::DAILY_QUOTA), false, Some(45009)),
    ] {
        let (weixin, token, lines) = recorded();
        weixin.0.add_fault(SEND, 1, fault);
        let target = format!("{SEND}?access_token={token}");
        let _lost = weixin.0.handle("POST", &target, message().to_string().as_bytes());
        let [record] = &lines.records()[..] else { panic!("{}", lines.text()) };
        assert_eq!(record.fault.as_deref(), Some(fault.name()));
        assert_eq!(record.appid, Some(appid()));
        assert_eq!(
            (record.accepted, record.errcode.map(|code| code.get())),
            (accepted, errcode),
            "{fault:?}"
        );
        assert_eq!(!weixin.mailbox("oUser").is_empty(), accepted, "{fault:?}");
    }
}

#[test]
fn every_request_to_weixin_is_recorded() {
    let (weixin, token, lines) = recorded();
    weixin.fetch();
    weixin.stable(true);
    weixin.token_errcode(&token);
    weixin.ask("POST", &format!("/cgi-bin/openapi/quota/get?access_token={token}"), "{}");
    weixin.ask("POST", "/cgi-bin/nothing", "");
    weixin.response("GET", "/_sandbox/events", "");
    let operations: Vec<_> =
        lines.records().into_iter().map(|record| (record.operation, record.accepted)).collect();
    let expected =
        [("token", true), ("stable_token", true), ("domain_ip", true), ("quota", false), ("unknown", false)];
    assert_eq!(operations, expected.map(|(name, accepted)| (name.to_owned(), accepted)));
    assert!(!lines.text().contains(SECRET) && !lines.text().contains(&token));
}

/// Neither the grant, nor a token, nor a quota changes.
#[test]
fn request_has_no_effect_if_journal_fails() {
    let weixin = Weixin::with(|settings| (settings.send_quota, settings.token_quota) = (1, 2));
    weixin.grant("oUser", "T", "7");
    let (previous, token) = (weixin.token(), weixin.token());
    weixin.0.set_journal(Journal::with_writer(disk_is_full));
    let send = format!("{SEND}?access_token={token}");
    for (method, target, body) in [
        ("POST", send.as_str(), message().to_string()),
        ("GET", &crate::weixin::token_target(), String::new()),
        ("GET", "/cgi-bin/get_api_domain_ip", String::new()),
    ] {
        let response = weixin.response(method, target, &body);
        let error = String::from_utf8(response.body).unwrap();
        assert_eq!(response.status, 500);
        assert!(error.starts_with("{\"error\":\"journal: cannot be written: "), "{error}");
    }
    assert_eq!(weixin.mailbox("oUser"), [] as [Value; 0]);
    assert_eq!(weixin.token_status(&previous), 500);
    let lines = Lines::default();
    weixin.0.set_journal(lines.journal());
    assert_eq!(weixin.token_errcode(&previous), 0);
    assert_eq!(code(&weixin.send(&token, &message())), 0);
    assert_eq!(weixin.mailbox("oUser").len(), 1);
}

/// The system may report a sync as successful after one that failed.
#[test]
fn journal_that_failed_once_writes_no_more() {
    let (weixin, token, lines) = recorded();
    let Lines(written) = lines.clone();
    let mut attempts = 0;
    weixin.0.set_journal(Journal::with_writer(move |line| {
        attempts += 1;
        written.lock().unwrap().extend_from_slice(line);
        if attempts == 2 { disk_is_full(line) } else { Ok(()) }
    }));
    let statuses = [(); 4].map(|()| weixin.token_status(&token));
    assert_eq!((statuses, lines.records().len()), ([200, 500, 500, 500], 2));
}

#[test]
fn file_is_private_and_incomplete_lines_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    for _ in 0..2 {
        let weixin = Weixin::new();
        weixin.0.set_journal(Journal::open(&path).unwrap());
        weixin.fetch();
        // A crash leaves a part of a line.
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"at_ms\":1,\"touser\":\"\xe6")
            .unwrap();
    }
    let bytes = fs::read(&path).unwrap();
    let records: Vec<_> = JournalRecord::parse(&bytes).collect();
    assert_eq!((records.len(), bytes.split(|byte| *byte == b'\n').count()), (2, 4));
    assert!(records.iter().all(|record| record.operation == "token" && record.accepted));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(Journal::open(folder.path()).is_err());
}
