//! Checks, backups and restores.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use rusqlite::Connection;
use wxsub_core::testing::ManualClock;
use wxsub_outbox::Ledger;
use wxsub_outbox::ledger::Change;
use wxsub_outbox::message::Settlement;
use wxsub_outbox::state::{GrantState, MessageState, Reason};
use wxsub_sqlite::{OpenError, OpenErrorKind, SqliteLedger, SqliteOptions};

use super::fixture::{Fixture, all, appid, apply};

impl Fixture {
    /// One message is sent, one is under way and one is queued; and one consent waits.
    async fn variety(&self, ledger: &SqliteLedger) {
        self.enqueue(ledger, "sent").await;
        let (worker, claimed) = self.claim(ledger).await;
        let (message, attempt) = (claimed[0].id, claimed[0].attempt);
        let settlement = Settlement::Sent;
        apply(ledger, Change::Settle { message, worker, attempt, settlement, max_failures: 9 })
            .await
            .unwrap();
        self.enqueue(ledger, "attempting").await;
        self.claim(ledger).await;
        self.enqueue(ledger, "queued").await;
        self.consent(ledger, "waiting").await;
    }
}

#[tokio::test]
async fn a_backup_must_be_restored_before_it_is_used() {
    let (fixture, ledger) = Fixture::opened().await;
    fixture.variety(&ledger).await;
    let copy = fixture.backup().await;
    fixture.enqueue(&ledger, "later").await;
    let refused = SqliteLedger::open(&copy, SqliteOptions::new()).await.unwrap_err();
    assert!(matches!(refused.kind, OpenErrorKind::Backup(..)), "{refused}");
    let reader = SqliteLedger::open_read_only(&copy).await.unwrap();
    assert_eq!((all(&ledger).await.len(), all(&reader).await.len()), (4, 3), "it can be read");
    drop(reader);

    let to = fixture.folder.path().join("restored.db");
    let (report, replaced) = SqliteLedger::restore_backup(&copy, &to, SqliteOptions::new()).await.unwrap();
    assert_eq!((report.messages, report.grants, replaced), (2, 1, None));
    assert_eq!(report.last_event_at, all(&ledger).await.get(2).map(|queued| queued.created_at));
    let restored = SqliteLedger::open(&to, SqliteOptions::new()).await.unwrap();
    let seen: Vec<_> = all(&restored).await.iter().map(|message| (message.state, message.reason)).collect();
    let undecided = (MessageState::MaybeSent, Some(Reason::Restored));
    assert_eq!(seen, [(MessageState::Sent, None), undecided, undecided]);
    let grants = restored.grants(&appid(), &"waiting".parse().unwrap()).await.unwrap();
    assert_eq!(grants[0].state, GrantState::InDoubt);
    assert!(SqliteLedger::check(&to).await.unwrap().is_empty());
    assert!(
        matches!(
            SqliteLedger::unfinished(&copy).await,
            Err(OpenError { kind: OpenErrorKind::Backup(..), .. })
        ),
        "it is as it was"
    );
}

