//! What a change does to the rows of a ledger.

mod prune;
mod record;
mod webhooks;

pub use prune::GONE_WORKER_RETENTION;

use std::collections::BTreeMap;

use wxsub_core::clock::UnixMillis;
use wxsub_proto::AppId;

use super::change::{Applied, Beat, Change, Gone, NewDecision, NotCancelled, NotDecided, RestoreReport};
use super::tables::{StoredWorker, Tables};
use super::{LedgerError, LedgerResult};
use crate::app::{OperatorPause, Pauses, StoredApp};
use crate::grant::{StoredGrant, Subject, admit, admit_again, after};
use crate::id::{MessageId, WorkerId};
use crate::message::{GrantEffect, Settled, Settlement, StoredMessage, Transition};
use crate::state::{AuditOutcome, Decision, MessageState};
use crate::webhook::StoredDelivery;

/// Applies one change to the rows of an open transaction. `now` is the ledger's clock.
///
/// # Errors
/// [`LedgerError`] if a row could not be read or written. The caller then undoes what was written.
pub fn apply(tables: &mut dyn Tables, change: Change, now: UnixMillis) -> LedgerResult<Applied> {
    let mut changing = Changing { tables, now };
    match change {
        Change::Register(id) => {
            let worker = StoredWorker { id, beat_at: now, gone_at: None };
            changing.tables.put_worker(worker).map(|()| Applied::Done)
        }
        Change::Heartbeat(worker) => changing.beat(worker).map(Applied::Beat),
        Change::MarkGone(gone) => changing.mark_gone(gone).map(Applied::Count),
        Change::Reclaim(limit) => {
            let lost = changing.tables.attempts_of_gone_workers(limit)?;
            changing.each(&lost, |message| message.reclaim(now)).map(Applied::Messages)
        }
        Change::Expire(limit) => {
            let expired = changing.tables.expired(now, limit)?;
            changing.each(&expired, |message| message.expire(now)).map(Applied::Messages)
        }
        Change::Reschedule(limit) => changing.reschedule(limit).map(Applied::Count),
        Change::RecordConsent(consent) => changing.record_consent(*consent).map(Applied::Consent),
        Change::VoidGrant { grant, appid } => changing.void_grant(grant, appid.as_ref()).map(Applied::Grant),
        Change::Enqueue(message) => changing.record(*message, None).map(Applied::Recorded),
        Change::RecordInvalid(message) => changing.record_invalid(*message).map(Applied::Recorded),
        Change::MoveInbox { .. } => Err(LedgerError::Inconsistent("this ledger has no inbox".to_owned())),
        Change::Begin(message, worker) => changing.record(*message, Some(worker)).map(Applied::Recorded),
        Change::Claim { worker, appid, limit } => {
            changing.claim(worker, &appid, limit).map(Applied::Messages)
        }
        Change::Settle { message, worker, attempt, settlement, max_failures } => {
            changing.settle(message, (worker, attempt), &settlement, max_failures)
        }
        Change::Cancel { message, by } => changing.cancel(message, &by).map(Applied::Cancelled),
        Change::Decide(decision) => changing.decide(&decision).map(Applied::Decided),
        Change::ApplyPolicy(appid, decision, limit) => {
            changing.apply_policy(&appid, decision, limit).map(Applied::Messages)
        }
        Change::Pause { appid, by, note } => changing.update_app(&appid, |app| {
            app.pauses.operator = Some(OperatorPause { by, note, since: now });
        }),
        Change::Resume(appid) => changing.update_app(&appid, |app| app.pauses = Pauses::default()),
        Change::LiftTokenPause(appid) => changing.update_app(&appid, |app| app.pauses.token = None),
        Change::Audited(entry, change) => {
            let applied =
                if let Some(change) = change { apply(changing.tables, *change, now)? } else { Applied::Done };
            let outcome = if applied.is_done() { AuditOutcome::Done } else { AuditOutcome::NotDone };
            tables.append_audit(*entry, now, outcome)?;
            Ok(applied)
        }
        Change::Restore => changing.restore().map(Applied::Restored),
        Change::Prune(retention, limit) => changing.prune(&retention, limit).map(Applied::Pruned),
        Change::PruneBatch { appid, client } => changing.prune_batch(&appid, &client),
        Change::SetEndpoints(endpoints) => changing.set_endpoints(endpoints).map(|()| Applied::Done),
        Change::ClaimDeliveries { endpoint, url_sha256, limit } => {
            changing.claim_deliveries(&endpoint, url_sha256, limit).map(Applied::Deliveries)
        }
        Change::SettleDelivery { id, attempt, outcome } => changing
            .settle_delivery(&id, attempt, outcome)
            .map(|settled| Applied::Delivery(settled.map(Box::new))),
        Change::Redeliver { endpoint, deliveries } => {
            changing.redeliver(&endpoint, &deliveries).map(Applied::Count)
        }
    }
}

