//! The audit: one line for every read, report and send, with caller, app and outcome.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use wxsub_test_support::wait_for;

use super::interrupt::signal;
use super::served::{Served, read_during, token_path, wait_for_responses};
use super::weixin::{APPID, CLASSIC_TOKEN, SEND, Weixin, line};
use super::wxsub::folder;

/// A folder for an audit, its path, and its line of the configuration.
fn audit() -> (TempDir, String, String) {
    let folder = folder();
    let path = folder.path().join("audit.log").to_str().unwrap().to_owned();
    let line = format!(
        "audit = {path:?}
"
    );
    (folder, path, line)
}

/// The lines of an audit.
fn read(path: &str) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn killed_server_has_the_line_of_every_response() {
    let (_folder, audit, config) = audit();
    let (_weixin, server, key) = Served::before_sandbox("audit_killed", &config);
    for _ in 0..20 {
        server.token(&key);
    }
    assert_eq!(server.stop("KILL"), None);
    assert_eq!(read(&audit).len(), 20);
}

/// A server whose files may have 2 KiB, as on a disk that is full then.
fn on_a_full_disk(name: &str, lines: &str) -> (Weixin, Served, String) {
    let script = "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\"";
    Served::before_sandbox_by(name, lines, |call| call.under_shell(script))
}

fn failures(server: &Served) -> u64 {
    server.metric("wxsub_audit_failures_total")
}

#[test]
fn full_disk_is_counted_and_logged_and_the_next_file_is_complete() {
    let (_folder, audit, config) = audit();
    let (_weixin, server, key) = on_a_full_disk("audit_full", &config);
    for _ in 0..100 {
        server.token(&key);
    }
    let lost = failures(&server);
    // The last line is incomplete, and all others are whole.
    let text = fs::read_to_string(&audit).unwrap();
    let whole = text.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count();
    assert!(lost > 50 && whole as u64 + lost == 100 && text.lines().count() <= whole + 1, "{lost} {text}");
    server.wait_until_it_says("writing the audit failed");
    fs::rename(&audit, format!("{audit}.1")).unwrap();
    server.reload();
    server.token(&key);
    assert_eq!((read(&audit).len(), failures(&server)), (1, lost));
    assert_eq!(server.stop("TERM"), Some(0));
}

#[test]
fn required_audit_refuses_what_it_cannot_record() {
    let (_folder, audit, config) = audit();
    let (weixin, server, key) = on_a_full_disk("audit_required", &(config + "audit_required = true\n"));
    let served = (0..100).take_while(|_| server.get(&token_path(), &key).0 == 200).count();
    assert!(served > 3 && served < 100, "{served}");
    let kind = |(status, body): (u16, String)| {
        let body: Value = serde_json::from_str(&body).unwrap();
        (status, body["kind"].as_str().map(str::to_owned), body["outcome"].as_str().map(str::to_owned))
    };
    let unavailable = Some("audit_unavailable".to_owned());
    assert_eq!(kind(server.get(&token_path(), &key)), (503, unavailable.clone(), None));
    let classic = format!("{CLASSIC_TOKEN}?grant_type=client_credential&appid={APPID}&secret={key}");
    let refused: Value = serde_json::from_str(&server.get(&classic, "").1).unwrap();
    assert_eq!((&refused["errcode"], refused.get("access_token")), (&json!(-1), None));
    let messages = format!("/v1/apps/{APPID}/messages");
    weixin.allow("oUser", 1);
    let refused = kind(server.post(&messages, &key, line("oUser", 1, "Hi").as_bytes()));
    assert_eq!((refused, weixin.seen(SEND)), ((503, unavailable, Some("not_sent".to_owned())), 0));
    assert_eq!(server.get(&token_path(), "no-key").0, 401);
    fs::rename(&audit, format!("{audit}.1")).unwrap();
    server.reload();
    assert_eq!(server.post(&messages, &key, line("oUser", 1, "Hi").as_bytes()).0, 200);
    let outcomes: Vec<_> = read(&audit).iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(outcomes, ["started", "sent"]);
    assert_eq!(server.stop("TERM"), Some(0));
}

#[test]
fn rotation_under_load_loses_no_line() {
    let (_folder, audit, config) = audit();
    let (_weixin, server, key) = Served::before_sandbox("audit_rotated", &config);
    let (child, renamed) = (&server.child, |number: usize| format!("{audit}.{number}"));
    let responses = read_during(server.address(), &key, |count| {
        for number in 1..=5 {
            wait_for_responses(count, 50);
            fs::rename(&audit, renamed(number)).unwrap();
            signal(child, "HUP");
            wait_for("a new file", || fs::exists(&audit).unwrap());
        }
        wait_for_responses(count, 50);
    });
    assert_eq!(server.stop("TERM"), Some(0));
    let rotated: usize = (1..=5).map(|number| read(&renamed(number)).len()).sum();
    assert_eq!(rotated + read(&audit).len(), responses);
}

/// The documented configuration of logrotate, with this server's paths.
#[test]
#[ignore = "needs logrotate: scripts/test runs it"]
fn logrotate_rotates_a_live_server() {
    let (folder, audit, config) = audit();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (_weixin, server, key) = Served::before_sandbox("audit_logrotate", &config);
    let rules = include_str!("../../../../docs/operating/wxsub.logrotate")
        .replace("/var/log/wxsub/audit.jsonl", &audit)
        .replace("systemctl reload wxsub", &format!("kill -HUP {}", server.child.id()))
        .replace("su wxsub wxsub\n", "")
        // Numbers, because the test rotates more than once a second.
        .replace("    dateext\n    dateformat -%Y%m%d-%s\n", "");
    fs::write(at("rules"), rules).unwrap();
    let responses = read_during(server.address(), &key, |count| {
        for _ in 0..3 {
            wait_for_responses(count, 50);
            let rotated = Command::new("/usr/sbin/logrotate")
                .args(["--force", "--state", &at("state"), &at("rules")])
                .output()
                .unwrap();
            assert!(rotated.status.success() && rotated.stderr.is_empty(), "{rotated:?}");
            wait_for("a new file", || fs::exists(&audit).unwrap());
        }
        wait_for_responses(count, 50);
    });
    assert_eq!(server.stop("TERM"), Some(0));
    let unpacked =
        Command::new("sh").args(["-c", "zcat -f audit.log*"]).current_dir(folder.path()).output().unwrap();
    assert_eq!(String::from_utf8(unpacked.stdout).unwrap().lines().count(), responses);
}
