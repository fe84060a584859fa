//! Late responses, decisions, and the restore of a backup.

use wxsub_proto::AppId;

use super::fixture::{Fixture, HOUR, MINUTE, SECOND, not_sent, refused, unknown};
use crate::audit::AuditEntry;
use crate::grant::NotAdmitted;
use crate::id::MessageId;
use crate::ledger::{
    Applied, Change, MessageQuery, NewMessage, NotDecided, NotRecorded, PAGE, RestoreReport,
};
use crate::message::{DECISION_DELAY, DEFAULT_LIFETIME, NotDecidable, RESTORED_DECISION_DELAY, Settlement};
use crate::state::{AuditAction, AuditOutcome, Decision, EventKind, GrantState, MessageState, Reason};

pub(super) async fn an_answer_counts_until_the_decision(fixture: &Fixture) {
    let late = fixture.maybe_sent("o").await;
    fixture.pass(HOUR).await;
    assert_eq!(fixture.settle(&late, unknown()).await, None, "nothing new");
    assert_eq!(fixture.settle(&late, Settlement::Sent).await.unwrap().state, MessageState::Sent);
    assert_eq!(fixture.settle(&late, refused(43101)).await, None, "an outcome is written once");
    for decision in Decision::ALL {
        let user = decision.as_str().replace('_', "");
        let undecided = fixture.maybe_sent(&user).await;
        let (decided, _) = fixture.decide_later(undecided.id, *decision).await;
        let recorded = fixture.settle(&undecided, Settlement::Sent).await.unwrap();
        assert_eq!((recorded.state, recorded.version), (MessageState::MaybeSent, decided.version + 1));
        assert_eq!(recorded.decision, decided.decision, "the decision stands beside the outcome");
        let history = fixture.ledger.history(undecided.id).await.unwrap();
        assert_eq!(history.last().unwrap().kind, EventKind::LateAnswer);
    }
}

pub(super) async fn a_decision_waits_for_a_stopped_worker(fixture: &Fixture) {
    let undecided = fixture.maybe_sent("o").await;
    let at = undecided.attempted_at.unwrap() + DECISION_DELAY;
    let decide = || fixture.decide(fixture.new_decision(undecided.id, Decision::AssumeSent));
    let too_early = Err(NotDecided::NotDecidable(NotDecidable::TooEarly(at)));
    assert_eq!(decide().await.map(drop), too_early.clone());
    fixture.pass(DECISION_DELAY - SECOND).await;
    assert_eq!(decide().await.map(drop), too_early);
    fixture.pass(SECOND).await;
    let (decided, child) = decide().await.unwrap();
    let record = decided.decision.unwrap();
    assert_eq!((record.decision, record.by.as_str(), child), (Decision::AssumeSent, "ops", None));
    let error = |decided: Result<_, _>| decided.map(drop).unwrap_err();
    assert_eq!(error(decide().await), NotDecided::NotDecidable(NotDecidable::Decided));
    let running = fixture.claimed("p").await;
    fixture.pass(HOUR).await;
    let decision = fixture.new_decision(running.id, Decision::GiveUp);
    assert_eq!(error(fixture.decide(decision).await), NotDecided::NotDecidable(NotDecidable::NotUndecided));
    let nothing = fixture.new_decision(fixture.new_message("q").id, Decision::GiveUp);
    assert_eq!(error(fixture.decide(nothing).await), NotDecided::NotFound);
}

pub(super) async fn a_decision_needs_the_version_that_was_seen(fixture: &Fixture) {
    let undecided = fixture.maybe_sent("o").await;
    fixture.pass(HOUR).await;
    let mut decision = fixture.new_decision(undecided.id, Decision::GiveUp);
    decision.seen = Some(undecided.version - 1);
    let stale = NotDecided::NotDecidable(NotDecidable::Stale(undecided.version));
    assert_eq!(fixture.decide(decision.clone()).await.map(drop), Err(stale));
    decision.seen = Some(undecided.version);
    assert!(fixture.decide(decision).await.is_ok());
}