/// How many rows a change of many rows reads at a time.
pub const PAGE: usize = 1_000;

/// Of a settlement that changes nothing.
const UNCHANGED: Applied = Applied::Settled { message: None, is_late: false };

struct Changing<'a> {
    tables: &'a mut dyn Tables,
    now: UnixMillis,
}

impl Changing<'_> {
    fn is_alive(&mut self, worker: WorkerId) -> LedgerResult<bool> {
        Ok(self.tables.worker(worker)?.is_some_and(|worker| worker.gone_at.is_none()))
    }

    fn beat(&mut self, worker: WorkerId) -> LedgerResult<Option<Beat>> {
        let Some(before) = self.tables.worker(worker)?.filter(|worker| worker.gone_at.is_none()) else {
            return Ok(None);
        };
        self.tables.put_worker(StoredWorker { beat_at: self.now, ..before })?;
        let attempts = self.tables.attempts_of(worker)?;
        let attempts = attempts.iter().map(|message| (message.id, message.attempt)).collect();
        Ok(Some(Beat { attempts, was_clock_set_back: before.beat_at > self.now }))
    }

    fn mark_gone(&mut self, gone: Gone) -> LedgerResult<usize> {
        let mut workers = self.tables.live_workers()?;
        workers.retain(|worker| gone.includes(worker, self.now));
        for worker in &workers {
            self.tables.put_worker(StoredWorker { gone_at: Some(self.now), ..*worker })?;
        }
        Ok(workers.len())
    }

    fn claim(&mut self, worker: WorkerId, appid: &AppId, limit: usize) -> LedgerResult<Vec<StoredMessage>> {
        if !self.is_alive(worker)? {
            return Ok(Vec::new());
        }
        let limit = self.tables.app(appid)?.pauses.claimable(limit, self.now);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (due, now) = (self.tables.due(appid, self.now, limit)?, self.now);
        let claimed = self.each(&due, |message| Some(message.claim(worker, now)))?;
        let attempts = claimed.iter().filter(|message| message.state == MessageState::Attempting);
        let ids: Vec<_> = attempts.map(|message| message.id).collect();
        self.note_claims(appid, &ids)?;
        Ok(claimed)
    }

    fn note_claims(&mut self, appid: &AppId, claimed: &[MessageId]) -> LedgerResult<()> {
        let mut app = self.tables.app(appid)?;
        if app.pauses.daily_quota.is_none() || claimed.is_empty() {
            return Ok(());
        }
        claimed.iter().for_each(|message| app.pauses.claimed(*message, self.now));
        self.tables.put_app(appid, app)
    }

    fn settle(
        &mut self,
        id: MessageId,
        (worker, attempt): (WorkerId, u32),
        settlement: &Settlement,
        max_failures: u32,
    ) -> LedgerResult<Applied> {
        let Some(message) = self.tables.message(id)? else { return Ok(UNCHANGED) };
        let (is_late, transition) = match message.settle(worker, attempt, settlement, max_failures, self.now)
        {
            Settled::Ended(transition) => (false, transition),
            Settled::Late(transition) | Settled::Recorded(transition) => (true, transition),
            Settled::Unchanged | Settled::NotOwner => return Ok(UNCHANGED),
        };
        let pause = transition.pause;
        let settled = self.save(Some(&message), *transition)?;
        let mut app = self.tables.app(&settled.appid)?;
        let before = app.pauses.clone();
        app.pauses.settled(&settled, pause, self.now);
        if app.pauses != before {
            self.tables.put_app(&settled.appid, app)?;
        }
        Ok(Applied::Settled { message: Some(Box::new(settled)), is_late })
    }

    fn reschedule(&mut self, limit: usize) -> LedgerResult<usize> {
        let now = self.now;
        let messages = self.tables.waiting_too_long(now, limit)?;
        let messages = self.each(&messages, |message| Some(message.reschedule(now)))?;
        let deliveries = self.tables.deliveries_waiting_too_long(now, limit)?;
        let number = messages.len() + deliveries.len();
        for delivery in deliveries {
            self.tables.put_delivery(StoredDelivery { due_at: Some(now), ..delivery })?;
        }
        Ok(number)
    }

    fn cancel(&mut self, id: MessageId, by: &str) -> LedgerResult<Result<Box<StoredMessage>, NotCancelled>> {
        let Some(message) = self.tables.message(id)? else { return Ok(Err(NotCancelled::NotFound)) };
        let Some(transition) = message.cancel(by, self.now) else {
            let is_final = message.state.is_final();
            return Ok(Err(if is_final { NotCancelled::Final } else { NotCancelled::Attempting }));
        };
        Ok(Ok(Box::new(self.save(Some(&message), transition)?)))
    }

    #[expect(clippy::type_complexity, reason = "the message and its child, or why not, or a failed ledger")]
    fn decide(
        &mut self,
        new: &NewDecision,
    ) -> LedgerResult<Result<(Box<StoredMessage>, Option<Box<StoredMessage>>), NotDecided>> {
        let Some(message) = self.tables.message(new.message)? else { return Ok(Err(NotDecided::NotFound)) };
        let message = self.restart_delay(message)?;
        let again = new.decision == Decision::SendAgain;
        let child = again.then_some(new.child);
        let decided = match message.decide(new.decision, &new.by, &new.note, new.seen, child, self.now) {
            Ok(decided) => decided,
            Err(error) => return Ok(Err(error.into())),
        };
        if !again {
            return Ok(Ok((Box::new(self.save(Some(&message), decided)?), None)));
        }
        let missing = || LedgerError::Inconsistent(format!("message {}: it has no user", message.id));
        let subject = Subject::of_message(&message).ok_or_else(missing)?;
        let newest = self.tables.newest_grant(&subject)?;
        let lost = matches!(message.grant, Some(id) if self.tables.grant(id)?.is_none());
        let admitted =
            if lost { admit(newest.as_ref(), true) } else { admit_again(message.grant, newest.as_ref()) };
        let grant = match admitted {
            Ok(grant) => grant,
            Err(not_admitted) => return Ok(Err(not_admitted.into())),
        };
        // The child takes the grant in doubt, or the newer one, and then the older is worth nothing.
        let decided = if grant == message.grant { decided } else { decided.effect(GrantEffect::Void) };
        let decided = self.save(Some(&message), decided)?;
        let mut child = message.child(new.child, self.now).effect(GrantEffect::Reserve);
        child.message.grant = grant;
        let child = self.save(None, child)?;
        Ok(Ok((Box::new(decided), Some(Box::new(child)))))
    }

    /// The message, with its delay from now on if that lies too far ahead. This is no event: the message is as the operator saw it.
    fn restart_delay(&mut self, message: StoredMessage) -> LedgerResult<StoredMessage> {
        let Some(restarted) = message.restart_delay(self.now) else { return Ok(message) };
        self.tables.put_message(restarted.clone())?;
        Ok(restarted)
    }

    fn apply_policy(
        &mut self,
        appid: &AppId,
        decision: Decision,
        limit: usize,
    ) -> LedgerResult<Vec<StoredMessage>> {
        if decision == Decision::SendAgain {
            return Err(LedgerError::Inconsistent("a policy cannot send again".to_owned()));
        }
        let (decidable, now) = (self.tables.decidable(appid, self.now, limit)?, self.now);
        let decidable: Vec<_> =
            decidable.into_iter().map(|message| self.restart_delay(message)).collect::<LedgerResult<_>>()?;
        self.each(&decidable, |message| message.decide(decision, "policy", "", None, None, now).ok())
    }

    fn restore(&mut self) -> LedgerResult<RestoreReport> {
        let (last_event_at, now) = (self.tables.last_event_at()?, self.now);
        self.mark_gone(Gone::All)?;
        // They stay undecided. Those of the second loop become so.
        let mut last = None;
        loop {
            let page = self.tables.undecided(last.as_ref(), PAGE)?;
            self.each(&page, |message| message.restore(now))?;
            let Some(message) = page.into_iter().next_back() else { break };
            last = Some((message.appid, message.id));
        }
        let mut messages = 0;
        loop {
            let page = self.tables.unfinished(PAGE)?;
            if page.is_empty() {
                break;
            }
            messages += self.each(&page, |message| message.restore(now))?.len();
        }
        let grants = self.tables.doubt_grants()?;
        Ok(RestoreReport { messages, grants, inbox_rows: 0, last_event_at })
    }

    fn update_app(&mut self, appid: &AppId, update: impl FnOnce(&mut StoredApp)) -> LedgerResult<Applied> {
        let mut app = self.tables.app(appid)?;
        update(&mut app);
        self.tables.put_app(appid, app)?;
        Ok(Applied::Done)
    }

    fn each(
        &mut self,
        messages: &[StoredMessage],
        change: impl Fn(&StoredMessage) -> Option<Transition>,
    ) -> LedgerResult<Vec<StoredMessage>> {
        let changes = messages.iter().filter_map(|message| change(message).map(|next| (message, next)));
        changes.map(|(message, next)| self.save(Some(message), next)).collect()
    }

    /// Writes a transition: the message, its grant, its history, the deliveries to endpoints and the counts of its app.
    fn save(
        &mut self,
        before: Option<&StoredMessage>,
        transition: Transition,
    ) -> LedgerResult<StoredMessage> {
        let grant = match (transition.message.grant, transition.grant) {
            (Some(id), Some(effect)) => Some((effect, self.tables.grant(id)?)),
            _ => None,
        };
        let Transition { message, event, .. } = match (before, &grant) {
            (Some(before), Some((_, None))) => before.without_grant(transition, self.now),
            _ => transition,
        };
        self.tables.put_message(message.clone())?;
        self.record_deliveries(before.map(|before| before.state), &message, event.kind)?;
        self.tables.append_event(event)?;
        if let Some((effect, Some(grant))) = grant {
            let has_newer = effect == GrantEffect::Release
                && self.tables.newest_grant(&grant.subject)?.is_some_and(|newest| newest.id != grant.id);
            self.tables.put_grant(StoredGrant { state: after(effect, has_newer), ..grant })?;
        }
        self.count(before, &message)?;
        Ok(message)
    }

    fn count(&mut self, before: Option<&StoredMessage>, message: &StoredMessage) -> LedgerResult<()> {
        let of = |message: &StoredMessage| (message.state, message.is_undecided());
        if before.map(of) == Some(of(message)) {
            return Ok(());
        }
        let mut app = self.tables.app(&message.appid)?;
        if let Some(before) = before {
            take_one(&mut app.counts, before.state);
            app.undecided = app.undecided.saturating_sub(before.is_undecided().into());
        }
        *app.counts.entry(message.state).or_default() += 1;
        app.undecided += u64::from(message.is_undecided());
        self.tables.put_app(&message.appid, app)
    }
}

