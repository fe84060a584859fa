//! Several processes at once on one database.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use wxsub_outbox::grant::{Consent, NotAdmitted};
use wxsub_outbox::ledger::{Applied, Change, Gone, NotRecorded, Recorded};
use wxsub_outbox::message::Settlement;
use wxsub_outbox::state::{GrantState, MessageState};
use wxsub_outbox::{Ledger, LedgerError};
use wxsub_postgres::{PostgresLedger, PostgresOptions};
use wxsub_test_support::{Postgres, signal};

use super::fixture::{Process, appid, check};

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn two_workers_claim_each_message_once() {
    let postgres = Postgres::start();
    let (one, two) = tokio::join!(Process::start(&postgres), Process::start(&postgres));
    let users: Vec<_> = (0..300).map(|user| format!("user{user}")).collect();
    let consents: Vec<_> = users.iter().map(|user| one.consent(user, None)).collect();
    one.ledger.commit(consents).await.unwrap();
    let enqueued = users.iter().map(|user| Change::Enqueue(Box::new(two.message(user)))).collect();
    two.ledger.commit(enqueued).await.unwrap();
    let work = async |process: &Process| {
        let mut mine = Vec::new();
        loop {
            let claimed = process.claimed(7).await;
            if claimed.is_empty() {
                return mine;
            }
            mine.extend(claimed.iter().map(|message| message.id));
            let settled = claimed.iter().map(|message| Process::settle(message, Settlement::Sent)).collect();
            process.ledger.commit(settled).await.unwrap();
        }
    };
    let (mut first, second) = tokio::join!(work(&one), work(&two));
    first.extend(second);
    let each: BTreeSet<_> = first.iter().collect();
    assert_eq!((first.len(), each.len()), (300, 300));
    check(&one, &postgres.sql().await).await;
}

/// It was deleted by hand, or comes from a restore of a part of the tables.
#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn a_message_whose_grant_is_missing_holds_up_no_other() {
    let postgres = Postgres::start();
    let process = Process::start(&postgres).await;
    let mut ids = Vec::new();
    for (user, is_claimed) in [("a", true), ("b", true), ("c", false), ("d", false)] {
        process.record_consent(user).await;
        let new = process.message(user);
        ids.push(new.id);
        process.enqueue(new).await.unwrap();
        if is_claimed {
            assert_eq!(process.claimed(9).await.len(), 1);
        }
    }
    let sql = postgres.sql().await;
    sql.batch_execute("DELETE FROM wxsub_grant WHERE openid IN ('a', 'c')").await.unwrap();
    let problems = PostgresLedger::check(PostgresOptions::new(postgres.url())).await.unwrap();
    assert_eq!(problems.len(), 2, "{problems:?}");
    process.claimed(9).await;
    process.apply(Change::MarkGone(Gone::All)).await.unwrap();
    process.apply(Change::Reclaim(9)).await.unwrap();
    let mut states = Vec::new();
    for id in ids {
        states.push(process.state(id).await);
    }
    let undecided = MessageState::MaybeSent;
    assert_eq!(states, [undecided, undecided, MessageState::NotSent, undecided]);
    assert_eq!(PostgresLedger::check(PostgresOptions::new(postgres.url())).await.unwrap(), [""; 0]);
}

