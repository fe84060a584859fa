//! The inbox in the ledger's own schema: with the documented rights of a worker and of an application, and no others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use wxsub_core::testing::MockTransport;
use wxsub_outbox::inbox::{InboxRow, MAX_MESSAGE_BYTES, POSTGRES_INSERT};
use wxsub_outbox::ledger::{Change, InboxBacklog, MessageQuery, RowOutcomes};
use wxsub_outbox::state::{MessageState, Reason};
use wxsub_outbox::testing::inbox_conformance::numbered_row as row;
use wxsub_outbox::{App, Ledger, LedgerError, Outbox};
use wxsub_postgres::{PostgresLedger, PostgresOptions};
use wxsub_test_support::Postgres;

use super::fixture::{Process, appid, check};
use super::proxy::{Cut, Proxy};

const DOCUMENT: &str = include_str!("../../../../docs/inbox.md");

/// The rights of an application that the document names, for the schema and the role of the tests.
fn application_rights() -> String {
    let rights = DOCUMENT.lines().filter(|line| line.starts_with("GRANT") && line.ends_with(" TO shop;"));
    let rights: Vec<_> = rights.collect();
    assert_eq!(rights.len(), 2, "{rights:?}");
    rights
        .join("\n")
        .replace("SCHEMA wxsub ", "SCHEMA public ")
        .replace("wxsub.wxsub_inbox", "public.wxsub_inbox")
}

