//! The ledger of the server: its configuration, its worker, and what happens while it is away.

use std::fs;

use serde_json::json;
use tempfile::tempdir;
use wxsub_core::clock::Clock;
use wxsub_outbox::Ledger;
use wxsub_outbox::ledger::{Change, Gone};
use wxsub_sqlite::{SqliteLedger, SqliteOptions};

use super::outbox::{OUTBOX_SCOPES, consent_key, enqueue, later, ledger_config, post};
use super::setup::{
    ALL, APPS, SEND, Setup, client, config, config_of_apps, key, message, read_config, until, usual,
};
use super::test_ledger::Fault;

#[tokio::test]
async fn queued_message_is_sent_and_survives_a_restart() {
    let folder = tempdir().unwrap();
    let ledger = format!("[ledger]\nurl = \"sqlite:{}\"\n", folder.path().join("ledger.db").display());
    let clients = client('a', "\"wx1\"", &format!("{ALL}, {OUTBOX_SCOPES}"));
    let setup = Setup::with_own_store(config(&format!("{clients}{ledger}"))).await;
    setup.server.run_worker();
    setup.allow("oUser", 1);
    let key = [("Idempotency-Key", "order-1")];
    // The file takes real time, so the manual clock stands still.
    let queued = enqueue(&setup, &key, message("oUser", 1)).await.has(202, &json!({}));
    let shown = setup.until_state(&queued, "sent").await;
    assert_eq!((&shown.json()["idempotency_key"], setup.received("oUser")), (&json!("order-1"), 1));
    // The lock is free when the tasks of the server are gone.
    drop(setup);
    let path = folder.path().join("ledger.db");
    until(async || SqliteLedger::open(&path, SqliteOptions::new()).await.is_ok()).await;
    let setup = Setup::with_own_store(config(&format!("{clients}{ledger}"))).await;
    setup.server.run_worker();
    let again = enqueue(&setup, &key, message("oUser", 1)).await.has(202, &json!({"id": queued.id()}));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    drop(setup);
}

#[tokio::test]
async fn tokens_are_served_while_the_ledger_is_away() {
    let (setup, ledger) = Setup::with_ledger(&ledger_config()).await;
    for app in ["wx1", "wx2"] {
        setup.get(&format!("/v1/apps/{app}/access_token"), &key('a')).await;
    }
    let ready = async || setup.ask("GET", "/readyz", None, "").await;
    ready().await.has(200, &json!({"status": "ready", "ledger": "up"}));
    ledger.fail(Fault::Away);
    let refused = setup.send(message("oUser", 1)).await;
    let refused = refused.has(503, &json!({"kind": "ledger_unavailable", "outcome": "not_sent"}));
    assert_eq!((refused.retry_after(), setup.seen(SEND)), (5, 0));
    assert_eq!(setup.token().await.status, 200);
    ready().await.has(200, &json!({"status": "degraded", "ledger": "down"}));
    setup.assert_metrics(&["wxsub_ledger_up{} 0"]).await;
    ledger.fail(Fault::None);
    setup.allow("oUser", 1);
    setup.pass(5).await;
    assert_eq!(setup.send(message("oUser", 1)).await.status, 200);
    ready().await.has(200, &json!({"ledger": "up"}));
}