pub(super) async fn a_message_sent_again_takes_the_grant_in_doubt(fixture: &Fixture) {
    let undecided = fixture.maybe_sent("o").await;
    let (decided, child) = fixture.decide_later(undecided.id, Decision::SendAgain).await;
    let child = child.unwrap();
    assert_eq!(decided.decision.unwrap().child, Some(child.id));
    assert_eq!(
        (child.parent_id, child.grant, child.state),
        (Some(decided.id), decided.grant, MessageState::Queued)
    );
    assert_eq!((child.attempt, child.expires_at.since(fixture.now())), (0, DEFAULT_LIFETIME));
    assert_eq!(fixture.grants("o").await, [GrantState::Reserved]);
    let claimed = fixture.claim_one(child.id).await;
    fixture.settle(&claimed, Settlement::Sent).await.unwrap();
    assert_eq!(fixture.grants("o").await, [GrantState::Used]);
}

pub(super) async fn a_message_sent_again_takes_a_newer_open_grant(fixture: &Fixture) {
    let undecided = fixture.maybe_sent("o").await;
    let newer = fixture.consent("o").await.grant();
    let (_, child) = fixture.decide_later(undecided.id, Decision::SendAgain).await;
    assert_eq!(child.unwrap().grant, Some(newer));
    assert_eq!(fixture.grants("o").await, [GrantState::Void, GrantState::Reserved]);
    // A newer grant that is in use is left alone: the one in doubt is all there is.
    let undecided = fixture.maybe_sent("p").await;
    fixture.consent("p").await;
    fixture.enqueue("p").await;
    let (decided, child) = fixture.decide_later(undecided.id, Decision::SendAgain).await;
    assert_eq!(child.unwrap().grant, decided.grant);
    assert_eq!(fixture.grants("p").await, [GrantState::Reserved, GrantState::Reserved]);
    // A message without a grant must not be sent beside another that has one.
    let id = fixture.enqueue("q").await;
    let claimed = fixture.claim(fixture.worker).await.into_iter().find(|message| message.id == id).unwrap();
    fixture.settle(&claimed, unknown()).await.unwrap();
    fixture.consent("q").await;
    fixture.enqueue("q").await;
    fixture.pass(HOUR).await;
    let refused = fixture.decide(fixture.new_decision(id, Decision::SendAgain)).await.map(drop);
    assert_eq!(refused, Err(NotDecided::Grant(NotAdmitted::GrantUnavailable)));
    assert!(fixture.get(id).await.is_undecided(), "nothing was changed");
}

/// The application chooses the id of a row of an inbox: it can be greater than all ids that are made here.
pub(super) async fn a_message_with_a_foreign_id_is_sent_again(fixture: &Fixture) {
    fixture.consent("o").await;
    let id = MessageId::from_bytes([0xF4; 16]);
    fixture.record(NewMessage { id, ..fixture.new_message("o") }).await.unwrap();
    let claimed = fixture.claim_one(id).await;
    fixture.settle(&claimed, unknown()).await.unwrap();
    let (_, child) = fixture.decide_later(id, Decision::SendAgain).await;
    let expected = (MessageState::Queued, None, Some(GrantState::Reserved));
    assert_eq!(fixture.seen(child.unwrap().id).await, expected);
}

pub(super) async fn a_policy_decides_all(fixture: &Fixture) {
    let early = fixture.maybe_sent("o").await;
    fixture.pass(DECISION_DELAY).await;
    let recent = fixture.maybe_sent("p").await;
    let policy = || Change::ApplyPolicy(fixture.appid.clone(), Decision::AssumeSent, 100);
    let decided: Vec<_> = fixture.messages(policy()).await;
    assert_eq!(decided.iter().map(|message| message.id).collect::<Vec<_>>(), [early.id]);
    assert_eq!(decided[0].decision.as_ref().unwrap().by, "policy");
    assert_eq!(fixture.grants("o").await, [GrantState::Used]);
    assert!(fixture.get(recent.id).await.is_undecided());
}

