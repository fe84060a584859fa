//! The table of a message's transitions as pure functions: a row and an event in, the new row and what else changes out.

use std::time::Duration;

use wxsub_core::clock::UnixMillis;
use wxsub_core::rfc3339;
use wxsub_proto::{ErrCode, LocalizedText};

use super::{
    DECISION_DELAY, DEFAULT_LIFETIME, DecisionRecord, Detail, LOST_GRANT, MAX_RETRY_DELAY, NotAccepted,
    RESTORED_DECISION_DELAY, Settlement, StoredEvent, StoredMessage,
};
use crate::id::{MessageId, WorkerId};
use crate::state::{Decision, EventKind, MessageState, Mode, Reason};

/// What a transition changes, to be written in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The row as it is from now on.
    pub message: StoredMessage,
    /// What becomes of its grant, if it has one.
    pub grant: Option<GrantEffect>,
    /// The line of its history.
    pub event: StoredEvent,
    /// Why its app must wait from now on.
    pub pause: Option<NotAccepted>,
}

/// What a message does to its grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GrantEffect {
    /// It waits in the queue with it.
    Reserve,
    /// It is being posted with it.
    Attempt,
    /// It has used it up.
    Use,
    /// It may have used it up.
    Doubt,
    /// It has found that it is gone.
    Void,
    /// It needs it no more: the next message may have it.
    Release,
}

/// What became of a settlement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The attempt was running: this is how it ended.
    Ended(Box<Transition>),
    /// The message was undecided: the late response counts.
    Late(Box<Transition>),
    /// The message was decided: the late response is recorded and changes nothing.
    Recorded(Box<Transition>),
    /// The message is settled already, or the settlement says nothing new.
    Unchanged,
    /// Another attempt is under way, or the sender does not own this one.
    NotOwner,
}

/// Why a message cannot be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDecidable {
    /// It has a decision.
    #[error("decision: the message is decided already")]
    Decided,
    /// It is not `maybe_sent`.
    #[error("decision: the message is not undecided; only maybe_sent can be decided")]
    NotUndecided,
    /// A worker may still post it.
    #[error("decision: a worker may still be posting the message; try again after {}", rfc3339::format(*.0))]
    TooEarly(UnixMillis),
    /// It changed since the operator looked at it.
    #[error("version: the message is at version {0}; look at it again")]
    Stale(u32),
}

impl NotDecidable {
    /// Returns the reason in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        let chinese = match self {
            Self::Decided => "decision：这条消息已经裁定过".to_owned(),
            Self::NotUndecided => "decision：这条消息不需要裁定；只有 maybe_sent 的消息才能裁定".to_owned(),
            Self::TooEarly(at) => {
                format!("decision：worker 可能还在发送这条消息；请在 {} 之后重试", rfc3339::format(*at))
            }
            Self::Stale(version) => format!("version：这条消息的版本是 {version}；请重新查看"),
        };
        LocalizedText::new(self.to_string(), chinese)
    }
}

/// Since when the decision about a message waits that was restored and attempted at these times, and how long.
fn decision_delay(
    restored_at: Option<UnixMillis>,
    attempted_at: Option<UnixMillis>,
) -> Option<(UnixMillis, Duration)> {
    let restored = restored_at.map(|at| (at, RESTORED_DECISION_DELAY));
    restored.or(attempted_at.map(|at| (at, DECISION_DELAY)))
}

/// From when on an undecided message can be decided that was restored and attempted at these times. `None` if it can be now, and if
/// the time lies further ahead than the delay: the first decision [begins the delay anew](StoredMessage::restart_delay).
pub(crate) fn decidable_at(
    restored_at: Option<UnixMillis>,
    attempted_at: Option<UnixMillis>,
    now: UnixMillis,
) -> Option<UnixMillis> {
    let (since, delay) = decision_delay(restored_at, attempted_at)?;
    (now < since + delay && since <= now + delay).then_some(since + delay)
}

/// The pause after so many failures: it doubles from 1 s to [`MAX_RETRY_DELAY`], less up to a quarter, by the message's id.
#[must_use]
pub fn retry_delay(message: MessageId, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(10);
    let pause = Duration::from_secs(1 << doublings).min(MAX_RETRY_DELAY);
    let [.., random] = *message.as_bytes();
    pause - pause / 4 * u32::from(random) / 256
}

