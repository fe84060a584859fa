//! Opening: what is kept, and what is refused.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use wxsub_core::testing::ManualClock;
use wxsub_outbox::ledger::{Change, FromApplied};
use wxsub_outbox::message::{Detail, Settlement};
use wxsub_outbox::state::{MessageState, Reason};
use wxsub_outbox::webhook::StoredDelivery;
use wxsub_outbox::{Ledger, LedgerError};
use wxsub_sqlite::{OpenError, OpenErrorKind, SqliteLedger, SqliteOptions};

use super::fixture::{Fixture, all, apply};

#[tokio::test]
async fn what_was_committed_is_there_after_a_drop() {
    let (fixture, ledger) = Fixture::opened().await;
    fixture.consent(&ledger, "o").await;
    let id = fixture.enqueue(&ledger, "o").await;
    let before = (all(&ledger).await, ledger.history(id).await.unwrap());
    drop(ledger);
    let ledger = fixture.open().await;
    assert_eq!((all(&ledger).await, ledger.history(id).await.unwrap()), before);
    assert!(SqliteLedger::check(fixture.path()).await.unwrap().is_empty());
}

/// A copy of `FILE` alone must not hold old states.
#[tokio::test]
async fn closed_ledger_is_one_file_after_any_order_of_closing() {
    let (fixture, ledger) = Fixture::opened().await;
    let reader = SqliteLedger::open_read_only(fixture.path()).await.unwrap();
    fixture.enqueue(&ledger, "o").await;
    assert_eq!(all(&reader).await.len(), 1);
    drop(ledger);
    drop(reader);
    assert_eq!(fixture.names(), ["ledger.db", "ledger.db.lock"]);
    let reader = SqliteLedger::open_read_only(fixture.path()).await.unwrap();
    assert_eq!(all(&reader).await.len(), 1);
    drop(reader);
    assert_eq!(fixture.names(), ["ledger.db", "ledger.db.lock"]);
}

#[tokio::test]
async fn attempts_of_the_process_before_become_maybe_sent() {
    let (fixture, ledger) = Fixture::opened().await;
    fixture.enqueue(&ledger, "o").await;
    fixture.claim(&ledger).await;
    let queued = fixture.enqueue(&ledger, "p").await;
    drop(ledger);
    let ledger = fixture.open().await;
    let messages = all(&ledger).await;
    assert_eq!((messages[0].state, messages[0].reason), (MessageState::MaybeSent, Some(Reason::WorkerLost)));
    assert_eq!((messages[1].id, messages[1].state), (queued, MessageState::Queued));
}

#[tokio::test]
async fn commits_at_the_same_time_are_all_kept() {
    let fixture = Fixture::new();
    let ledger = Arc::new(fixture.open().await);
    let commits: Vec<_> = (0..300)
        .map(|number| {
            let new = fixture.new_message(&format!("user{number}"));
            let (ledger, change) = (Arc::clone(&ledger), Change::Enqueue(Box::new(new)));
            tokio::spawn(async move { apply(&ledger, change).await.unwrap() })
        })
        .collect();
    for commit in commits {
        commit.await.unwrap();
    }
    assert_eq!(all(&ledger).await.len(), 300);
}

#[tokio::test]
async fn a_commit_whose_caller_gave_up_is_whole() {
    let (fixture, ledger) = Fixture::opened().await;
    let changes = ["a", "b"].map(|user| Change::Enqueue(Box::new(fixture.new_message(user))));
    let mut commit = Box::pin(ledger.commit(changes.to_vec()));
    assert!(futures_poll(&mut commit).is_none());
    drop(commit);
    // The next one waits for it.
    fixture.enqueue(&ledger, "c").await;
    assert_eq!(all(&ledger).await.len(), 3);
}

/// Polls once.
fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn readers_see_what_another_process_writes_and_change_nothing() {
    let (fixture, ledger) = Fixture::opened().await;
    let reader = SqliteLedger::open_read_only(fixture.path()).await.unwrap();
    let id = fixture.enqueue(&ledger, "o").await;
    assert_eq!(reader.message(id).await.unwrap(), ledger.message(id).await.unwrap());
    let refused = apply(&reader, Change::Expire(1)).await.unwrap_err();
    assert_eq!(refused, LedgerError::Unavailable("it was opened for reading".to_owned()));
    drop(ledger);
    assert_eq!(all(&reader).await.len(), 1, "also when no process writes");
    let nothing = SqliteLedger::open_read_only(fixture.folder.path().join("other.db")).await;
    assert!(matches!(nothing, Err(OpenError { kind: OpenErrorKind::Missing, .. })), "a reader makes no file");
}

#[tokio::test]
async fn a_ledger_has_one_lock_under_all_its_names() {
    let (fixture, _ledger) = Fixture::opened().await;
    let link = fixture.folder.path().join("link.db");
    symlink(fixture.path(), &link).unwrap();
    let refused = SqliteLedger::open(&link, SqliteOptions::new()).await.unwrap_err();
    assert!(matches!(refused.kind, OpenErrorKind::Locked(..)), "{refused}");
}