fn take_one(counts: &mut BTreeMap<MessageState, u64>, state: MessageState) {
    if let Some(count) = counts.get_mut(&state) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(&state);
        }
    }
}

#[cfg(test)]
mod tests {
    use wxsub_proto::{Grant, Message};

    use super::super::{FromApplied, NewMessage, NotRecorded, Recorded, Rows};
    use super::*;
    use crate::grant::{Consent, NotAdmitted};
    use crate::id::{GrantId, IdGenerator};
    use crate::ledger::NewConsent;
    use crate::message::Detail;
    use crate::state::Reason;

    const NOW: UnixMillis = UnixMillis::new(1_780_000_000_000);
    const LOST: &str =
        "grant: the ledger has lost it; restore its row from a backup, or ask the user for a new consent";

    struct Ledger {
        rows: Rows,
        ids: IdGenerator,
        worker: WorkerId,
    }

    impl Ledger {
        fn new() -> Self {
            let ids = IdGenerator::new(Some(1));
            let worker = ids.worker(NOW).unwrap();
            let mut ledger = Self { rows: Rows::default(), ids, worker };
            ledger.apply::<()>(Change::Register(worker));
            ledger
        }

        fn apply<T: FromApplied>(&mut self, change: Change) -> T {
            self.apply_at(change, NOW)
        }