impl StoredMessage {
    /// A worker claims it. The caller has checked that it is [due](Self::is_due) and that the worker may claim.
    #[must_use]
    pub fn claim(&self, worker: WorkerId, now: UnixMillis) -> Transition {
        let mut next = self.clone();
        next.state = MessageState::Attempting;
        next.attempt = next.attempt.saturating_add(1);
        next.worker = Some(worker);
        next.attempted_at = Some(now);
        next.event(EventKind::Claimed, now).by(&worker).effect(GrantEffect::Attempt)
    }

    /// It is recorded, and cannot be sent. It takes no grant.
    pub(crate) fn reject(self, reason: Reason, detail: Detail, now: UnixMillis) -> Transition {
        Self { detail, ..self }.finish(MessageState::NotSent, Some(reason), EventKind::NotSent, now)
    }

    /// What happens in place of this transition if the row of its grant is missing: it was deleted by hand, or the ledger was
    /// restored in part. Another message may have used the consent, so this one is not posted. An attempt ends as it would.
    pub(crate) fn without_grant(&self, transition: Transition, now: UnixMillis) -> Transition {
        if !transition.message.state.is_final() {
            return self.clone().reject(Reason::NoGrant, Detail::lost_grant(), now);
        }
        let known = transition.event.detail.iter().map(String::as_str);
        let detail = known.chain([LOST_GRANT]).collect::<Vec<_>>().join("; ");
        transition.note(&detail)
    }

    /// Its owner, or one that believes to be it, reports how the attempt ended.
    #[must_use]
    pub fn settle(
        &self,
        worker: WorkerId,
        attempt: u32,
        settlement: &Settlement,
        max_failures: u32,
        now: UnixMillis,
    ) -> Settled {
        if self.worker != Some(worker) || self.attempt != attempt {
            return Settled::NotOwner;
        }
        match self.state {
            MessageState::Attempting => {
                Settled::Ended(Box::new(self.end(settlement, max_failures, now).by(&worker)))
            }
            MessageState::MaybeSent if !matches!(settlement, Settlement::Unknown(_)) => {
                self.settle_late(worker, self.end(settlement, max_failures, now), now)
            }
            _ => Settled::Unchanged,
        }
    }

    /// The end of a running attempt, or a response to one that was given up.
    fn end(&self, settlement: &Settlement, max_failures: u32, now: UnixMillis) -> Transition {
        use GrantEffect::{Doubt, Use};
        let is_late = self.state == MessageState::MaybeSent;
        let next = |detail: &Detail| Self { detail: detail.clone(), ..self.clone() };
        match (settlement, self.mode) {
            (Settlement::Sent, _) => {
                next(&Detail::default()).finish(MessageState::Sent, None, EventKind::Sent, now).effect(Use)
            }
            (Settlement::Unknown(detail), _) => {
                let reason = Some(Reason::ResponseLost);
                next(detail).finish(MessageState::MaybeSent, reason, EventKind::MaybeSent, now).effect(Doubt)
            }
            (Settlement::Refused(detail), _) => next(detail).refuse(now),
            (Settlement::NotSent(detail), _) if is_late => {
                next(detail).give_back(Reason::Late, EventKind::NotSent, now)
            }
            (Settlement::NotAccepted(why, detail), _) if is_late => {
                next(detail).give_back(Reason::Late, EventKind::NotSent, now).pausing(*why)
            }
            (Settlement::NotSent(detail), Mode::Queued) => {
                let mut next = next(detail);
                next.failures = next.failures.saturating_add(1);
                next.due_at = now + retry_delay(self.id, next.failures);
                next.requeue(max_failures, now)
            }
            (Settlement::NotAccepted(why, detail), Mode::Queued) => {
                next(detail).requeue(u32::MAX, now).pausing(*why)
            }
            (Settlement::NotAccepted(NotAccepted::NoToken, detail) | Settlement::NotSent(detail), _) => {
                next(detail).give_back(Reason::Synchronous, EventKind::NotSent, now)
            }
            (Settlement::NotAccepted(why, detail), Mode::Synchronous) => {
                next(detail).refuse(now).pausing(*why)
            }
        }
    }

