//! A ledger from a backup of the database: `ledger restore` makes messages unknown that were not final.

use wxsub_outbox::Ledger;
use wxsub_outbox::grant::Consent;
use wxsub_outbox::id::IdGenerator;
use wxsub_outbox::ledger::{Change, InboxBacklog, RestoreReport, Written};
use wxsub_outbox::message::Settlement;
use wxsub_outbox::state::{GrantState, MessageState};
use wxsub_postgres::{PostgresImport, PostgresLedger, PostgresOptions};
use wxsub_test_support::{Postgres, memory_folder};

use super::fixture::{NOW, Process, appid, check};

const ROW: &str = r#"INSERT INTO wxsub_inbox (id, appid, message) VALUES ('0190c2a0-0000-7000-8000-000000000001', 'wx1',
    '{"touser":"o","template_id":"T","scene":"7","title":"t","data":{"content":{"value":"c"}}}')"#;

/// A message in each kind of state, an open grant, and a row in the inbox.
async fn fill(process: &Process, postgres: &Postgres) {
    for user in ["sent", "attempting", "queued"] {
        process.record_consent(user).await;
        process.enqueue(process.message(user)).await.unwrap();
        if user != "queued" {
            let claimed = process.claimed(1).await.remove(0);
            if user == "sent" {
                process.apply(Process::settle(&claimed, Settlement::Sent)).await.unwrap();
            }
        }
    }
    process.record_consent("open").await;
    postgres.sql().await.batch_execute(ROW).await.unwrap();
}

/// Makes changes after the backup. The restored ledger does not have them.
async fn go_on(process: &Process) {
    let queued = process.claimed(1).await.remove(0);
    process.apply(Process::settle(&queued, Settlement::Sent)).await.unwrap();
    let apps = std::sync::Arc::new([(appid(), false)].into());
    process.apply(Change::MoveInbox { apps, limit: 9 }).await.unwrap();
    process.enqueue(process.message("open")).await.unwrap();
}

/// Restores the ledger. It is as it was, and none of its messages is sent by itself.
async fn restore(process: &Process, postgres: &Postgres, url: &str) {
    assert_eq!(PostgresLedger::check(PostgresOptions::new(url)).await.unwrap(), [""; 0]);
    let backlog = process.ledger.inbox_backlog(&[appid()]).await.unwrap();
    assert_eq!(backlog, Some(InboxBacklog { has_rows: true, foreign_rows: 0 }));
    let RestoreReport { messages, grants, inbox_rows, last_event_at } =
        process.apply_for(Change::Restore).await;
    // The grants of the two messages are in doubt with them.
    assert_eq!((messages, grants, inbox_rows), (2, 1, 1));
    assert!(last_event_at.is_some());
    let counts = process.ledger.app(&appid()).await.unwrap().counts;
    assert_eq!(counts, [(MessageState::Sent, 1), (MessageState::MaybeSent, 2)].into());
    assert!(process.claimed(9).await.is_empty());
    let backlog = process.ledger.inbox_backlog(&[appid()]).await.unwrap();
    assert_eq!(backlog, Some(InboxBacklog { has_rows: false, foreign_rows: 0 }));

    // A consent after the restore is newer than the one that is in doubt.
    assert!(matches!(process.record_consent("open").await, Consent::Recorded(_)));
    let open = process.ledger.grants(&appid(), &"open".parse().unwrap()).await.unwrap();
    let states: Vec<_> = open.iter().map(|grant| grant.state).collect();
    assert_eq!(states, [GrantState::InDoubt, GrantState::Open]);
    process.enqueue(process.message("open")).await.unwrap();
    assert_eq!(PostgresLedger::check(PostgresOptions::new(url)).await.unwrap(), [""; 0]);
    if url == postgres.url() {
        let sql = postgres.sql().await;
        let error = sql.query_one("SELECT error FROM wxsub_inbox", &[]).await.unwrap();
        assert!(error.get::<_, &str>(0).starts_with("the ledger was restored from a backup"));
        check(process, &sql).await;
    }
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn pg_dump_and_pg_restore_bring_a_ledger_back() {
    let postgres = Postgres::start();
    let process = Process::start(&postgres).await;
    fill(&process, &postgres).await;
    let dump = postgres.socket_folder().join("dump").display().to_string();
    postgres.run("pg_dump", &["--format=custom", "--file", &dump, "postgres"]);
    go_on(&process).await;
    postgres.sql().await.batch_execute("CREATE DATABASE restored").await.unwrap();
    postgres.run("pg_restore", &["--exit-on-error", "--dbname=restored", &dump]);
    let url = postgres.url_of("restored");
    restore(&Process::connect(&url).await, &postgres, &url).await;
}

/// A base backup, and the write-ahead log up to a moment.
#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn point_in_time_recovery_brings_a_ledger_back() {
    let folder = memory_folder();
    let archive = folder.path().join("archive").display().to_string();
    let archive_command = format!("archive_command=mkdir -p {archive} && cp %p {archive}/%f");
    let postgres = Postgres::in_folder(folder, &["archive_mode=on", &archive_command]);
    let process = Process::start(&postgres).await;
    let mut restored = postgres.base_backup(&["--wal-method=none"]);
    fill(&process, &postgres).await;
    let sql = postgres.sql().await;
    let file = "SELECT pg_walfile_name(pg_create_restore_point('before'))";
    let file: String = sql.query_one(file, &[]).await.unwrap().get(0);
    go_on(&process).await;
    sql.batch_execute("SELECT pg_switch_wal()").await.unwrap();
    let archived = "SELECT coalesce(last_archived_wal >= $1, false) FROM pg_stat_archiver";
    while !sql.query_one(archived, &[&file]).await.unwrap().get::<_, bool>(0) {
        tokio::task::yield_now().await;
    }
    restored.file("data/recovery.signal", "");
    restored.set(&format!("restore_command=cp {archive}/%f %p"));
    restored.set("recovery_target_name=before");
    restored.set("recovery_target_action=promote");
    restored.set("archive_mode=off");
    restored.start_again();
    let sql = restored.sql().await;
    while sql.query_one("SELECT pg_is_in_recovery()", &[]).await.unwrap().get::<_, bool>(0) {
        tokio::task::yield_now().await;
    }
    restore(&Process::start(&restored).await, &restored, &restored.url()).await;
}

/// PostgreSQL replies to the COMMIT of a failed transaction without an error, and undoes it.
#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn an_import_whose_rows_were_not_written_is_not_committed() {
    let postgres = Postgres::start();
    let mut import = PostgresImport::begin(&PostgresOptions::new(postgres.url())).await.unwrap();
    // There is no such grant.
    let nonces = vec![([1; 16], IdGenerator::new(None).grant(NOW).unwrap())];
    import.write(&Written { nonces, ..Written::default() }).await.unwrap_err();
    let error = import.commit().await.unwrap_err();
    assert!(error.to_string().contains("were not written"), "{error}");
}