pub(super) async fn a_restore_leaves_nothing_unfinished(fixture: &Fixture) {
    fixture.consent("open").await;
    let claimed = fixture.claimed("attempting").await;
    fixture.consent("queued").await;
    let queued = fixture.enqueue("queued").await;
    let report: RestoreReport = fixture.apply_for(Change::Restore).await;
    assert_eq!((report.messages, report.grants), (2, 1), "messages take their grants along");
    assert_eq!(report.last_event_at, Some(fixture.now()));
    for id in [claimed.id, queued] {
        let undecided = (MessageState::MaybeSent, Some(Reason::Restored), Some(GrantState::InDoubt));
        assert_eq!(fixture.seen(id).await, undecided);
    }
    assert_eq!(fixture.grants("open").await, [GrantState::InDoubt]);
    let unavailable = Err(NotRecorded::Grant(NotAdmitted::GrantUnavailable));
    assert_eq!(fixture.record(fixture.new_message("open")).await, unavailable);
    assert!(fixture.claim(fixture.worker).await.is_empty(), "its worker is gone");
    let decide = |id| fixture.decide(fixture.new_decision(id, Decision::GiveUp));
    fixture.clock.advance(RESTORED_DECISION_DELAY - SECOND);
    assert!(decide(queued).await.is_err(), "too early");
    fixture.clock.advance(SECOND);
    assert!(decide(queued).await.is_ok() && decide(claimed.id).await.is_ok());
}

/// What happened after the backup is unknown: the attempt it knows may have been followed by others.
pub(super) async fn a_restored_message_has_no_owner(fixture: &Fixture) {
    let claimed = fixture.claimed("o").await;
    let undecided = fixture.maybe_sent("p").await;
    fixture.apply(Change::Restore).await;
    for message in [&claimed, &undecided] {
        for settlement in [not_sent(), Settlement::Sent, refused(43101)] {
            assert_eq!(fixture.settle(message, settlement).await, None);
        }
        assert!(fixture.get(message.id).await.is_undecided());
    }
    fixture.clock.advance(MINUTE);
}

/// More than are read at a time.
pub(super) async fn a_restore_of_many_messages_leaves_none_out(fixture: &Fixture) {
    let apps: [AppId; 2] = [fixture.appid.clone(), "wx2".parse().unwrap()];
    let new = |number: usize| {
        let message = fixture.new_message_of(&apps[number % 2], &format!("o{number}"));
        Change::Enqueue(Box::new(message))
    };
    fixture.ledger.commit((0..=2 * PAGE).map(new).collect()).await.unwrap();
    for (changed, version) in [(2 * PAGE + 1, 2), (0, 3)] {
        let report: RestoreReport = fixture.apply_for(Change::Restore).await;
        assert_eq!(report.messages, changed);
        for (appid, number) in apps.iter().zip([PAGE + 1, PAGE]) {
            let messages = fixture.ledger.messages(&MessageQuery::new(appid.clone())).await.unwrap();
            assert_eq!(messages.len(), number);
            assert!(messages.iter().all(|message| message.is_undecided() && message.version == version));
        }
    }
}

pub(super) async fn what_an_operator_does_is_in_the_audit(fixture: &Fixture) {
    let undecided = fixture.maybe_sent("o").await;
    fixture.pass(HOUR).await;
    let entry = |action, appid, detail: &str| AuditEntry {
        actor: "ops".to_owned(),
        address: "192.0.2.1".to_owned(),
        action,
        appid,
        subject: undecided.id.to_string(),
        detail: detail.to_owned(),
    };
    let appid = Some(fixture.appid.clone());
    let decide = entry(AuditAction::Decide, appid, "give_up");
    let reveal = entry(AuditAction::Reveal, None, "");
    let decision = Change::Decide(Box::new(fixture.new_decision(undecided.id, Decision::GiveUp)));
    let audited = || Change::Audited(Box::new(decide.clone()), Some(Box::new(decision.clone())));
    let changes = vec![audited(), audited(), Change::Audited(Box::new(reveal.clone()), None)];
    let applied = fixture.ledger.commit(changes).await.unwrap();
    assert!(matches!(
        applied.as_slice(),
        [Ok(Applied::Decided(Ok(_))), Ok(Applied::Decided(Err(_))), Ok(Applied::Done)]
    ));
    let lines = fixture.ledger.audit(None, 10).await.unwrap();
    let entries: Vec<_> = lines.iter().map(|line| (&line.entry, line.outcome)).collect();
    let expected =
        [(&reveal, AuditOutcome::Done), (&decide, AuditOutcome::NotDone), (&decide, AuditOutcome::Done)];
    assert_eq!(entries, expected, "newest first");
    assert!(lines.windows(2).all(|pair| pair[0].seq > pair[1].seq && pair[0].at >= pair[1].at));
    let older = fixture.ledger.audit(Some(lines[1].seq), 10).await.unwrap();
    assert_eq!(older, lines[2..]);
    assert_eq!(fixture.ledger.audit(None, 1).await.unwrap(), lines[..1]);
}