        fn apply_at<T: FromApplied>(&mut self, change: Change, now: UnixMillis) -> T {
            T::from_applied(apply(&mut self.rows, change, now).unwrap()).unwrap()
        }

        fn consent(&mut self, user: &str) -> GrantId {
            let subject = Subject::new(appid(), &weixin_grant(user));
            let consent = NewConsent { grant: self.ids.grant(NOW).unwrap(), subject, nonce: None };
            self.apply::<Consent>(Change::RecordConsent(Box::new(consent))).grant()
        }

        /// A message with a grant.
        fn enqueue(&mut self, user: &str) -> StoredMessage {
            self.consent(user);
            let body = Message::builder(weixin_grant(user)).title("Title").content("Text").build().unwrap();
            let new = NewMessage::new(self.ids.message(NOW).unwrap(), appid(), body);
            let recorded: Result<Recorded, NotRecorded> = self.apply(Change::Enqueue(Box::new(new)));
            recorded.unwrap().message().clone()
        }

        fn claim(&mut self) -> Vec<StoredMessage> {
            self.apply(Change::Claim { worker: self.worker, appid: appid(), limit: 9 })
        }

        /// Its grant has no row any more.
        fn lose_grant(&mut self, message: &StoredMessage) {
            self.rows.delete_grant(message.grant.unwrap()).unwrap();
        }