/// Only the messages were restored, and not their history.
#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn a_message_that_is_older_than_its_history_holds_up_no_other() {
    let postgres = Postgres::start();
    let process = Process::start(&postgres).await;
    let messages = [process.message("older"), process.message("other")];
    for message in &messages {
        process.enqueue(message.clone()).await.unwrap();
    }
    assert_eq!(process.claimed(9).await.len(), 2);
    let older = "UPDATE wxsub_message SET version = 1 WHERE touser = 'older'";
    postgres.sql().await.batch_execute(older).await.unwrap();
    process.apply(Change::MarkGone(Gone::All)).await.unwrap();
    process.apply(Change::Reclaim(9)).await.unwrap();
    for message in messages {
        assert_eq!(process.state(message.id).await, MessageState::MaybeSent);
    }
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn consents_and_messages_at_the_same_moment_take_effect_once() {
    let postgres = Postgres::start();
    let (one, two) = (Process::start(&postgres).await, Process::start(&postgres).await);
    let sql = postgres.sql().await;
    for round in 0..40_u8 {
        let user = format!("user{round}");
        // The same callback on two machines.
        let nonce = Some([round; 16]);
        let (first, second) =
            tokio::join!(one.apply_for(one.consent(&user, nonce)), two.apply_for(two.consent(&user, nonce)));
        let consents = [first, second];
        let recorded = consents.iter().filter(|consent| matches!(consent, Consent::Recorded(_))).count();
        let known = consents.iter().filter(|consent| matches!(consent, Consent::AlreadyRecorded(_))).count();
        assert_eq!((recorded, known), (1, 1), "{consents:?}");
        // A second consent while the first is open.
        let (first, second) = tokio::join!(one.record_consent(&user), two.record_consent(&user));
        assert!(
            matches!((first, second), (Consent::Absorbed(_), Consent::Absorbed(_))),
            "{first:?} {second:?}"
        );
        // Two messages for one grant.
        let (first, second) = tokio::join!(one.enqueue(one.message(&user)), two.enqueue(two.message(&user)));
        let unavailable = Err(NotRecorded::Grant(NotAdmitted::GrantUnavailable));
        assert!(first.is_ok() != second.is_ok() && (first == unavailable || second == unavailable));
        // The same request: without a consent, and with one.
        for has_consent in [false, true] {
            let (key, other) = (format!("key{round}{has_consent}"), format!("other{round}{has_consent}"));
            if has_consent {
                one.record_consent(&other).await;
            }
            let (first, second) =
                tokio::join!(one.enqueue(one.keyed(&key, &other)), two.enqueue(two.keyed(&key, &other)));
            let (first, second) = (first.unwrap(), second.unwrap());
            assert_eq!(first.message().id, second.message().id);
            assert!(matches!(first, Recorded::New(_)) != matches!(second, Recorded::New(_)));
        }
    }
    check(&one, &sql).await;
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn processes_that_start_together_make_the_schema_once() {
    let postgres = Postgres::start();
    let start = || async { Process::start(&postgres).await.worker };
    let workers = tokio::join!(start(), start(), start(), start());
    // Each start has an id of its own, also on a machine that is a copy of another.
    assert_eq!(BTreeSet::from([workers.0, workers.1, workers.2, workers.3]).len(), 4);
    let steps = postgres.sql().await.query("SELECT * FROM wxsub_schema", &[]).await.unwrap();
    assert_eq!(steps.len(), 1);
}

/// Two transactions that wait for each other in a circle would be ended by the database, after a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn batches_in_opposite_orders_do_not_deadlock() {
    let postgres = Postgres::start();
    let (one, two) = (Process::start(&postgres).await, Process::start(&postgres).await);
    for round in 0..20_u8 {
        let batch = |process: &Process| -> Vec<Change> {
            let users = (0..200_u8).map(|user| (user, format!("user{round}x{user}")));
            let consents = users.clone().map(|(number, user)| {
                process.consent(&user, Some(std::array::from_fn(|at| if at == 0 { round } else { number })))
            });
            let keyed = users.map(|(_, user)| {
                Change::Enqueue(Box::new(process.keyed(&format!("key-{user}"), &format!("other{user}"))))
            });
            consents.chain(keyed).collect()
        };
        let (forward, mut backward) = (batch(&one), batch(&two));
        backward.reverse();
        let (first, second) = tokio::join!(one.ledger.commit(forward), two.ledger.commit(backward));
        assert!(first.unwrap().iter().chain(&second.unwrap()).all(Result::is_ok));
    }
    let log = postgres.log().await;
    assert!(!log.iter().any(|line| line.contains("deadlock")), "{log:#?}");
    let sql = postgres.sql().await;
    check(&one, &sql).await;
}

/// Both consents come while the first grant's message is being posted; then it is refused.
#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn a_grant_released_while_another_machine_records_a_consent_stays_void() {
    let postgres = Postgres::start();
    let (one, two) = (Process::start(&postgres).await, Process::start(&postgres).await);
    for round in 0..40 {
        let user = format!("user{round}");
        one.record_consent(&user).await;
        one.enqueue(one.message(&user)).await.unwrap();
        let claimed = one.claimed(1).await.remove(0);
        let refused = Settlement::NotSent(Default::default());
        let Change::Settle { message, worker, attempt, .. } = Process::settle(&claimed, refused.clone())
        else {
            panic!("no settlement")
        };
        let settle = Change::Settle { message, worker, attempt, settlement: refused, max_failures: 1 };
        let (settled, consent) = tokio::join!(one.apply(settle), two.record_consent(&user));
        assert!(matches!(settled, Ok(Applied::Settled { message: Some(_), .. })), "{settled:?}");
        let grants = one.ledger.grants(&appid(), &user.parse().unwrap()).await.unwrap();
        let states: Vec<_> = grants.iter().map(|grant| grant.state).collect();
        match consent {
            Consent::Recorded(_) => assert_eq!(states, [GrantState::Void, GrantState::Open]),
            Consent::Absorbed(_) => assert_eq!(states, [GrantState::Open]),
            Consent::AlreadyRecorded(_) => panic!("it has no nonce"),
        }
    }
}