    /// A response to an attempt that was given up.
    fn settle_late(&self, worker: WorkerId, late: Transition, now: UnixMillis) -> Settled {
        if self.decision.is_some() {
            let recorded = self.clone().event(EventKind::LateAnswer, now).by(&worker);
            let detail = format!("{}, after the decision", late.message.state);
            return Settled::Recorded(Box::new(recorded.note(&detail)));
        }
        Settled::Late(Box::new(late.by(&worker)))
    }

    /// It waits for a time that only a clock that was ahead could set: it is due now.
    pub(crate) fn reschedule(&self, now: UnixMillis) -> Transition {
        let next = Self { due_at: now, ..self.clone() };
        next.event(EventKind::Requeued, now).note("the ledger's clock was set back; it is due now")
    }

    /// Its worker is gone.
    #[must_use]
    pub fn reclaim(&self, now: UnixMillis) -> Option<Transition> {
        (self.state == MessageState::Attempting).then(|| {
            let next = Self { detail: Detail::unknown("the worker was gone"), ..self.clone() };
            let reason = Some(Reason::WorkerLost);
            next.finish(MessageState::MaybeSent, reason, EventKind::Reclaimed, now).effect(GrantEffect::Doubt)
        })
    }

    /// A backup with it was restored. What happened after the backup is unknown, so no late response counts from now on.
    #[must_use]
    pub fn restore(&self, now: UnixMillis) -> Option<Transition> {
        let mut next = Self { worker: None, restored_at: Some(now), ..self.clone() };
        if self.is_undecided() {
            return Some(next.event(EventKind::Restored, now));
        }
        (!self.state.is_final()).then(|| {
            next.detail = Detail::unknown("not final in the backup that was restored");
            let reason = Some(Reason::Restored);
            next.finish(MessageState::MaybeSent, reason, EventKind::Restored, now).effect(GrantEffect::Doubt)
        })
    }

    /// Its time is over while it waits.
    #[must_use]
    pub fn expire(&self, now: UnixMillis) -> Option<Transition> {
        let expired = self.state == MessageState::Queued && self.expires_at <= now;
        expired.then(|| self.clone().give_back(Reason::Expired, EventKind::Expired, now))
    }

    /// Its sender withdraws it.
    #[must_use]
    pub fn cancel(&self, by: &str, now: UnixMillis) -> Option<Transition> {
        (self.state == MessageState::Queued).then(|| {
            let next = self.clone().finish(MessageState::Cancelled, None, EventKind::Cancelled, now);
            next.effect(GrantEffect::Release).by(&by)
        })
    }

    /// From when on it can be decided, on the ledger's clock; `None` if it can be now.
    #[must_use]
    pub fn decidable_at(&self, now: UnixMillis) -> Option<UnixMillis> {
        decidable_at(self.restored_at, self.attempted_at, now)
    }

    /// With a delay that begins now, if it is undecided and its delay lies further ahead than it is long. The ledger's clock was set
    /// back since, so nothing tells how long ago the attempt began.
    pub(crate) fn restart_delay(&self, now: UnixMillis) -> Option<Self> {
        let (since, delay) = decision_delay(self.restored_at, self.attempted_at)?;
        (self.is_undecided() && since > now + delay).then(|| match self.restored_at {
            Some(_) => Self { restored_at: Some(now), ..self.clone() },
            None => Self { attempted_at: Some(now), ..self.clone() },
        })
    }