        fn state(&mut self, message: &StoredMessage) -> (MessageState, Option<Reason>) {
            let message = self.rows.message(message.id).unwrap().unwrap();
            (message.state, message.reason)
        }

        fn last_detail(&mut self, message: &StoredMessage) -> Option<String> {
            self.rows.history_keys(message.id).last().unwrap().1.detail.clone()
        }
    }

    fn appid() -> AppId {
        "wx1".parse().unwrap()
    }

    fn weixin_grant(user: &str) -> Grant {
        Grant::assume_verified(user, "T", 7).unwrap()
    }

    /// The others are reclaimed all the same.
    #[test]
    fn an_attempt_whose_grant_is_lost_is_reclaimed() {
        let mut ledger = Ledger::new();
        for user in ["a", "b"] {
            ledger.enqueue(user);
        }
        let claimed = ledger.claim();
        ledger.lose_grant(&claimed[0]);
        ledger.apply::<usize>(Change::MarkGone(Gone::All));
        let reclaimed: Vec<StoredMessage> = ledger.apply(Change::Reclaim(9));
        assert_eq!(reclaimed.len(), 2);
        for message in &claimed {
            assert_eq!(ledger.state(message), (MessageState::MaybeSent, Some(Reason::WorkerLost)));
        }
        assert_eq!(ledger.last_detail(&claimed[0]).unwrap(), format!("the worker was gone; {LOST}"));
        assert_eq!(ledger.last_detail(&claimed[1]).unwrap(), "the worker was gone");
    }