/// What is acknowledged is there, and nothing is half there, whatever ends the connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn terminated_sessions_lose_nothing() {
    let postgres = Postgres::start();
    let (one, two) = (Process::start(&postgres).await, Process::start(&postgres).await);
    let sql = postgres.sql().await;
    let work = async |process: &Process, name: &str| {
        let (mut recorded, mut unknown) = (Vec::new(), 0);
        for round in 0..150 {
            let new = process.message(&format!("{name}{round}"));
            let id = new.id;
            let batch = vec![Change::Enqueue(Box::new(new)), process.claim(1)];
            match process.ledger.commit(batch).await {
                Ok(_) => recorded.push(id),
                Err(LedgerError::Unknown(_)) => unknown += 1,
                Err(LedgerError::Unavailable(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        (recorded, unknown)
    };
    let terminate = async {
        let mut terminated = 0_i64;
        for _ in 0..200 {
            let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                         WHERE application_name = 'wxsub' AND random() < 0.2";
            terminated += sql.query_one(ended, &[]).await.unwrap().get::<_, i64>(0);
            tokio::task::yield_now().await;
        }
        terminated
    };
    let ((first, lost), (second, also_lost), terminated) =
        tokio::join!(work(&one, "a"), work(&two, "b"), terminate);
    println!("{terminated} sessions terminated, {} commits of unknown outcome", lost + also_lost);
    assert!(terminated > 0 && first.len() + second.len() > 100, "{} {}", first.len(), second.len());
    for id in first.into_iter().chain(second) {
        assert!(one.ledger.message(id).await.unwrap().is_some());
    }
    check(&one, &sql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn a_stopped_database_loses_nothing_that_was_acknowledged() {
    let mut postgres = Postgres::start();
    let process = Process::start(&postgres).await;
    let mut recorded = Vec::new();
    for stop in 0..3 {
        let count = AtomicUsize::new(0);
        let work = async {
            let mut recorded = Vec::new();
            loop {
                count.store(recorded.len(), Ordering::Relaxed);
                let new = process.message(&format!("user{stop}x{}", recorded.len()));
                let id = new.id;
                match process.ledger.commit(vec![Change::Enqueue(Box::new(new)), process.claim(1)]).await {
                    Ok(_) => recorded.push(id),
                    Err(LedgerError::Unknown(_) | LedgerError::Unavailable(_)) => return recorded,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let pid = postgres.pid();
        let stop = async {
            // Some commits go before.
            while count.load(Ordering::Relaxed) < 9 {
                process.ledger.app(&appid()).await.unwrap();
            }
            signal(pid, "QUIT");
        };
        recorded.extend(tokio::join!(work, stop).0);
        assert!(matches!(process.apply(process.claim(1)).await, Err(LedgerError::Unavailable(_))));
        postgres.stop_immediately();
        postgres.start_again();
    }
    for id in recorded {
        assert!(process.ledger.message(id).await.unwrap().is_some());
    }
    check(&process, &postgres.sql().await).await;
}

/// As `statement_timeout` does after 30 s.
#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn a_cancelled_statement_changes_nothing_and_the_next_one_works() {
    let postgres = Postgres::start();
    let (process, sql, blocking) =
        (Process::start(&postgres).await, postgres.sql().await, postgres.sql().await);
    process.enqueue(process.message("o")).await.unwrap();
    // Claims wait for their worker's row.
    blocking.batch_execute("BEGIN; SELECT FROM wxsub_worker FOR UPDATE").await.unwrap();
    let cancel = async {
        let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
            WHERE application_name = 'wxsub' AND wait_event_type = 'Lock'";
        while sql.query_one(cancel, &[]).await.unwrap().get::<_, i64>(0) == 0 {}
    };
    let (claimed, ()) = tokio::join!(process.apply(process.claim(1)), cancel);
    let Err(LedgerError::Unavailable(why)) = claimed else { panic!("{claimed:?}") };
    assert!(why.contains("57014") && why.contains("a statement may take 30 s"), "{why}");
    blocking.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(process.claimed(1).await.len(), 1);
    check(&process, &sql).await;
}