/// What a message waits for is left out then.
#[tokio::test]
async fn recorded_message_and_decision_do_not_wait_for_a_read_that_does_not_end() {
    let (setup, ledger) = Setup::with_ledger(&ledger_config()).await;
    let (id, version) = setup.undecided("oUser").await;
    ledger.fail(Fault::SilentApp);
    let queued = setup.within_two_minutes(enqueue(&setup, &[], later("oUser"))).await;
    queued.has(202, &json!({"state": "queued"}));
    ledger.fail(Fault::SilentApp);
    let line = later("oUser").replacen('{', r#"{"idempotency_key":"k","#, 1);
    let media = ("Content-Type", "application/x-ndjson");
    let lines = setup.within_two_minutes(enqueue(&setup, &[media], line)).await;
    lines.has(200, &json!({"status": 202, "message": {"state": "queued"}}));
    ledger.fail(Fault::SilentApp);
    let decision = r#"{"decision":"assume_sent"}"#.to_owned();
    let (path, headers) = (format!("outbox/{id}/decision"), [("If-Match", version.as_str())]);
    let deciding = post(&setup, &path, &headers, decision);
    setup.within_two_minutes(deciding).await.has(200, &json!({"decision": "assume_sent"}));
}

/// The app is read for the `Retry-After` only.
#[tokio::test]
async fn message_that_is_not_sent_is_so_also_if_the_read_of_its_app_does_not_end() {
    let (setup, ledger) = Setup::with_ledger(&ledger_config()).await;
    post(&setup, "outbox/pause", &[], String::new()).await;
    ledger.fail(Fault::SilentApp);
    let response = setup.within_two_minutes(setup.send(message("oUser", 1))).await;
    let response = response.has(503, &json!({"kind": "paused", "outcome": "not_sent"}));
    assert!(response.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn a_lost_commit_reply_is_recorded_unknown_and_the_key_tells() {
    let (setup, ledger) = Setup::with_ledger(&ledger_config()).await;
    setup.allow("oUser", 1);
    setup.ask("POST", "/v1/apps/wx1/outbox/pause", Some(&key('a')), "").await;
    ledger.fail(Fault::LostReply);
    let header = [("Idempotency-Key", "k")];
    let lost = enqueue(&setup, &header, message("oUser", 1)).await;
    lost.has(503, &json!({"kind": "ledger_unavailable", "recorded": "unknown"}));
    ledger.fail(Fault::None);
    let again = enqueue(&setup, &header, message("oUser", 1)).await.has(202, &json!({"state": "queued"}));
    assert_eq!(again.headers["idempotent-replayed"], "true");
}

#[tokio::test]
async fn an_outcome_that_the_ledger_does_not_take_is_maybe_sent_and_settled_late() {
    let (setup, ledger) = Setup::with_ledger(&ledger_config()).await;
    setup.allow("oUser", 1);
    setup.token().await;
    ledger.fail(Fault::NoSettle);
    let response = setup.meanwhile(setup.send(message("oUser", 1))).await.is(504, "maybe_sent");
    ledger.fail(Fault::None);
    setup.meanwhile(setup.until_state(&response, "sent")).await;
    assert_eq!(setup.received("oUser"), 1);
}

/// The worker of another server has taken this one for gone.
#[tokio::test]
async fn a_response_after_the_attempt_was_given_up_is_counted() {
    let (setup, ledger) = Setup::with_ledger(&ledger_config()).await;
    setup.allow("oUser", 1);
    setup.token().await;
    ledger.fail(Fault::NoSettle);
    let response = setup.meanwhile(setup.send(message("oUser", 1))).await.is(504, "maybe_sent");
    ledger.commit(vec![Change::MarkGone(Gone::All), Change::Reclaim(10)]).await.unwrap();
    setup.until_state(&response, "maybe_sent").await;
    setup.assert_metrics(&["wxsub_outbox_late_responses_total 0"]).await;
    ledger.fail(Fault::None);
    setup.meanwhile(setup.until_state(&response, "sent")).await;
    setup.pass(1).await;
    setup.assert_metrics(&["wxsub_outbox_late_responses_total 1"]).await;
}

#[tokio::test]
async fn the_age_of_the_oldest_due_message_and_commits_are_measured() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    let age = |text: &str, appid: &str| {
        let name = format!("wxsub_outbox_oldest_due_age_seconds{{appid=\"{appid}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(name.as_str())).unwrap().parse::<u64>().unwrap()
    };
    setup.ask("POST", "/v1/apps/wx1/outbox/pause", Some(&key('a')), "").await;
    assert_eq!(enqueue(&setup, &[], later("oLater")).await.status, 202);
    setup.pass(10).await;
    assert_eq!(age(&setup.metrics().await, "wx1"), 0, "a message that is due later has no age");
    assert_eq!(enqueue(&setup, &[], message("oUser", 1)).await.status, 202);
    setup.pass(400).await;
    let text = setup.metrics().await;
    assert!((400..=402).contains(&age(&text, "wx1")), "{text}");
    assert_eq!(age(&text, "wx2"), 0);
    assert!(!text.contains("wxsub_ledger_commit_seconds_count 0\n"), "{text}");
    assert!(text.contains("wxsub_ledger_commit_seconds_bucket{le=\"0.0005\"}"), "{text}");
    assert_eq!(setup.ask("POST", "/v1/apps/wx1/outbox/resume", Some(&key('a')), "").await.status, 200);
    setup.pass(5).await;
    assert_eq!(age(&setup.metrics().await, "wx1"), 0);
}

#[tokio::test]
async fn without_a_ledger_its_routes_are_404_and_a_key_is_refused() {
    let setup = Setup::new(&client('a', "\"wx1\"", &format!("{ALL}, {OUTBOX_SCOPES}"))).await;
    for (method, path) in [
        ("POST", "consents"),
        ("POST", "grants"),
        ("GET", "grants?openid=o"),
        ("POST", "outbox"),
        ("GET", "outbox"),
        ("POST", "outbox/pause"),
    ] {
        let response = setup.ask(method, &format!("/v1/apps/wx1/{path}"), Some(&key('a')), "{}").await;
        response.is(404, "no_ledger");
    }
    let keyed = [("Idempotency-Key", "k")];
    post(&setup, "messages", &keyed, message("oUser", 1)).await.is(400, "no_ledger");
    assert_eq!(setup.seen(SEND), 0);
}

#[tokio::test]
async fn queue_and_sends_go_on_after_a_reload() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    setup.allow("oUser", 1);
    let both = [("Idempotency-Key", "k")];
    setup.server.reload(&config(&(format!("concurrency = 3\n{}", ledger_config())))).unwrap();
    assert_eq!(enqueue(&setup, &both, message("oUser", 1)).await.status, 202);
    setup.meanwhile(setup.until_received("oUser", 1)).await;
    setup.allow("oUser", 2);
    assert_eq!(setup.meanwhile(setup.send(message("oUser", 2))).await.status, 200);
}

#[tokio::test]
async fn check_and_start_name_a_ledger_that_cannot_be_used() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("ledger.db");
    let config = |path: &std::path::Path| {
        config(&format!("{}[ledger]\nurl = \"sqlite:{}\"\n", usual(), path.display()))
    };
    let now = wxsub_core::clock::SystemClock::new().now().wall;
    assert!(config(&file).check_start(now).await.problems.is_empty());
    assert!(!file.exists(), "a check makes no ledger");
    let missing = config(&folder.path().join("none/ledger.db")).check_start(now).await;
    assert!(missing.problems[0].to_string().contains("its folder cannot be read"), "{:?}", missing.problems);
    fs::write(&file, "not a database, and longer than the header of one".repeat(20)).unwrap();
    let broken = config(&file).check_start(now).await;
    assert!(broken.problems[0].to_string().contains("it is no SQLite file"), "{:?}", broken.problems);
    let error = wxsub_server::Server::builder(config(&file)).build().await.unwrap_err();
    assert!(error.to_string().contains("it is no SQLite file"), "{error}");
}

#[test]
fn a_change_of_the_ledger_needs_a_restart_and_its_keys_need_a_ledger() {
    let read = |more: &str| read_config(&format!("audit = \"off\"\n{APPS}{more}"));
    let inbox =
        |url: &str| format!("[ledger]\nurl = \"sqlite:/l\"\n[[inboxes]]\nurl = \"{url}\"\napps = [\"*\"]\n");
    let (user, other) = (inbox("mysql://u:p@db/x"), inbox("sqlite:/x"));
    let (_, without_ledger) = user.split_once("sqlite:/l\"\n").unwrap();
    for (text, expected) in [
        ("[ledger]\n", "ledger.url: is missing"),
        ("[ledger]\nurl = \"postgres:///x\"\n", "ledger.url: cannot be read: it names no host"),
        (
            "[ledger]\nurl = \"postgres://u:p@db/x\"\n",
            "ledger.url: holds a password; put it into password_file",
        ),
        ("[ledger]\nurl = \"postgres://u@db/x?sslmode=disable\"\n", "remove sslmode=disable"),
        ("[ledger]\nurl = \"postgres://db/x\"\npassword_file = \"/nowhere\"\n", "ledger.password_file: "),
        ("[ledger]\nurl = \"postgres://db/x\"\nca_file = \"/nowhere\"\n", "ledger.ca_file: "),
        (
            "[ledger]\nurl = \"sqlite:/l\"\npassword_file = \"/p\"\n",
            "ledger.password_file: is an unknown key",
        ),
        (without_ledger, "inboxes: has an effect only with [ledger]"),
        ("[ledger]\nurl = \"sqlite:/l\"\n[[inboxes]]\n", "inboxes[0].apps: is missing"),
        (&user, "inboxes[0].url: holds a password"),
        (&other, "inboxes[0].url: must be mysql://"),
        ("[ledger]\nurl = \"/var/ledger.db\"\n", "must be sqlite:"),
        ("require_grant = true\n", "only with [ledger]"),
        ("maybe_sent = \"send_again\"\n[ledger]\nurl = \"sqlite:/l\"\n", "must be \"hold\""),
        ("rate_per_s = 0\n[ledger]\nurl = \"sqlite:/l\"\n", "from 1 to"),
        ("[consent]\n", "consent.key_file: is missing"),
        ("[consent]\nkey_file = \"/nowhere\"\n", "cannot be read"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let key = consent_key();
    assert!(read(&format!("[consent]\nkey_file = {key:?}\n")).is_ok());
}

/// The policy is read beside the heartbeat. A ledger that reads slowly and writes well stops no message.
#[tokio::test]
async fn worker_stays_alive_while_the_undecided_apps_cannot_be_read() {
    let apps = APPS.replacen("secret_env", "maybe_sent = \"give_up\"\nsecret_env", 1);
    let (setup, ledger) = Setup::with_ledger_and(config_of_apps(&apps, &ledger_config())).await;
    setup.pass(1).await;
    ledger.fail(Fault::SilentPolicies);
    setup.pass(90).await;
    setup.allow("oUser", 1);
    assert_eq!(enqueue(&setup, &[], message("oUser", 1)).await.status, 202);
    setup.pass(5).await;
    assert_eq!(setup.received("oUser"), 1);
    let workers = ledger.workers().await.unwrap();
    assert!(workers.iter().all(|worker| worker.gone_at.is_none()), "{workers:?}");
}