/// A ledger with a role for workers and one for the application, which has only the right to insert.
async fn start() -> (Postgres, Process, Client) {
    let postgres = Postgres::start();
    let sql = postgres.sql().await;
    drop(PostgresLedger::connect(PostgresOptions::new(postgres.url())).await.unwrap());
    sql.batch_execute("CREATE ROLE worker LOGIN; CREATE ROLE shop LOGIN").await.unwrap();
    sql.batch_execute(&super::conformance::rights("public", "worker")).await.unwrap();
    sql.batch_execute(&application_rights()).await.unwrap();
    let process = Process::connect(&postgres.url_as("worker")).await;
    let (application, connection) =
        tokio_postgres::connect(&postgres.url_as("shop"), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    (postgres, process, application)
}

async fn insert(application: &Client, row: &InboxRow) -> Result<u64, tokio_postgres::Error> {
    let InboxRow { id, appid, message, send_at_ms, expires_at_ms, priority } = row;
    application.execute(POSTGRES_INSERT, &[id, appid, message, send_at_ms, expires_at_ms, priority]).await
}

fn move_inbox(limit: usize) -> Change {
    Change::MoveInbox { apps: Arc::new(BTreeMap::from([(appid(), false)])), limit }
}

async fn move_rows(process: &Process, limit: usize) -> RowOutcomes {
    process.apply_for(move_inbox(limit)).await
}

async fn backlog(process: &Process) -> InboxBacklog {
    process.ledger.inbox_backlog(&[appid()]).await.unwrap().unwrap()
}

/// The rows that are left, with their error.
async fn rows(sql: &Client) -> Vec<(String, Option<String>)> {
    let rows = sql.query("SELECT id::text, error FROM wxsub_inbox ORDER BY id", &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

async fn states(process: &Process) -> Vec<(String, MessageState, Option<Reason>)> {
    let messages = process.ledger.messages(&MessageQuery::new(appid())).await.unwrap();
    messages.iter().map(|message| (message.id.to_string(), message.state, message.reason)).collect()
}

fn queued(number: u32) -> (String, MessageState, Option<Reason>) {
    (row(number).id, MessageState::Queued, None)
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn rolled_back_rows_are_nothing_and_committed_rows_are_one_message_each() {
    let (postgres, process, application) = start().await;
    let sql = postgres.sql().await;
    assert_eq!(backlog(&process).await, InboxBacklog { has_rows: false, foreign_rows: 0 });
    for (number, end) in [(1, "ROLLBACK"), (2, "COMMIT")] {
        application.batch_execute("BEGIN").await.unwrap();
        assert_eq!(insert(&application, &row(number)).await.unwrap(), 1);
        assert!(!backlog(&process).await.has_rows, "it is not committed");
        application.batch_execute(end).await.unwrap();
    }
    assert!(backlog(&process).await.has_rows);
    let moved = move_rows(&process, 9).await;
    assert_eq!((moved.recorded, moved.new.len()), (vec![row(2).id], 1));
    assert_eq!((rows(&sql).await, states(&process).await), (vec![], vec![queued(2)]));

    // The application repeats its transaction: before the row was moved, and after.
    insert(&application, &row(3)).await.unwrap();
    assert_eq!(insert(&application, &row(3)).await.unwrap(), 0);
    move_rows(&process, 9).await;
    insert(&application, &row(3)).await.unwrap();
    let again = move_rows(&process, 9).await;
    assert_eq!((again.recorded.len(), again.new.len()), (1, 0));
    assert_eq!((rows(&sql).await, states(&process).await), (vec![], vec![queued(2), queued(3)]));
    check(&process, &sql).await;
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn an_application_can_only_insert() {
    let (_postgres, _process, application) = start().await;
    insert(&application, &row(1)).await.unwrap();
    for statement in [
        "SELECT * FROM wxsub_inbox",
        "INSERT INTO wxsub_inbox (id, appid, message) VALUES ('1', 'wx1', '{}') ON CONFLICT (id) DO NOTHING",
        "DELETE FROM wxsub_inbox",
        "UPDATE wxsub_inbox SET error = ''",
        "SELECT * FROM wxsub_message",
        "INSERT INTO wxsub_app (appid) VALUES ('wx1')",
    ] {
        let error = application.batch_execute(statement).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{statement}");
    }
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn rows_that_cannot_be_recorded_stop_no_others() {
    let (postgres, process, application) = start().await;
    let sql = postgres.sql().await;
    let long = serde_json::json!({ "title": "界".repeat(MAX_MESSAGE_BYTES) }).to_string();
    let deep = format!("{}1{}", "[".repeat(900), "]".repeat(900));
    let used = process.message("used");
    process.enqueue(used.clone()).await.unwrap();
    let odd = [
        InboxRow { id: "order 17".to_owned(), ..row(1) },
        InboxRow { id: String::new(), ..row(1) },
        InboxRow { id: "包".repeat(36), ..row(1) },
        InboxRow { id: used.id.to_string(), ..row(1) },
        InboxRow { appid: "w x".to_owned(), ..row(2) },
        InboxRow { appid: String::new(), ..row(3) },
        InboxRow { message: "{}".to_owned(), ..row(4) },
        InboxRow { message: "null".to_owned(), ..row(5) },
        InboxRow { message: long, ..row(6) },
        InboxRow { message: deep, ..row(7) },
        InboxRow { message: r#"{"touser":1e400,"scene":-0.0}"#.to_owned(), ..row(8) },
        InboxRow { send_at_ms: Some(i64::MIN), expires_at_ms: Some(-1), ..row(9) },
        InboxRow { send_at_ms: Some(i64::MAX), ..row(10) },
        InboxRow { send_at_ms: Some(i64::MAX), expires_at_ms: Some(i64::MAX), ..row(11) },
        InboxRow { expires_at_ms: Some(0), ..row(12) },
    ];
    for row in &odd {
        insert(&application, row).await.unwrap();
    }
    for number in 20..25 {
        insert(&application, &row(number)).await.unwrap();
    }
    let moved = move_rows(&process, 100).await;
    assert_eq!((moved.rejected.len(), &moved.error), (6, &None), "{moved:?}");
    assert_eq!(moved.recorded.len(), odd.len() - 6 + 5);
    let left = rows(&sql).await;
    let errors: Vec<_> = left.iter().map(|(_, error)| error.as_deref().unwrap()).collect();
    for (error, count) in
        [("id: is not a UUID", 3), ("id: it was used for another message", 1), ("appid: ", 2)]
    {
        assert_eq!(errors.iter().filter(|text| text.starts_with(error)).count(), count, "{errors:?}");
    }
    let states = states(&process).await;
    for number in 20..25 {
        assert!(states.contains(&queued(number)), "{states:?}");
    }
    let invalid = states.iter().filter(|(.., reason)| *reason == Some(Reason::Invalid)).count();
    // Six messages break a rule, and row 11 expires when it is due.
    assert_eq!(invalid, 7, "{states:?}");
    assert!(!backlog(&process).await.has_rows, "what has an error is not looked at again");

    // An operator corrects a row.
    sql.batch_execute("UPDATE wxsub_inbox SET appid = 'wx1', error = NULL WHERE appid = 'w x'")
        .await
        .unwrap();
    assert_eq!(move_rows(&process, 100).await.new.len(), 1);
    check(&process, &sql).await;
}

/// Processes with different apps work on one ledger.
#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn rows_of_other_apps_wait_for_another_process() {
    let (postgres, process, application) = start().await;
    for number in 0..3 {
        insert(&application, &InboxRow { appid: "wx2".to_owned(), ..row(number) }).await.unwrap();
    }
    assert_eq!(backlog(&process).await, InboxBacklog { has_rows: false, foreign_rows: 3 });
    insert(&application, &row(4)).await.unwrap();
    assert!(backlog(&process).await.has_rows);
    assert_eq!(move_rows(&process, 9).await.recorded, [row(4).id]);
    let other =
        Change::MoveInbox { apps: Arc::new(BTreeMap::from([("wx2".parse().unwrap(), true)])), limit: 9 };
    let moved: RowOutcomes = process.apply_for(other).await;
    assert_eq!((moved.recorded.len(), moved.not_sent), (3, 3), "this app requires grants");
    assert_eq!(rows(&postgres.sql().await).await, []);
}

/// For an hour or longer: its row is not seen, and neither side waits for the other.
#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn an_open_transaction_of_the_application_blocks_nothing() {
    let (postgres, process, application) = start().await;
    let sql = postgres.sql().await;
    application.batch_execute("SET lock_timeout = 1; BEGIN").await.unwrap();
    insert(&application, &row(5)).await.unwrap();
    sql.batch_execute("SET ROLE shop").await.unwrap();
    for number in [3, 7] {
        insert(&sql, &row(number)).await.unwrap();
    }
    assert_eq!(move_rows(&process, 9).await.recorded.len(), 2);
    assert!(!backlog(&process).await.has_rows);
    application.batch_execute("COMMIT").await.unwrap();
    assert_eq!(move_rows(&process, 9).await.recorded, [row(5).id]);
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn two_processes_move_ten_thousand_rows_of_one_transaction_once() {
    let (postgres, one, application) = start().await;
    let two = Process::connect(&postgres.url_as("worker")).await;
    application
        .batch_execute(
            r#"INSERT INTO wxsub_inbox (id, appid, message) SELECT gen_random_uuid()::text, 'wx1', jsonb_build_object('touser',
               'o' || n, 'template_id', 'T', 'scene', '7', 'title', 't', 'data', '{"content": {"value": "c"}}'::jsonb)
               FROM generate_series(1, 10000) AS n"#,
        )
        .await
        .unwrap();
    let move_all = async |process: &Process| {
        let mut messages = Vec::new();
        while backlog(process).await.has_rows {
            let moved = move_rows(process, 1000).await;
            assert_eq!((moved.error, moved.rejected, moved.not_sent), (None, vec![], 0));
            assert_eq!(moved.recorded.len(), moved.new.len(), "no row was moved before");
            messages.extend(moved.new.into_iter().map(|message| message.id));
        }
        messages
    };
    let (first, second) = tokio::join!(move_all(&one), move_all(&two));
    assert_eq!(first.len() + second.len(), 10_000);
    let sql = postgres.sql().await;
    assert_eq!(rows(&sql).await, []);
    assert_eq!(
        one.ledger.app(&appid()).await.unwrap().counts,
        BTreeMap::from([(MessageState::Queued, 10_000)])
    );
    check(&one, &sql).await;
}

/// The row is in the inbox or its message in the ledger, never both and never none.
#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn a_connection_cut_at_any_message_moves_a_row_wholly_or_not_at_all() {
    let (postgres, observer, application) = start().await;
    let sql = postgres.sql().await;
    let proxy = Proxy::start(&postgres).await;
    let process = Process::connect(&proxy.url()).await;
    let mut number = 0;
    for cut in [Cut::BeforeMessage, Cut::BeforeReply] {
        for messages in 0.. {
            number += 1;
            insert(&application, &row(number)).await.unwrap();
            proxy.cut_after(messages, cut);
            let moved = process.apply(move_inbox(9)).await;
            let (was_cut, _) = proxy.disarm();
            // The transaction of the lost connection may still be under way.
            let wait = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'postgres' AND query NOT LIKE '%pg_terminate%' AND pid <> pg_backend_pid() AND state <> 'idle'";
            sql.query(wait, &[]).await.unwrap();
            let is_left = rows(&sql).await.iter().any(|(id, _)| *id == row(number).id);
            let is_recorded =
                observer.ledger.message(row(number).id.parse().unwrap()).await.unwrap().is_some();
            assert_ne!(is_left, is_recorded, "{cut:?} {messages}: {moved:?}");
            match moved {
                Ok(_) => assert!(is_recorded),
                Err(LedgerError::Unknown(_)) => {}
                Err(error) => panic!("{messages}: {error}"),
            }
            move_rows(&process, 9).await;
            assert!(states(&observer).await.contains(&queued(number)));
            if !was_cut {
                break;
            }
            assert!(messages < 100, "the transaction has more messages than that");
        }
    }
    assert_eq!(rows(&sql).await, []);
    check(&observer, &sql).await;
}

/// Needs no configuration, and no call but that of the worker.
#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn the_worker_sends_committed_rows() {
    let (postgres, _process, application) = start().await;
    let transport = Arc::new(MockTransport::new().token("T").accepted());
    let client = wxsub_core::Client::builder("wx1", "SECRET", transport).build().unwrap();
    let ledger = PostgresLedger::connect(PostgresOptions::new(postgres.url_as("worker"))).await.unwrap();
    let outbox = Outbox::builder(ledger)
        .app(App::new(appid(), client))
        .poll_interval(Duration::from_millis(1))
        .build();
    let (mut outcomes, mut status) = (outbox.outcomes(), outbox.inbox_status());
    let worker = outbox.clone();
    let working = tokio::spawn(async move { worker.run(std::future::pending()).await });
    status.wait_for(|status| status.is_empty).await.unwrap();
    insert(&application, &InboxRow { appid: "w x".to_owned(), ..row(1) }).await.unwrap();
    insert(&application, &InboxRow { appid: "wx2".to_owned(), ..row(2) }).await.unwrap();
    insert(&application, &row(3)).await.unwrap();
    let sent = outcomes.next().await.unwrap();
    assert_eq!((sent.id.to_string(), sent.state), (row(3).id, MessageState::Sent));
    let done = |status: &wxsub_outbox::inbox::InboxStatus| {
        (status.copied, status.rejected, status.foreign_rows, status.is_empty) == (1, 1, 1, true)
    };
    status.wait_for(done).await.unwrap();
    working.abort();
}
