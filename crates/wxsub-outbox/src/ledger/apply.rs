//! What a change does to the rows of a ledger.

mod prune;
mod record;
mod webhooks;

use std::collections::BTreeMap;

use wxsub_core::clock::UnixMillis;
use wxsub_proto::AppId;

use super::change::{Applied, Change, Gone, NewDecision, NotCancelled, NotDecided, RestoreReport};
use super::tables::{StoredWorker, Tables};
use super::{LedgerError, LedgerResult};
use crate::app::{OperatorPause, Pauses, StoredApp};
use crate::grant::{StoredGrant, Subject, admit_again, after};
use crate::id::{MessageId, WorkerId};
use crate::message::{GrantEffect, Settled, Settlement, StoredMessage, Transition};
use crate::state::{AuditOutcome, Decision, GrantState, MessageState};

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

    fn beat(&mut self, worker: WorkerId) -> LedgerResult<Option<Vec<(MessageId, u32)>>> {
        if !self.is_alive(worker)? {
            return Ok(None);
        }
        self.tables.put_worker(StoredWorker { id: worker, beat_at: self.now, gone_at: None })?;
        let attempts = self.tables.attempts_of(worker)?;
        Ok(Some(attempts.iter().map(|message| (message.id, message.attempt)).collect()))
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
        let ids: Vec<_> = claimed.iter().map(|message| message.id).collect();
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
        let grant = match admit_again(message.grant, newest.as_ref()) {
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
        self.each(&decidable, |message| message.decide(decision, "policy", "", None, None, now).ok())
    }

    fn restore(&mut self) -> LedgerResult<RestoreReport> {
        let last_event_at = self.tables.last_event_at()?;
        for worker in self.tables.live_workers()? {
            self.tables.put_worker(StoredWorker { gone_at: Some(self.now), ..worker })?;
        }
        let (unfinished, now) = (self.tables.unfinished()?, self.now);
        let messages = unfinished.iter().filter(|message| !message.is_undecided()).count();
        self.each(&unfinished, |message| message.restore(now))?;
        let grants = self.tables.unfinished_grants()?;
        let doubted = grants.len();
        for grant in grants {
            self.tables.put_grant(StoredGrant { state: GrantState::InDoubt, ..grant })?;
        }
        Ok(RestoreReport { messages, grants: doubted, inbox_rows: 0, last_event_at })
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
        let Transition { message, grant, event, .. } = transition;
        self.tables.put_message(message.clone())?;
        self.record_deliveries(before.map(|before| before.state), &message, event.kind)?;
        self.tables.append_event(event)?;
        if let (Some(id), Some(effect)) = (message.grant, grant) {
            let missing =
                || LedgerError::Inconsistent(format!("message {}: its grant is missing", message.id));
            let grant = self.tables.grant(id)?.ok_or_else(missing)?;
            let has_newer = effect == GrantEffect::Release
                && self.tables.newest_grant(&grant.subject)?.is_some_and(|newest| newest.id != id);
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