#[tokio::test]
async fn a_process_waits_for_the_one_that_has_the_ledger() {
    let (fixture, clock) = (Fixture::new(), Arc::new(ManualClock::new()));
    let holder = fixture.open().await;
    let open = |clock: &Arc<ManualClock>, path| {
        let options = SqliteOptions::new().clock(clock.clone()).lock_timeout(Duration::from_secs(5));
        tokio::spawn(SqliteLedger::open(path, options))
    };
    let waits = async || {
        while clock.next_deadline().is_none() {
            tokio::task::yield_now().await;
        }
    };
    let in_time = open(&clock, fixture.path());
    waits().await;
    drop(holder);
    clock.advance(Duration::from_secs(1));
    let holder = in_time.await.unwrap().unwrap();
    let too_late = open(&clock, fixture.path());
    waits().await;
    clock.advance(Duration::from_secs(5));
    let refused = too_late.await.unwrap().unwrap_err();
    assert!(matches!(refused.kind, OpenErrorKind::Locked(..)), "{refused}");
    assert!(
        refused.to_string().contains(" has it; do it through that program, or stop it first"),
        "{refused}"
    );
    drop(holder);
}

#[tokio::test]
async fn only_its_owner_can_read_a_ledger() {
    let (fixture, ledger) = Fixture::opened().await;
    fixture.enqueue(&ledger, "o").await;
    for name in ["ledger.db", "ledger.db-wal"] {
        let mode = fs::metadata(fixture.folder.path().join(name)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_ledger_of_a_newer_version_is_refused() {
    let fixture = Fixture::new();
    drop(fixture.open().await);
    let newer = "INSERT INTO wxsub_schema VALUES (9, 'later', 'x', 1)";
    Connection::open(fixture.path()).unwrap().execute(newer, []).unwrap();
    let refused = fixture.refused().await;
    assert!(matches!(refused.kind, OpenErrorKind::NewerVersion { found: 9, known: 1 }), "{refused}");
    assert!(refused.to_string().contains("use the newer program"), "{refused}");
    assert!(matches!(
        SqliteLedger::open_read_only(fixture.path()).await,
        Err(OpenError { kind: OpenErrorKind::NewerVersion { .. }, .. })
    ));
}

#[tokio::test]
async fn a_ledger_with_another_schema_is_refused() {
    let fixture = Fixture::new();
    drop(fixture.open().await);
    let changed = "UPDATE wxsub_schema SET checksum = 'x'";
    Connection::open(fixture.path()).unwrap().execute(changed, []).unwrap();
    assert!(matches!(fixture.refused().await, OpenError { kind: OpenErrorKind::ChangedSchema(1), .. }));
}

#[tokio::test]
async fn the_database_of_another_program_is_left_alone() {
    let fixture = Fixture::new();
    let other = Connection::open(fixture.path()).unwrap();
    other.execute("CREATE TABLE orders (id INTEGER)", []).unwrap();
    drop(other);
    let before = fs::read(fixture.path()).unwrap();
    assert!(matches!(fixture.refused().await, OpenError { kind: OpenErrorKind::NotALedger, .. }));
    assert_eq!(fs::read(fixture.path()).unwrap(), before);
    fs::write(fixture.path(), "line of text\n".repeat(1_000)).unwrap();
    let refused = fixture.refused().await;
    assert!(matches!(refused.kind, OpenErrorKind::NotSqlite), "{refused}");
}

#[tokio::test]
async fn a_damaged_ledger_is_refused() {
    for (at, what) in [(0, "the header"), (3, "a page in the middle"), (usize::MAX, "the last page")] {
        let (fixture, ledger) = Fixture::opened().await;
        for number in 0..200 {
            fixture.enqueue(&ledger, &format!("user{number}")).await;
        }
        drop(ledger);
        let mut bytes = fs::read(fixture.path()).unwrap();
        let page = at.min(bytes.len() / 4096 - 1);
        bytes[page * 4096..][..4096].fill(0xA5);
        fs::write(fixture.path(), &bytes).unwrap();
        let refused = fixture.refused().await;
        let has_header = page > 0;
        assert_eq!(matches!(refused.kind, OpenErrorKind::Damaged(..)), has_header, "{what}: {refused}");
        assert!(refused.to_string().contains("restore a backup"), "{refused}");
    }
    let fixture = Fixture::new();
    drop(fixture.open().await);
    let bytes = fs::read(fixture.path()).unwrap();
    fs::write(fixture.path(), &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(fixture.refused().await, OpenError { kind: OpenErrorKind::Damaged(..), .. }), "cut off");
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named() {
    let fixture = Fixture::new();
    let missing = fixture.folder.path().join("none/ledger.db");
    let refused = SqliteLedger::open(&missing, SqliteOptions::new()).await.unwrap_err();
    assert!(refused.to_string().contains("none/ledger.db: its folder cannot be read"), "{refused}");
    fs::set_permissions(fixture.folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    // The superuser may write all the same.
    if fs::write(fixture.folder.path().join("probe"), "").is_err() {
        let refused = fixture.refused().await;
        assert!(refused.to_string().contains("its lock file cannot be written"), "{refused}");
    }
    fs::set_permissions(fixture.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

/// It was deleted by hand, or comes from a restore of a part of the tables.
#[tokio::test]
async fn a_message_whose_grant_is_missing_holds_up_no_other() {
    let (fixture, ledger) = Fixture::opened().await;
    for user in ["lost", "kept"] {
        fixture.consent(&ledger, user).await;
        fixture.enqueue(&ledger, user).await;
    }
    fixture.claim(&ledger).await;
    for user in ["lost", "kept"] {
        fixture.consent(&ledger, user).await;
        fixture.enqueue(&ledger, user).await;
    }
    drop(ledger);
    let deleted = "DELETE FROM wxsub_grant WHERE openid = 'lost'";
    Connection::open(fixture.path()).unwrap().execute(deleted, []).unwrap();
    let problems = SqliteLedger::check(fixture.path()).await.unwrap();
    assert_eq!(problems.len(), 2, "{problems:?}");
    let ledger = fixture.open().await;
    fixture.claim(&ledger).await;
    let seen: Vec<_> = all(&ledger).await.iter().map(|message| (message.state, message.reason)).collect();
    let undecided = (MessageState::MaybeSent, Some(Reason::WorkerLost));
    let rejected = (MessageState::NotSent, Some(Reason::NoGrant));
    assert_eq!(seen, [undecided, undecided, rejected, (MessageState::Attempting, None)]);
    assert!(SqliteLedger::check(fixture.path()).await.unwrap().is_empty());
}

/// Only the messages were restored, and not their history.
#[tokio::test]
async fn a_message_that_is_older_than_its_history_holds_up_no_other() {
    let (fixture, ledger) = Fixture::opened().await;
    for user in ["older", "other"] {
        fixture.enqueue(&ledger, user).await;
    }
    fixture.claim(&ledger).await;
    drop(ledger);
    let older = "UPDATE wxsub_message SET version = 1 WHERE touser = 'older'";
    Connection::open(fixture.path()).unwrap().execute(older, []).unwrap();
    let ledger = fixture.open().await;
    assert!(all(&ledger).await.iter().all(|message| message.state == MessageState::MaybeSent));
}

/// For example during a rolling upgrade.
#[tokio::test]
async fn what_only_a_newer_version_knows_stops_no_message() {
    let (fixture, ledger) = Fixture::opened().await;
    let id = fixture.enqueue(&ledger, "o").await;
    drop(ledger);
    let newer = "UPDATE wxsub_message SET reason = 'later', stage = 'later', remedy = 'later', errmsg = 'text';
        INSERT INTO wxsub_webhook_endpoint VALUES ('shop', zeroblob(32), NULL, 'message.later message.sent', 0, NULL);
        INSERT INTO wxsub_webhook_delivery SELECT 'shop', id, 1, 'message.later', '{}', 1, 0, 1, NULL FROM wxsub_message";
    Connection::open(fixture.path()).unwrap().execute_batch(newer).unwrap();
    let ledger = fixture.open().await;
    assert_eq!(all(&ledger).await[0].reason, None);
    let (worker, claimed) = fixture.claim(&ledger).await;
    let detail = Detail { errmsg: Some("text".to_owned()), ..Detail::default() };
    assert_eq!((claimed[0].id, &claimed[0].detail), (id, &detail));
    let (attempt, settlement) = (claimed[0].attempt, Settlement::Sent);
    let settle = Change::Settle { message: id, worker, attempt, settlement, max_failures: 9 };
    apply(&ledger, settle).await.unwrap();
    let claim = Change::ClaimDeliveries { endpoint: "shop".to_owned(), url_sha256: [0; 32], limit: 9 };
    let claimed: Vec<StoredDelivery> =
        FromApplied::from_applied(apply(&ledger, claim).await.unwrap()).unwrap();
    let events: Vec<_> = claimed.iter().map(|delivery| delivery.event.as_str()).collect();
    assert_eq!(events, ["message.later", "message.sent"]);
}

/// A history is not shown in part.
#[tokio::test]
async fn a_history_that_only_a_newer_version_knows_is_named() {
    let (fixture, ledger) = Fixture::opened().await;
    let (newer, other) = (fixture.enqueue(&ledger, "newer").await, fixture.enqueue(&ledger, "other").await);
    let insert = "INSERT INTO wxsub_event SELECT id, 2, 1, 'later', 0, NULL, NULL FROM wxsub_message WHERE touser = 'newer'";
    Connection::open(fixture.path()).unwrap().execute(insert, []).unwrap();
    let error = ledger.history(newer).await.unwrap_err().to_string();
    let expected = format!(
        "row {newer}, column event: EventKind: \"later\" is not one of its names; a newer version may have written it; \
         upgrade this program"
    );
    assert!(error.contains(&expected), "{error}");
    assert_eq!((ledger.history(other).await.unwrap().len(), all(&ledger).await.len()), (1, 2));
}
