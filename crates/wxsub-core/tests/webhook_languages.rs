//! The programs of docs/webhooks.md, as they are written there.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests may panic"
)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::webhook::WebhookSecret;

const DOCUMENT: &str = include_str!("../../../docs/webhooks.md");
const BODY: &str = r#"{"type":"message.sent","data":{"id":"m-1","text":"文字"}}"#;

/// The code block in this language.
fn block(language: &str) -> &'static str {
    let fence = format!("\n```{language}\n");
    let (_, rest) = DOCUMENT.split_once(&fence).unwrap_or_else(|| panic!("no block in {language}"));
    rest.split_once("\n```").unwrap().0
}

struct Webhook {
    secret: String,
    id: &'static str,
    timestamp: u64,
    signature: String,
    body: &'static str,
}

/// Whether the program takes the webhook, and its output.
fn run(folder: &Path, command: &[&str], webhook: &Webhook) -> (bool, String) {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .current_dir(folder)
        .env("WEBHOOK_SECRET", &webhook.secret)
        .env("WEBHOOK_ID", webhook.id)
        .env("WEBHOOK_TIMESTAMP", webhook.timestamp.to_string())
        .env("WEBHOOK_SIGNATURE", &webhook.signature)
        .env("GO111MODULE", "off")
        .env("GOCACHE", folder.join("go"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // A program may refuse the headers before it reads the body.
    let _ = child.stdin.take().unwrap().write_all(webhook.body.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
#[ignore = "needs php, node, a JDK and Go: scripts/test runs it"]
fn each_program_takes_a_genuine_webhook_and_no_other() {
    let folder = TempDir::new().unwrap();
    let secret = WebhookSecret::generate().unwrap();
    let now = SystemClock::new().now().wall.get() / 1000;
    let genuine = |timestamp: u64| Webhook {
        secret: secret.expose_secret().to_string(),
        id: "m-1-3",
        timestamp,
        signature: secret.sign("m-1-3", timestamp, BODY.as_bytes()),
        body: BODY,
    };
    let other = WebhookSecret::generate().unwrap().sign("m-1-3", now, BODY.as_bytes());
    let rotating = format!("{other} {}", genuine(now).signature);
    let cases = [
        ("genuine", genuine(now), true),
        ("during a rotation", Webhook { signature: rotating, ..genuine(now) }, true),
        ("another secret", Webhook { signature: other, ..genuine(now) }, false),
        ("another id", Webhook { id: "m-1-4", ..genuine(now) }, false),
        ("another body", Webhook { body: "{}", ..genuine(now) }, false),
        ("no signature", Webhook { signature: String::new(), ..genuine(now) }, false),
        ("too old", genuine(now - 400), false),
        ("from the future", genuine(now + 400), false),
    ];
    for (language, file, command) in [
        ("python", "webhook.py", &["/usr/bin/python3", "webhook.py"][..]),
        ("js", "webhook.js", &["node", "webhook.js"]),
        ("php", "webhook.php", &["php", "webhook.php"]),
        ("java", "Webhook.java", &["java", "Webhook.java"]),
        ("go", "webhook.go", &["go", "run", "webhook.go"]),
    ] {
        fs::write(folder.path().join(file), block(language)).unwrap();
        for (name, webhook, is_taken) in &cases {
            let (taken, output) = run(folder.path(), command, webhook);
            assert_eq!(taken, *is_taken, "{language}, {name}: {output}");
            assert_eq!(output.contains("message.sent"), *is_taken, "{language}, {name}: {output}");
        }
    }
}
