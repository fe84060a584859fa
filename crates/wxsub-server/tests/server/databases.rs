//! A server whose configuration names a PostgreSQL as its ledger.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use wxsub_core::clock::{Clock, SystemClock, UnixMillis, timeout_at};
use wxsub_server::{Diagnostic, Server, StartCheck};
use wxsub_test_support::Postgres;
use wxsub_test_support::postgres::PASSWORD;

use super::outbox::{OUTBOX_SCOPES, enqueue};
use super::setup::{ALL, Setup, client, config, message};

/// A folder with the files of passwords.
pub(crate) struct Folder(pub(crate) TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn password(&self, name: &str, password: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, format!("{password}\n")).unwrap();
        path
    }
}

/// The client `a`, and a ledger in PostgreSQL over TCP.
fn ledger_at(port: u16, password_file: &Path) -> String {
    let client = client('a', "\"*\"", &format!("{ALL}, {OUTBOX_SCOPES}"));
    format!(
        "{client}[ledger]\nurl = \"postgres://postgres@127.0.0.1:{port}/postgres\"\npassword_file = {password_file:?}\n"
    )
}

pub(crate) async fn check(text: &str) -> StartCheck {
    config(text).check_start(UnixMillis::new(1_780_000_000_000)).await
}

pub(crate) fn one(diagnostics: &[Diagnostic], start: &str, part: &str) {
    let [diagnostic] = diagnostics else { panic!("{diagnostics:?}") };
    let text = diagnostic.to_string();
    assert!(text.starts_with(start) && text.contains(part) && !text.contains(PASSWORD), "{text}");
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn two_servers_share_a_ledger_in_postgresql() {
    let (postgres, folder) = (Postgres::start(), Folder::new());
    let text = ledger_at(postgres.port, &folder.password("p", PASSWORD));
    assert_eq!(check(&text).await, StartCheck::default());
    let one = Setup::in_real_time(config(&text)).await;
    let two = Setup::in_real_time(config(&text)).await;
    two.server.run_worker();
    two.allow("oUser", 1);
    let key = [("Idempotency-Key", "order-1")];
    // The first has no worker: the second sends what the first has recorded.
    let queued = enqueue(&one, &key, message("oUser", 1)).await.has(202, &json!({}));
    two.until_state(&queued, "sent").await;
    assert_eq!((one.received("oUser"), two.received("oUser")), (0, 1));
    let again = enqueue(&one, &key, message("oUser", 1)).await;
    let again = again.has(202, &json!({"id": queued.id(), "state": "sent"}));
    assert_eq!(again.headers["idempotent-replayed"], "true");
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn server_starts_while_postgresql_is_away_and_opens_it_later() {
    let (mut postgres, folder) = (Postgres::start(), Folder::new());
    let text = ledger_at(postgres.port, &folder.password("p", PASSWORD));
    postgres.stop_immediately();
    let checked = check(&text).await;
    one(&checked.warnings, "ledger: ", "no connection");
    let setup = Setup::in_real_time(config(&text)).await;
    setup.server.run_worker();
    assert_eq!(setup.token().await.status, 200);
    enqueue(&setup, &[], message("oUser", 1)).await.is(503, "ledger_unavailable");
    assert_eq!(setup.ask("GET", "/readyz", None, "").await.json()["ledger"], "down");
    postgres.start_again();
    setup.allow("oUser", 1);
    let queued = enqueue(&setup, &[], message("oUser", 1)).await.has(202, &json!({}));
    setup.until_state(&queued, "sent").await;
    assert_eq!(setup.ask("GET", "/readyz", None, "").await.json()["ledger"], "up");
}

/// For example a pooler with too much to do, or a process that is stopped: the kernel accepts connections.
#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn server_starts_while_postgresql_accepts_and_does_not_respond() {
    let (silent, folder) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Folder::new());
    let text = ledger_at(silent.local_addr().unwrap().port(), &folder.password("p", PASSWORD));
    let clock = SystemClock::new();
    let limit = clock.now().mono + Duration::from_secs(60);
    let served = async {
        one(&check(&text).await.warnings, "ledger: ", "no response within 10 s");
        let setup = Setup::in_real_time(config(&text)).await;
        assert_eq!(setup.token().await.status, 200);
        assert_eq!(enqueue(&setup, &[], message("oUser", 1)).await.status, 503);
    };
    timeout_at(&clock, limit, served).await.expect("each wait has a deadline");
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn login_that_postgresql_refuses_prevents_the_start() {
    let (postgres, folder) = (Postgres::start(), Folder::new());
    let text = ledger_at(postgres.port, &folder.password("p", "wrong"));
    one(&check(&text).await.problems, "ledger: ", "check user, password file");
    let error = Server::builder(config(&text)).build().await.unwrap_err();
    assert!(error.to_string().contains("refused the login"), "{error}");
}