    /// An operator or a policy decides. `seen` is the version that the operator looked at. `send_again` needs `child`.
    ///
    /// # Errors
    /// [`NotDecidable`] says why the message stays as it is.
    pub fn decide(
        &self,
        decision: Decision,
        by: &str,
        note: &str,
        seen: Option<u32>,
        child: Option<MessageId>,
        now: UnixMillis,
    ) -> Result<Transition, NotDecidable> {
        if self.state != MessageState::MaybeSent {
            return Err(NotDecidable::NotUndecided);
        }
        if self.decision.is_some() {
            return Err(NotDecidable::Decided);
        }
        if seen.is_some_and(|seen| seen != self.version) {
            return Err(NotDecidable::Stale(self.version));
        }
        if let Some(at) = self.decidable_at(now) {
            return Err(NotDecidable::TooEarly(at));
        }
        let (by, note) = (by.to_owned(), note.to_owned());
        let record = DecisionRecord { decision, by: by.clone(), note, at: now, child };
        let decided = Self { decision: Some(record), body: None, ..self.clone() };
        let transition = decided.event(EventKind::Decided, now).by(&by).note(decision.as_str());
        Ok(match decision {
            Decision::AssumeSent => transition.effect(GrantEffect::Use),
            Decision::GiveUp => transition.effect(GrantEffect::Void),
            // What becomes of the grant depends on whether there is a newer one.
            Decision::SendAgain => transition,
        })
    }

    /// The message that is sent in its place. It lives as long as this one was meant to, from now on.
    #[must_use]
    pub fn child(&self, id: MessageId, now: UnixMillis) -> Transition {
        let meant = self.expires_at.since(self.send_at);
        let lifetime = if meant.is_zero() { DEFAULT_LIFETIME } else { meant };
        let child = Self {
            touser: self.touser.clone(),
            template_id: self.template_id.clone(),
            scene: self.scene,
            body: self.body.clone(),
            priority: self.priority,
            expires_at: now + lifetime,
            parent_id: Some(self.id),
            ..Self::blank(id, self.appid.clone(), now)
        };
        child.event(EventKind::Enqueued, now)
    }

    fn refuse(self, now: UnixMillis) -> Transition {
        let effect = match self.detail.errcode {
            Some(ErrCode::USER_REFUSED) => GrantEffect::Void,
            _ => GrantEffect::Release,
        };
        self.finish(MessageState::Refused, None, EventKind::Refused, now).effect(effect)
    }

    /// Back to the queue, unless its time is over or it failed too often.
    fn requeue(mut self, max_failures: u32, now: UnixMillis) -> Transition {
        if self.expires_at <= now {
            return self.give_back(Reason::Expired, EventKind::NotSent, now);
        }
        if self.failures >= max_failures {
            return self.give_back(Reason::Failures, EventKind::NotSent, now);
        }
        self.state = MessageState::Queued;
        self.worker = None;
        self.event(EventKind::Requeued, now).with_errmsg().effect(GrantEffect::Reserve)
    }

    fn give_back(self, reason: Reason, event: EventKind, now: UnixMillis) -> Transition {
        self.finish(MessageState::NotSent, Some(reason), event, now).effect(GrantEffect::Release)
    }

    fn finish(
        mut self,
        state: MessageState,
        reason: Option<Reason>,
        event: EventKind,
        now: UnixMillis,
    ) -> Transition {
        self.state = state;
        self.reason = reason;
        self.settled_at = Some(now);
        if state != MessageState::MaybeSent {
            self.body = None;
        }
        self.event(event, now).with_errmsg()
    }

    /// One more line in its history, and nothing else.
    pub(crate) fn event(mut self, kind: EventKind, now: UnixMillis) -> Transition {
        self.version = self.version.saturating_add(1);
        let event = StoredEvent {
            message: self.id,
            version: self.version,
            at: now,
            kind,
            attempt: self.attempt,
            actor: None,
            detail: None,
        };
        Transition { message: self, grant: None, event, pause: None }
    }
}

impl Transition {
    fn by(mut self, actor: &impl ToString) -> Self {
        self.event.actor = Some(actor.to_string());
        self
    }

    fn with_errmsg(mut self) -> Self {
        self.event.detail.clone_from(&self.message.detail.errmsg);
        self
    }

    fn note(mut self, detail: &str) -> Self {
        self.event.detail = Some(detail.to_owned());
        self
    }

    pub(crate) fn effect(self, effect: GrantEffect) -> Self {
        Self { grant: Some(effect), ..self }
    }

    /// The claim of a message that was recorded for this one attempt.
    pub(crate) fn begun(mut self) -> Self {
        self.event.kind = EventKind::Begun;
        self
    }

    fn pausing(self, why: NotAccepted) -> Self {
        Self { pause: Some(why), ..self }
    }
}