/// Files that a crash left beside the ledger belong to no other file.
#[tokio::test]
async fn a_restore_keeps_the_files_that_it_replaces() {
    let (fixture, ledger) = Fixture::opened().await;
    fixture.enqueue(&ledger, "kept").await;
    let copy = fixture.backup().await;
    fixture.enqueue(&ledger, "later").await;
    // As after a crash: the log is there.
    let names = ["ledger.db", "ledger.db-wal"];
    let crashed = names.map(|name| fs::read(fixture.folder.path().join(name)).unwrap());
    drop(ledger);
    for (name, bytes) in names.iter().zip(&crashed) {
        fs::write(fixture.folder.path().join(name), bytes).unwrap();
    }
    let unmarked = SqliteLedger::restore_backup(fixture.path(), &copy, SqliteOptions::new()).await;
    assert!(matches!(unmarked, Err(OpenError { kind: OpenErrorKind::NotABackup, .. })));
    let (report, replaced) =
        SqliteLedger::restore_backup(&copy, fixture.path(), SqliteOptions::new()).await.unwrap();
    let replaced = replaced.unwrap();
    assert_eq!(report.messages, 1);
    assert_eq!(fs::read(&replaced).unwrap(), crashed[0]);
    assert_eq!(fs::read(format!("{}-wal", replaced.display())).unwrap(), crashed[1]);
    assert_eq!(fs::metadata(fixture.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fixture.names().iter().any(|name| name.contains("partial")), "{:?}", fixture.names());
    let restored = fixture.open().await;
    assert_eq!(all(&restored).await.len(), 1);
    drop(restored);
    assert!(SqliteLedger::check(fixture.path()).await.unwrap().is_empty());
    assert_eq!(all(&SqliteLedger::open_read_only(&replaced).await.unwrap()).await.len(), 2);
}

#[tokio::test]
async fn a_damaged_backup_replaces_nothing() {
    let (fixture, ledger) = Fixture::opened().await;
    for number in 0..200 {
        fixture.enqueue(&ledger, &format!("user{number}")).await;
    }
    let copy = fixture.backup().await;
    drop(ledger);
    let mut bytes = fs::read(&copy).unwrap();
    bytes[3 * 4096..][..4096].fill(0xA5);
    fs::write(&copy, &bytes).unwrap();
    let refused =
        SqliteLedger::restore_backup(&copy, fixture.path(), SqliteOptions::new()).await.unwrap_err();
    assert!(matches!(refused.kind, OpenErrorKind::Damaged(..)), "{refused}");
    assert_eq!(fixture.names(), ["backup.db", "ledger.db", "ledger.db.lock"]);
    assert_eq!(all(&fixture.open().await).await.len(), 200);
}

#[tokio::test]
async fn a_copy_made_with_other_means_can_be_restored() {
    let (fixture, ledger) = Fixture::opened().await;
    fixture.variety(&ledger).await;
    drop(ledger);
    let copy = fixture.folder.path().join("copy.db");
    fs::copy(fixture.path(), &copy).unwrap();
    let unfinished = SqliteLedger::unfinished(&copy).await.unwrap();
    assert_eq!((unfinished.messages, unfinished.grants), (2, 1));
    let report = SqliteLedger::restore_snapshot(&copy, SqliteOptions::new()).await.unwrap();
    assert_eq!((report.messages, report.grants), (2, 1));
    let again = SqliteLedger::restore_snapshot(&copy, SqliteOptions::new()).await.unwrap();
    assert_eq!((again.messages, again.grants), (0, 0));
}

#[tokio::test]
async fn a_restore_needs_a_ledger_that_no_process_writes_to() {
    let fixture = Fixture::new();
    let missing = SqliteLedger::restore_snapshot(fixture.path(), SqliteOptions::new()).await.unwrap_err();
    assert!(matches!(missing.kind, OpenErrorKind::Missing) && !fixture.path().exists());
    let _ledger = fixture.open().await;
    let refused = SqliteLedger::restore_snapshot(fixture.path(), SqliteOptions::new()).await.unwrap_err();
    assert!(matches!(refused.kind, OpenErrorKind::Locked(..)));
    let copy = fixture.backup().await;
    let refused = SqliteLedger::restore_backup(&copy, fixture.path(), SqliteOptions::new()).await;
    assert!(matches!(refused, Err(OpenError { kind: OpenErrorKind::Locked(..), .. })));
}

#[tokio::test]
async fn a_backup_replaces_no_file_and_leaves_no_part_behind() {
    let (fixture, ledger) = Fixture::opened().await;
    fixture.enqueue(&ledger, "o").await;
    let copy = fixture.folder.path().join("backup.db");
    fs::write(&copy, "precious").unwrap();
    let refused = SqliteLedger::backup(fixture.path(), &copy).await.unwrap_err();
    assert!(matches!(refused.kind, OpenErrorKind::TargetExists));
    assert_eq!(fs::read(&copy).unwrap(), b"precious");
    let nowhere = fixture.folder.path().join("none/backup.db");
    assert!(SqliteLedger::backup(fixture.path(), nowhere).await.is_err());
    assert!(SqliteLedger::backup(fixture.folder.path().join("none.db"), &copy).await.is_err());
    let names = fs::read_dir(fixture.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().contains("partial")));
}

