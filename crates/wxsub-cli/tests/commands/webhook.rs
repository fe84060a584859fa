//! `wxsub webhook`, and the webhooks of `wxsub serve`.

use std::fs;
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::webhook::WebhookSecret;
use wxsub_test_support::wait_for;

use super::served::{KEY, Served, config};
use super::served_outbox::program;
use super::weixin::{APPID, Weixin, header, line};
use super::wxsub::{Wxsub, folder, wxsub};

const BODY: &str = r#"{"type":"message.sent"}"#;

/// A webhook that was made at this difference from now, and its verification.
fn verify(secret: &WebhookSecret, file: &str, seconds: i64) -> Wxsub {
    let now = SystemClock::new().now().wall.get() / 1000;
    let timestamp = now.saturating_add_signed(seconds);
    let signature = secret.sign("m-1-3", timestamp, BODY.as_bytes());
    wxsub(&["webhook", "verify", "--secret-file", file, "--id", "m-1-3"]).args(&[
        "--timestamp",
        &timestamp.to_string(),
        "--signature",
        &signature,
    ])
}

#[test]
fn verify_says_what_is_wrong_with_a_webhook() {
    let folder = folder();
    let path = folder.path().join("hook").display().to_string();
    let made = wxsub(&["webhook", "secret", "--out", &path]).run();
    assert_eq!((made.code, made.out.as_str()), (0, ""), "{made:?}");
    let secret: WebhookSecret = fs::read_to_string(&path).unwrap().trim_end().parse().unwrap();
    let again = wxsub(&["webhook", "secret", "--out", &path]).run();
    again.assert_wrong(&["the file exists"]);
    assert!(wxsub(&["webhook", "secret"]).run().out.starts_with("whsec_"));
    let good = verify(&secret, &path, 0).input(BODY).run();
    assert_eq!((good.code, good.err.as_str()), (0, "the webhook is genuine\n"), "{good:?}");
    let changed = verify(&secret, &path, 0).input(format!("{BODY}\n")).run();
    changed.assert_wrong(&["webhook-signature: does not match", "the body has the same bytes"]);
    verify(&secret, &path, -400).input(BODY).run().assert_wrong(&["webhook-timestamp: is 40"]);
    verify(&secret, &path, 400).input(BODY).run().assert_wrong(&["in the future"]);
    let other = WebhookSecret::generate().unwrap();
    verify(&other, &path, 0).input(BODY).run().assert_wrong(&["the secret is that of this endpoint"]);
    let long = verify(&secret, &path, 0).input("x".repeat(70_000)).run();
    long.assert_wrong(&["- cannot be read: it has more than 65536 bytes"]);
    let text = secret.expose_secret();
    let secret_itself = verify(&secret, &text, 0).input(BODY).run();
    secret_itself.assert_wrong(&["--secret-file: is the secret itself"]);
    assert!(!secret_itself.err.contains(text.as_str()), "{secret_itself:?}");
    let chinese = verify(&other, &path, 0).args(&["--lang", "zh"]).input(BODY).run();
    chinese.assert_wrong(&["webhook 被拒绝：webhook-signature：签名不匹配"]);
    fs::write(&path, "PLANTED").unwrap();
    let wrong = verify(&secret, &path, 0).input(BODY).run();
    wrong.assert_wrong(&["--secret-file", "must be whsec_"]);
    assert!(!wrong.err.contains("PLANTED"));
}

/// An endpoint that gives these answers, and then 204. Gives each webhook as it arrives: its id and its body.
fn endpoint(answers: &[u16]) -> (String, Receiver<(String, Value)>) {
    let (arrived, arrivals) = channel();
    let mut answers: Vec<_> = answers.iter().rev().copied().collect();
    let base = program(move |head, body| {
        let id = header(head, "webhook-id").unwrap().to_owned();
        // The test may have ended.
        let _ = arrived.send((id, serde_json::from_slice(body).unwrap()));
        (answers.pop().unwrap_or(204), String::new())
    });
    (format!("{base}/hooks"), arrivals)
}

/// The server is killed when it has committed an outcome and not delivered it.
#[test]
fn a_killed_server_delivers_after_its_restart() {
    let weixin = Weixin::start();
    let folder = folder();
    let file = |name: &str| folder.path().join(name).display().to_string();
    wxsub(&["webhook", "secret", "--out", &file("hook")]).run();
    let (url, arrivals) = endpoint(&[410]);
    let more = format!(
        "[ledger]\nurl = \"sqlite:{}\"\n[[webhooks]]\nname = \"shop\"\nurl = \"{url}\"\nsecret_files = [{:?}]\napps = [\"*\"]\n",
        file("ledger.db"),
        file("hook")
    );
    let path = config("webhooks.toml", &weixin.base, &more);
    let server = Served::start(&path);
    let send = |server: &Served, openid: &str| {
        weixin.allow(openid, 1);
        let body = line(openid, 1, "It is here.");
        let (status, body) = server.post(&format!("/v1/apps/{APPID}/messages"), KEY, body.as_bytes());
        assert_eq!(status, 200, "{body}");
    };
    send(&server, "oFirst");
    let (first, _) = arrivals.recv().unwrap();
    let call = |server: &Served, arguments: &[&str]| server.call(KEY, &["webhook"]).args(arguments).run();
    // It is disabled when the ledger has the response.
    wait_for("the end of its webhooks", || call(&server, &["list"]).out.contains("disabled since"));
    let status = wxsub(&["status"]).env("WXSUB_SERVER", &server.base).env("WXSUB_KEY", KEY).run();
    let summary = "apps that need action: 0 of 1\nendpoints of webhooks that need action: 1\n";
    assert_eq!((status.code, status.err.as_str()), (4, summary), "{status:?}");
    assert!(status.out.contains("webhooks: shop\n  cause: disabled since 20"), "{status:?}");
    let doctor = wxsub(&["doctor"]).env("WXSUB_SERVER", &server.base).env("WXSUB_KEY", KEY).run();
    assert_eq!(doctor.code, 4, "{doctor:?}");
    assert_eq!(doctor.out.matches("disabled").count(), 1, "{doctor:?}");
    assert!(doctor.out.contains("failed  webhooks      shop: disabled since 20"), "{doctor:?}");
    send(&server, "oSecond");
    assert_eq!(server.stop("KILL"), None);
    let server = Served::start(&path);
    let listed = call(&server, &["list"]);
    assert!(listed.out.contains("attempts 1 next waits 410: the endpoint is disabled"), "{listed:?}");
    let listed = call(&server, &["list", "--json"]).json().remove(0);
    assert_eq!((&listed["name"], &listed["pending"]), (&Value::from("shop"), &Value::from(2)), "{listed}");
    let redelivered = call(&server, &["redeliver", "shop"]);
    assert!(redelivered.err.starts_with("failed webhooks that are tried again: 1;"), "{redelivered:?}");
    let mut ids = [arrivals.recv().unwrap(), arrivals.recv().unwrap()].map(|(id, body)| {
        assert_eq!(body["type"], "message.sent");
        id
    });
    ids.sort();
    assert!(ids.contains(&first) && ids[0] != ids[1], "{first} {ids:?}");
    let unknown = call(&server, &["redeliver", "other"]);
    assert_eq!(unknown.code, 2, "{unknown:?}");
    let rule =
        "ENDPOINT: there is no endpoint with this name; use one of the endpoints of the ledger: shop\n";
    assert!(unknown.err.ends_with(rule), "{unknown:?}");
    assert_eq!(server.stop("TERM"), Some(0));
}
