//! Claims, leases, and what becomes of the attempts of a worker that is gone.

use super::fixture::{Fixture, HOUR, MINUTE, SECOND};
use crate::ledger::{Applied, Beat, Change, Gone, LEASE, NewMessage};
use crate::message::Settlement;
use crate::state::{GrantState, MessageState, Priority, Reason};

pub(super) async fn claims_go_by_priority_and_time(fixture: &Fixture) {
    let message = |user, priority, delay| NewMessage {
        priority,
        send_at: Some(fixture.now() + delay),
        ..fixture.new_message(user)
    };
    let mut ids = Vec::new();
    for new in [
        message("a", Priority::Low, SECOND),
        message("b", Priority::Normal, 2 * SECOND),
        message("c", Priority::Normal, SECOND),
        message("d", Priority::High, 3 * SECOND),
        message("e", Priority::High, HOUR),
    ] {
        ids.push(new.id);
        fixture.record(new).await.unwrap();
    }
    assert!(fixture.claim(fixture.worker).await.is_empty(), "claimed before its time");
    fixture.pass(3 * SECOND).await;
    let mut claimed = Vec::new();
    for _ in 0..2 {
        let some = fixture.claim_some(fixture.worker, &fixture.appid, 3).await;
        claimed.extend(some.iter().map(|message| message.id));
    }
    assert_eq!(claimed, [ids[3], ids[2], ids[1], ids[0]]);
}

pub(super) async fn a_message_is_claimed_once(fixture: &Fixture) {
    let other = fixture.register().await;
    for user in ["a", "b", "c"] {
        fixture.enqueue(user).await;
    }
    let first = fixture.claim_some(fixture.worker, &fixture.appid, 2).await;
    let second = fixture.claim_some(other, &fixture.appid, 2).await;
    assert_eq!((first.len(), second.len()), (2, 1));
    assert!(first.iter().all(|message| message.worker == Some(fixture.worker) && message.attempt == 1));
    assert!(second.iter().all(|message| message.worker == Some(other) && !first.contains(message)));
    assert!(fixture.claim(other).await.is_empty());
}

pub(super) async fn a_gone_worker_claims_nothing(fixture: &Fixture) {
    fixture.enqueue("a").await;
    fixture.apply(Change::MarkGone(Gone::One(fixture.worker))).await;
    assert!(fixture.claim(fixture.worker).await.is_empty());
    assert_eq!(
        fixture.apply(Change::Heartbeat(fixture.worker)).await,
        Applied::Beat(None),
        "it never comes back"
    );
    assert!(fixture.claim(fixture.worker).await.is_empty());
    // Under a new id the same process goes on.
    let again = fixture.register().await;
    assert_eq!(fixture.claim(again).await.len(), 1);
}

pub(super) async fn attempts_of_a_gone_worker_become_maybe_sent(fixture: &Fixture) {
    let claimed = fixture.claimed("o").await;
    fixture.clock.advance(LEASE + SECOND);
    assert!(fixture.messages(Change::Reclaim(100)).await.is_empty(), "it is not marked gone yet");
    assert_eq!(fixture.apply(Change::MarkGone(Gone::LeaseOver)).await, Applied::Count(1));
    assert_eq!(fixture.get(claimed.id).await.state, MessageState::Attempting, "two transactions");
    let reclaimed = fixture.messages(Change::Reclaim(100)).await;
    assert_eq!(reclaimed.iter().map(|message| message.id).collect::<Vec<_>>(), [claimed.id]);
    let undecided = (MessageState::MaybeSent, Some(Reason::WorkerLost), Some(GrantState::InDoubt));
    assert_eq!(fixture.seen(claimed.id).await, undecided);
    assert!(fixture.messages(Change::Reclaim(100)).await.is_empty());
    // Its attempts settle under the old id.
    let settled = fixture.settle(&claimed, Settlement::Sent).await.unwrap();
    assert_eq!(settled.state, MessageState::Sent);
}

pub(super) async fn a_living_worker_keeps_its_attempts(fixture: &Fixture) {
    let claimed = fixture.claimed("o").await;
    for _ in 0..30 {
        fixture.pass(LEASE).await;
        assert_eq!(fixture.apply(Change::MarkGone(Gone::LeaseOver)).await, Applied::Count(0));
        assert!(fixture.messages(Change::Reclaim(100)).await.is_empty());
    }
    assert_eq!(fixture.get(claimed.id).await, claimed);
}

pub(super) async fn a_heartbeat_names_the_running_attempts(fixture: &Fixture) {
    let beat = || fixture.apply(Change::Heartbeat(fixture.worker));
    assert_eq!(beat().await, Applied::Beat(Some(Beat::default())));
    let claimed = fixture.claimed("o").await;
    let running = Beat { attempts: vec![(claimed.id, 1)], ..Beat::default() };
    assert_eq!(beat().await, Applied::Beat(Some(running)));
    fixture.settle(&claimed, Settlement::Sent).await.unwrap();
    assert_eq!(beat().await, Applied::Beat(Some(Beat::default())));
}

pub(super) async fn a_heartbeat_notices_that_the_clock_was_set_back(fixture: &Fixture) {
    let beat = || fixture.apply(Change::Heartbeat(fixture.worker));
    fixture.clock.set_back(MINUTE);
    let set_back = Beat { was_clock_set_back: true, ..Beat::default() };
    assert_eq!(beat().await, Applied::Beat(Some(set_back)));
    assert_eq!(beat().await, Applied::Beat(Some(Beat::default())));
}

pub(super) async fn the_holder_of_the_lock_reclaims_all_others(fixture: &Fixture) {
    let lost = fixture.claimed("o").await;
    fixture.register().await;
    assert_eq!(fixture.apply(Change::MarkGone(Gone::All)).await, Applied::Count(2));
    let holder = fixture.register().await;
    fixture.enqueue("p").await;
    let kept = fixture.claim(holder).await.remove(0);
    let reclaimed = fixture.messages(Change::Reclaim(100)).await;
    assert_eq!(reclaimed.iter().map(|message| message.id).collect::<Vec<_>>(), [lost.id]);
    assert_eq!(fixture.get(kept.id).await, kept);
}

pub(super) async fn a_lease_from_the_future_is_over(fixture: &Fixture) {
    fixture.claimed("o").await;
    fixture.clock.set_back(HOUR);
    // A living worker writes a heartbeat within seconds; this one does not.
    assert_eq!(fixture.apply(Change::MarkGone(Gone::LeaseOver)).await, Applied::Count(1));
    assert_eq!(fixture.messages(Change::Reclaim(100)).await.len(), 1);
    let living = fixture.register().await;
    fixture.clock.set_back(MINUTE / 2);
    fixture.apply(Change::Heartbeat(living)).await;
    assert_eq!(fixture.apply(Change::MarkGone(Gone::LeaseOver)).await, Applied::Count(0));
}
