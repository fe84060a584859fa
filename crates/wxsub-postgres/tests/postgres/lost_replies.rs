//! A connection that is cut, or on which nothing passes any more, at each message of a transaction.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::testing::ManualClock;
use wxsub_outbox::id::IdGenerator;
use wxsub_outbox::ledger::{Applied, Change};
use wxsub_outbox::message::Settlement;
use wxsub_outbox::state::MessageState;
use wxsub_outbox::{Ledger, LedgerError};
use wxsub_postgres::{PostgresLedger, PostgresOptions};
use wxsub_test_support::Postgres;

use super::fixture::{NOW, Process, appid, check};
use super::proxy::{Cut, Proxy};

/// A commit is done, or its outcome is unknown, and that only at the COMMIT. Then all of it is there, or nothing.
#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn a_connection_cut_at_any_message_leaves_all_or_nothing() {
    let postgres = Postgres::start();
    let sql = postgres.sql().await;
    let proxy = Proxy::start(&postgres).await;
    let (process, observer) = (Process::connect(&proxy.url()).await, Process::start(&postgres).await);
    for cut in [Cut::BeforeMessage, Cut::BeforeReply] {
        let mut unknown = Vec::new();
        for messages in 0.. {
            let user = format!("{cut:?}{messages}");
            process.record_consent(&user).await;
            let first = process.message(&user);
            let claimable = first.id;
            process.enqueue(first).await.unwrap();
            let claimed = process.claimed(1).await.remove(0);
            let new = process.message(&format!("{user}x"));
            let enqueued = new.id;
            let batch = vec![Process::settle(&claimed, Settlement::Sent), Change::Enqueue(Box::new(new))];
            proxy.cut_after(messages, cut);
            let committed = process.ledger.commit(batch).await;
            let (was_cut, at_commit) = proxy.disarm();
            // The transaction may still be under way. It has locked this row.
            let wait = "SELECT id FROM wxsub_message WHERE id = $1::text::uuid FOR UPDATE";
            sql.query(wait, &[&claimable.to_string()]).await.unwrap();
            let states = (
                observer.state(claimable).await,
                observer.ledger.message(enqueued).await.unwrap().map(|message| message.state),
            );
            let done = states == (MessageState::Sent, Some(MessageState::Queued));
            let undone = states == (MessageState::Attempting, None);
            match committed {
                Ok(results) => assert!(done && results.iter().all(Result::is_ok), "{messages}: {results:?}"),
                Err(LedgerError::Unknown(_)) => {
                    assert!(at_commit && (done || undone), "{messages}: {states:?}");
                    unknown.push(done);
                }
                Err(error) => panic!("{messages}: {error}"),
            }
            // Its process tries again until it knows.
            let settled = process.apply(Process::settle(&claimed, Settlement::Sent)).await.unwrap();
            assert!(matches!(settled, Applied::Settled { .. }));
            assert_eq!(observer.state(claimable).await, MessageState::Sent);
            for message in process.claimed(9).await {
                process.apply(Process::settle(&message, Settlement::Sent)).await.unwrap();
            }
            if !was_cut {
                break;
            }
            assert!(messages < 100, "the batch has more messages than that");
        }
        assert_eq!(unknown, [cut == Cut::BeforeReply], "{cut:?}: one message is the COMMIT");
    }
    check(&observer, &sql).await;
}

/// One change breaks a rule of the database, so each is tried by itself. A connection that cannot be made may take long to fail.
#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn changes_that_are_tried_one_by_one_wait_for_a_connection_once() {
    let postgres = Postgres::start();
    drop(Process::start(&postgres).await);
    let rule = "ALTER TABLE wxsub_message ADD CHECK (touser <> 'bad')";
    postgres.sql().await.batch_execute(rule).await.unwrap();
    for messages in 0.. {
        let proxy = Proxy::start(&postgres).await;
        let process = Process::connect(&proxy.url()).await;
        let users = ["a", "bad", "b", "c", "d"];
        let batch = users.map(|user| Change::Enqueue(Box::new(process.message(user))));
        proxy.cut_after(messages, Cut::ForGood);
        let committed = process.ledger.commit(batch.into()).await;
        assert!(proxy.refused() <= 1, "{messages}: {} connections, {committed:?}", proxy.refused());
        if !proxy.has_cut() {
            assert_eq!(committed.unwrap().iter().filter(|result| result.is_ok()).count(), 4);
            break;
        }
    }
}