/// A backup that was killed leaves the empty file with which it holds the name.
#[tokio::test]
async fn a_backup_takes_over_the_empty_file_of_one_that_was_killed() {
    let (fixture, ledger) = Fixture::opened().await;
    fixture.enqueue(&ledger, "o").await;
    let copy = fixture.folder.path().join("backup.db");
    let other = fs::File::create(&copy).unwrap();
    other.lock().unwrap();
    let refused = SqliteLedger::backup(fixture.path(), &copy).await.unwrap_err();
    assert!(matches!(refused.kind, OpenErrorKind::TargetExists), "the other one is still at work");
    drop(other);
    SqliteLedger::backup(fixture.path(), &copy).await.unwrap();
    assert!(fs::metadata(&copy).unwrap().len() > 0);
    let refused = SqliteLedger::backup(fixture.path(), &copy).await.unwrap_err();
    assert!(matches!(refused.kind, OpenErrorKind::TargetExists));
}

#[tokio::test]
async fn only_its_owner_can_read_a_backup() {
    let (fixture, ledger) = Fixture::opened().await;
    fixture.enqueue(&ledger, "o").await;
    let copy = fixture.backup().await;
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let link = fixture.folder.path().join("link.db");
    symlink(fixture.folder.path().join("elsewhere.db"), &link).unwrap();
    assert!(SqliteLedger::backup(fixture.path(), &link).await.is_err(), "a link is not followed");
    assert_eq!(
        fixture.names(),
        ["backup.db", "ledger.db", "ledger.db-shm", "ledger.db-wal", "ledger.db.lock", "link.db"]
    );
}

#[tokio::test]
async fn a_check_names_what_is_wrong() {
    let (fixture, ledger) = Fixture::opened().await;
    fixture.variety(&ledger).await;
    drop(ledger);
    assert!(SqliteLedger::check(fixture.path()).await.unwrap().is_empty());
    for (change, problem) in [
        (
            "UPDATE wxsub_count SET messages = 5 WHERE state = 'queued'",
            "app wx1: the count of its queued messages is 5, a recount gives 1",
        ),
        (
            "UPDATE wxsub_app SET undecided = 7",
            "app wx1: the count of its undecided messages is 7, a recount gives 0",
        ),
        (
            "INSERT INTO wxsub_nonce VALUES (x'01', x'02')",
            "wxsub_nonce: a row refers to one of wxsub_grant that is missing",
        ),
        ("DELETE FROM wxsub_event", "its version is 3, and its history ends with"),
        ("UPDATE wxsub_message SET grant_id = x'0A' WHERE state = 'queued'", "its grant 0A is missing"),
    ] {
        let copy = fixture.folder.path().join("tampered.db");
        fs::copy(fixture.path(), &copy).unwrap();
        let tampered = Connection::open(&copy).unwrap();
        tampered.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        tampered.execute_batch(change).unwrap();
        drop(tampered);
        let problems = SqliteLedger::check(&copy).await.unwrap();
        assert!(problems.iter().any(|line| line.contains(problem)), "{change}: {problems:?}");
        fs::remove_file(&copy).unwrap();
    }
}

#[tokio::test]
async fn a_restore_names_the_file_that_is_in_its_way() {
    let fixture = Fixture::new();
    drop(fixture.open().await);
    let copy = fixture.backup().await;
    // Two restores at the same time of the clock keep two ledgers under the same name.
    let options = SqliteOptions::new().clock(Arc::new(ManualClock::new()));
    let restore = || SqliteLedger::restore_backup(&copy, fixture.path(), options.clone());
    let (_, kept) = restore().await.unwrap();
    let refused = restore().await.unwrap_err().to_string();
    assert!(refused.contains(kept.unwrap().to_str().unwrap()), "{refused}");
    fixture.open().await;
}