    #[test]
    fn a_message_whose_grant_is_lost_is_not_posted() {
        let mut ledger = Ledger::new();
        let (lost, kept) = (ledger.enqueue("a"), ledger.enqueue("b"));
        ledger.lose_grant(&lost);
        let claimed: Vec<_> = ledger.claim().into_iter().map(|message| (message.id, message.state)).collect();
        assert_eq!(claimed, [(lost.id, MessageState::NotSent), (kept.id, MessageState::Attempting)]);
        let rejected = ledger.rows.message(lost.id).unwrap().unwrap();
        assert_eq!((rejected.reason, rejected.attempt), (Some(Reason::NoGrant), 0));
        assert_eq!(rejected.detail.errmsg.as_deref(), Some(LOST));
        let history: Vec<_> = ledger.rows.history_keys(lost.id).map(|((_, version), _)| *version).collect();
        assert_eq!(history, [1, 2]);
        let counts = ledger.rows.app(&appid()).unwrap().counts;
        assert_eq!(counts, [(MessageState::NotSent, 1), (MessageState::Attempting, 1)].into());
    }

    #[test]
    fn an_attempt_whose_grant_is_lost_ends_as_it_would() {
        for (settlement, expected) in [
            (Settlement::Sent, (MessageState::Sent, None)),
            (Settlement::NotSent(Detail::default()), (MessageState::NotSent, Some(Reason::NoGrant))),
            (Settlement::Refused(Detail::default()), (MessageState::Refused, None)),
        ] {
            let mut ledger = Ledger::new();
            ledger.enqueue("a");
            let claimed = ledger.claim().remove(0);
            ledger.lose_grant(&claimed);
            let (message, worker, attempt, max_failures) = (claimed.id, ledger.worker, claimed.attempt, 9);
            let settle = Change::Settle { message, worker, attempt, settlement, max_failures };
            ledger.apply::<Option<StoredMessage>>(settle);
            assert_eq!(ledger.state(&claimed), expected);
            assert_eq!(ledger.last_detail(&claimed).as_deref(), Some(LOST));
        }
        let mut ledger = Ledger::new();
        let queued = [ledger.enqueue("a"), ledger.enqueue("b")];
        queued.iter().for_each(|message| ledger.lose_grant(message));
        let cancel = Change::Cancel { message: queued[0].id, by: "ops".to_owned() };
        ledger.apply::<Result<StoredMessage, NotCancelled>>(cancel).unwrap();
        let expired: Vec<StoredMessage> = ledger.apply_at(Change::Expire(9), queued[1].expires_at);
        assert_eq!(expired.len(), 1);
    }

    #[test]
    fn a_message_whose_grant_is_lost_is_sent_again_under_a_new_consent_only() {
        let mut ledger = Ledger::new();
        ledger.enqueue("a");
        let claimed = ledger.claim().remove(0);
        ledger.lose_grant(&claimed);
        ledger.apply::<RestoreReport>(Change::Restore);
        let decide = |ledger: &mut Ledger| {
            let child = ledger.ids.message(NOW).unwrap();
            let (message, decision, by, note) =
                (claimed.id, Decision::SendAgain, "ops".to_owned(), String::new());
            let new = NewDecision { message, decision, by, note, seen: None, child };
            let decide = Change::Decide(Box::new(new));
            let later = NOW + std::time::Duration::from_secs(3600);
            ledger.apply_at::<Result<(StoredMessage, Option<StoredMessage>), NotDecided>>(decide, later)
        };
        assert_eq!(decide(&mut ledger), Err(NotDecided::Grant(NotAdmitted::NoGrant)));
        let newer = ledger.consent("a");
        let (_, child) = decide(&mut ledger).unwrap();
        let child = child.unwrap();
        assert_eq!((child.state, child.grant), (MessageState::Queued, Some(newer)));
    }
}