/// A proxy or a firewall may lose the connection without notice. The server cannot end statements that it does not receive.
#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn a_connection_that_falls_silent_is_given_up() {
    let postgres = Postgres::start();
    let proxy = Proxy::start(&postgres).await;
    let clock = Arc::new(ManualClock::new());
    let options = PostgresOptions::new(proxy.url()).clock(clock.clone());
    let ledger = PostgresLedger::connect(options).await.unwrap();
    let process = Process::start(&postgres).await;
    // A transaction under way ends when its time is over.
    let end_silence = async || {
        while !proxy.has_cut() {
            process.ledger.message(process.message("o").id).await.unwrap();
        }
        clock.advance(Duration::from_secs(60));
    };
    let mut unknown = 0;
    for messages in 0.. {
        let new = process.message(&format!("user{messages}"));
        let id = new.id;
        // On a connection that is open.
        ledger.commit(Vec::new()).await.unwrap();
        proxy.cut_after(messages, Cut::Silence);
        let mut commit = ledger.commit(vec![Change::Enqueue(Box::new(new))]);
        let committed = tokio::select! {
            committed = &mut commit => committed,
            () = end_silence() => commit.await,
        };
        let (was_cut, at_commit) = proxy.disarm();
        match committed {
            Ok(_) => assert!(process.ledger.message(id).await.unwrap().is_some()),
            Err(LedgerError::Unknown(_)) => {
                assert!(at_commit);
                unknown += 1;
            }
            Err(error) => panic!("{messages}: {error}"),
        }
        if !was_cut {
            break;
        }
    }
    assert_eq!(unknown, 1);
    proxy.cut_after(0, Cut::Silence);
    let (app, ()) = join(ledger.app(&appid()), end_silence()).await;
    assert!(matches!(app, Err(LedgerError::Unavailable(_))), "{app:?}");
    ledger.app(&appid()).await.unwrap();
}

/// After the time limit of a statement, the server ends its wait for a synchronous replica, and replies to the COMMIT as if the
/// replica had the transaction. So it does when an operator cancels the wait.
#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn a_commit_that_a_synchronous_replica_may_lack_has_an_unknown_outcome() {
    let mut postgres = Postgres::start();
    drop(Process::start(&postgres).await);
    postgres.stop_immediately();
    postgres.set("synchronous_standby_names=absent");
    postgres.start_again();
    let sql = postgres.sql().await;
    let ledger = PostgresLedger::connect(PostgresOptions::new(postgres.url())).await.unwrap();
    let ids = IdGenerator::new(None);
    loop {
        let mut is_cancelled = false;
        let mut commit = ledger.commit(vec![Change::Register(ids.worker(NOW).unwrap())]);
        let committed = loop {
            let cancel = async {
                let waiting = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity
                    WHERE wait_event = 'SyncRep' AND application_name = 'wxsub'";
                !sql.query(waiting, &[]).await.unwrap().is_empty()
            };
            tokio::select! {
                biased;
                committed = &mut commit => break committed,
                cancelled = cancel => is_cancelled |= cancelled,
            }
        };
        match committed {
            // The reply to the cancel may come after that to the commit.
            Err(LedgerError::Unknown(_)) => return,
            // For a moment after its start, the server does not wait.
            Ok(_) => assert!(!is_cancelled, "a cancelled wait counts as a commit"),
            Err(error) => panic!("{error}"),
        }
    }
}

/// One after the other, the last of many reads would wait for minutes.
#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn reads_that_wait_for_the_same_connection_fail_together() {
    let postgres = Postgres::start();
    let proxy = Proxy::start(&postgres).await;
    let clock = Arc::new(ManualClock::new());
    let options = PostgresOptions::new(proxy.url()).clock(clock.clone());
    let ledger = PostgresLedger::connect(options).await.unwrap();
    proxy.set_down(true);
    while ledger.apps().await.is_ok() {}
    proxy.fall_silent();
    proxy.set_down(false);
    let end_silence = async {
        while proxy.unanswered() == 0 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(10));
        let real = SystemClock::new();
        real.sleep_until(real.now().mono + Duration::from_secs(30)).await;
    };
    tokio::select! {
        read = join_all((0..5).map(|_| ledger.apps())) => assert!(read.iter().all(Result::is_err), "{read:?}"),
        () = end_silence => panic!("a read still waits"),
    }
}
