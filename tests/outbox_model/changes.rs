//! What each step does: the ledger's transitions as docs/outbox-model.md states them, and Weixin.

use wxsub_outbox::state::{Decision, GrantState, MessageState};

use super::rules::{Rule, Rules};
use super::state::{GRANTS, Ledger, MESSAGES, Message, Noted, Owner, Sender, Settlement, Stage, State, Task};

/// What a message does to its grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Set(GrantState),
    Release,
}

/// How a message ends, and what that does to its grant. None if it is unknown.
fn outcome(settlement: Settlement) -> Option<(MessageState, Effect)> {
    Some(match settlement {
        Settlement::Sent => (MessageState::Sent, Effect::Set(GrantState::Used)),
        Settlement::NoConsent => (MessageState::Refused, Effect::Set(GrantState::Void)),
        Settlement::Refused => (MessageState::Refused, Effect::Release),
        Settlement::NotSent => (MessageState::NotSent, Effect::Release),
        Settlement::Unknown => return None,
    })
}

impl Ledger {
    fn affect(&mut self, message: Message, effect: Effect, rules: &Rules) {
        let Some(grant) = message.grant else { return };
        let has_newer = self.newest() != Some(grant);
        self.grants[usize::from(grant)] = Some(match effect {
            Effect::Set(state) => state,
            Effect::Release if has_newer && rules.has(Rule::VoidBesideNewer) => GrantState::Void,
            Effect::Release => GrantState::Open,
        });
    }

    fn put(&mut self, at: usize, message: Message, effect: Effect, rules: &Rules) {
        self.messages[at] = Some(message);
        self.affect(message, effect, rules);
    }
}

impl State {
    /// Whether a message may be recorded, and with which grant.
    pub(crate) fn admits(&self, rules: &Rules) -> Option<Option<u8>> {
        match self.ledger.newest_state() {
            Some(GrantState::Open) => Some(self.ledger.newest()),
            Some(GrantState::Reserved | GrantState::Attempting | GrantState::InDoubt)
                if rules.has(Rule::NewestGrantDecides) =>
            {
                None
            }
            _ => Some(None),
        }
    }

    /// Records a message and queues it.
    pub(crate) fn enqueue(&mut self, keyed: bool, rules: &Rules) {
        let Some(grant) = self.admits(rules) else { return };
        // Without a grant, it may use up the consent of a message that was wrongly taken for sent.
        self.risked |= grant.is_none() && self.ledger.newest().is_some();
        let at = self.free_message().unwrap();
        let open_or_used = |state| !matches!(state, GrantState::Used | GrantState::Void);
        let under = self.ledger.newest().filter(|_| self.ledger.newest_state().is_some_and(open_or_used));
        self.ledger.put(at, Message::queued(grant), Effect::Set(GrantState::Reserved), rules);
        self.noted[at] = Noted { under, keyed, recorded: true, ..Noted::default() };
        if keyed {
            let number = u8::try_from(at).unwrap();
            match rules.has(Rule::KeyWithMessage) {
                true => self.ledger.key = Some(number),
                false => self.sender = Sender::KeyMissing(number),
            }
        }
    }

    /// Records the line of a batch, with the content of before or another one. Returns whether anything was recorded.
    pub(crate) fn line(&mut self, changed: bool, rules: &Rules) -> bool {
        let before = self.ledger.key.and_then(|at| self.ledger.messages[usize::from(at)]);
        let is_replaced = match before.map(|row| row.state) {
            None | Some(MessageState::NotSent) => true,
            Some(MessageState::Refused) => changed,
            Some(_) => changed && !rules.has(Rule::ChangedReplacesUnsent),
        };
        let admitted = self.admits(rules).is_some();
        let was_rejected = before.is_some_and(|row| row.state == MessageState::NotSent && row.attempt == 0);
        let Some(at) = self.free_message().filter(|_| is_replaced && (admitted || !was_rejected)) else {
            return false;
        };
        if admitted {
            self.enqueue(true, rules);
            return true;
        }
        let state =
            if rules.has(Rule::RejectedIsFinal) { MessageState::NotSent } else { MessageState::Queued };
        self.ledger.messages[at] = Some(Message { state, ..Message::queued(None) });
        self.noted[at] =
            Noted { under: self.ledger.newest(), keyed: true, recorded: true, ..Noted::default() };
        self.ledger.key = Some(u8::try_from(at).unwrap());
        true
    }

    /// The sender asks again, with the same key.
    pub(crate) fn repeat(&mut self, rules: &Rules) {
        self.sender = Sender::Idle;
        if self.ledger.key.is_none() {
            self.enqueue(true, rules);
        }
    }

    pub(crate) fn can_consent(&self, rules: &Rules) -> bool {
        let absorbed = self.absorbs() && rules.has(Rule::UnusedAbsorbs);
        absorbed || self.ledger.grants[GRANTS - 1].is_none()
    }

    fn absorbs(&self) -> bool {
        matches!(self.ledger.newest_state(), Some(GrantState::Open | GrantState::Reserved))
    }

    /// The user consents, and the consent is recorded. At Weixin it adds nothing to one that is not used up.
    pub(crate) fn consent(&mut self, rules: &Rules) {
        let adds = self.weixin.consent.is_none();
        if self.absorbs() && rules.has(Rule::UnusedAbsorbs) {
            if adds {
                self.weixin.consent = self.ledger.newest();
            }
            return;
        }
        let at = self.ledger.grants.iter().position(Option::is_none).unwrap();
        let unresolved =
            matches!(self.ledger.newest_state(), Some(GrantState::Attempting | GrantState::InDoubt));
        self.risked |= unresolved && !adds;
        self.ledger.grants[at] = Some(GrantState::Open);
        self.worth[at] = adds;
        if adds {
            self.weixin.consent = Some(u8::try_from(at).unwrap());
        }
    }

    pub(crate) fn cancel(&mut self, at: usize, rules: &Rules) {
        let Some(mut row) = self.ledger.messages[at] else { return };
        row.state = MessageState::Cancelled;
        self.ledger.put(at, row, Effect::Release, rules);
    }

    pub(crate) fn claim(&mut self, worker: usize, at: usize, rules: &Rules) {
        let Some(mut row) = self.ledger.messages[at] else { return };
        let owner = self.workers[worker].owner(worker);
        row.state = MessageState::Attempting;
        row.attempt += 1;
        row.owner = Some(owner);
        self.noted[at].window_over = false;
        let stage = match rules.has(Rule::DurableBeforePost) {
            true => Stage::Claiming,
            // It posts, and the claim is not committed yet.
            false => Stage::Claimed,
        };
        if rules.has(Rule::DurableBeforePost) {
            self.ledger.put(at, row, Effect::Set(GrantState::Attempting), rules);
        }
        let (message, attempt, boot) = (u8::try_from(at).unwrap(), row.attempt, owner.boot);
        self.workers[worker].task = Some(Task { message, attempt, boot, stopped: false, stage });
    }

    /// The ledger takes a settlement.
    pub(crate) fn settle(
        &mut self,
        at: usize,
        attempt: u8,
        owner: Owner,
        settlement: Settlement,
        rules: &Rules,
    ) {
        let Some(row) = self.ledger.messages[at] else { return };
        let named = row.owner == Some(owner) && row.attempt == attempt;
        let forgotten = row.owner.is_none() && row.state == MessageState::MaybeSent;
        if !named && (rules.has(Rule::Fence) || forgotten) {
            return;
        }
        match row.state {
            MessageState::Attempting => self.end(at, row, settlement, rules),
            MessageState::MaybeSent if row.decision.is_none() || !rules.has(Rule::DecidedIsFinal) => {
                self.answer_late(at, row, settlement, rules);
            }
            _ => {}
        }
    }

    fn end(&mut self, at: usize, mut row: Message, settlement: Settlement, rules: &Rules) {
        let requeued = settlement == Settlement::NotSent
            || (settlement == Settlement::Unknown && !rules.has(Rule::UnknownIsFinal));
        if requeued {
            row.owner = None;
        }
        let (state, effect) = match outcome(settlement) {
            _ if requeued => (MessageState::Queued, Effect::Set(GrantState::Reserved)),
            Some(outcome) => outcome,
            None => (MessageState::MaybeSent, Effect::Set(GrantState::InDoubt)),
        };
        self.ledger.put(at, Message { state, ..row }, effect, rules);
    }

    fn answer_late(&mut self, at: usize, row: Message, settlement: Settlement, rules: &Rules) {
        let Some((state, effect)) = outcome(settlement) else { return };
        self.ledger.put(at, Message { state, ..row }, effect, rules);
    }

    pub(crate) fn reclaim(&mut self, at: usize, rules: &Rules) {
        let Some(mut row) = self.ledger.messages[at] else { return };
        if rules.has(Rule::ReclaimIsUnknown) {
            row.state = MessageState::MaybeSent;
            self.ledger.put(at, row, Effect::Set(GrantState::InDoubt), rules);
        } else {
            (row.state, row.owner) = (MessageState::Queued, None);
            self.ledger.put(at, row, Effect::Set(GrantState::Reserved), rules);
        }
    }

    /// One transaction that marks and reclaims sees the attempts at its beginning.
    pub(crate) fn begin_mark(&mut self, gone: Owner) {
        let mut seen = [false; MESSAGES];
        for (seen, row) in seen.iter_mut().zip(self.ledger.messages) {
            let owned = |row: Message| {
                row.owner.is_some_and(|owner| owner.worker == gone.worker && owner.boot <= gone.boot)
            };
            *seen = row.is_some_and(|row| row.state == MessageState::Attempting && owned(row));
        }
        self.marking = Some((gone, seen));
    }

    pub(crate) fn commit_mark(&mut self, gone: Owner, seen: [bool; MESSAGES]) {
        self.marking = None;
        self.ledger.gone[usize::from(gone.worker)] = gone.boot + 1;
        for at in (0..MESSAGES).filter(|at| seen[*at]) {
            if self.ledger.messages[at].is_some_and(|row| row.state == MessageState::Attempting) {
                self.reclaim(at, &Rules::ALL);
            }
        }
    }

    pub(crate) fn can_send_again(&self, row: Message) -> bool {
        let taken = matches!(
            self.ledger.newest_state(),
            Some(GrantState::Reserved | GrantState::Attempting | GrantState::InDoubt)
        );
        self.free_message().is_some() && (row.grant.is_some() || !taken)
    }

    pub(crate) fn decide(&mut self, at: usize, decision: Decision, rules: &Rules) {
        let Some(mut row) = self.ledger.messages[at] else { return };
        row.decision = Some(decision);
        self.ledger.messages[at] = Some(row);
        match decision {
            Decision::AssumeSent => self.ledger.affect(row, Effect::Set(GrantState::Used), rules),
            Decision::GiveUp => self.ledger.affect(row, Effect::Set(GrantState::Void), rules),
            Decision::SendAgain => self.send_again(row, rules),
        }
    }

    fn send_again(&mut self, row: Message, rules: &Rules) {
        let newest_is_open = self.ledger.newest_state() == Some(GrantState::Open);
        let grant = match (row.grant, newest_is_open) {
            (Some(_), true) if rules.has(Rule::AgainTakesNewer) => self.ledger.newest(),
            (None, true) => self.ledger.newest(),
            (doubted, _) => doubted,
        };
        if grant != row.grant {
            self.ledger.affect(row, Effect::Set(GrantState::Void), rules);
        }
        self.risked |= !newest_is_open;
        let at = self.free_message().unwrap();
        self.ledger.put(at, Message::queued(grant), Effect::Set(GrantState::Reserved), rules);
        self.noted[at] = Noted { under: grant, recorded: true, ..Noted::default() };
        if let Some(grant) = grant {
            self.sent_again[usize::from(grant)] += 1;
        }
    }

    /// A process is killed, and another one starts in its place.
    pub(crate) fn crash(&mut self, at: usize) {
        self.inbox.copiers[at] = None;
        let worker = &mut self.workers[at];
        worker.boot += 1;
        if let Some(task) = worker.task.take()
            && task.stage == Stage::Posted
        {
            self.stray(task.message);
        }
    }

    /// A request for which no worker waits any more.
    pub(crate) fn stray(&mut self, message: u8) {
        if let Some(free) = self.weixin.strays.iter_mut().find(|stray| stray.is_none()) {
            *free = Some(message);
            self.weixin.strays.sort_unstable();
        }
    }

    /// Weixin handles a request.
    pub(crate) fn handle(&mut self, message: u8) -> Settlement {
        let noted = &mut self.noted[usize::from(message)];
        match self.weixin.consent.take() {
            Some(consent) => self.weixin.used_by[usize::from(consent)] = Some(message),
            None if self.weixin.endless => {}
            None => return Settlement::NoConsent,
        }
        noted.accepted += 1;
        Settlement::Sent
    }

    /// The ledger is as it was when the backup was made. The processes go on.
    pub(crate) fn restore(&mut self, rules: &Rules) {
        let Some(backup) = self.backup.take() else { return };
        let key = self.ledger.key;
        self.ledger = Ledger { key, ..backup };
        self.restored = true;
        self.risked = true;
        for (at, worker) in self.workers.iter().enumerate() {
            self.ledger.gone[at] = worker.boot + 1;
        }
        for at in 0..MESSAGES {
            let Some(mut row) = self.ledger.messages[at] else { continue };
            let undecided = row.state == MessageState::MaybeSent && row.decision.is_none();
            let running = !row.state.is_final();
            if (running || undecided) && rules.has(Rule::RestoreForgetsOwners) {
                row.owner = None;
            }
            if running && rules.has(Rule::RestoreEndsMessages) {
                row.state = MessageState::MaybeSent;
            }
            self.noted[at].window_over &= !(running || undecided);
            self.ledger.messages[at] = Some(row);
            if running && rules.has(Rule::RestoreEndsMessages) {
                self.ledger.affect(row, Effect::Set(GrantState::InDoubt), rules);
            }
        }
        for grant in self.ledger.grants.iter_mut().flatten() {
            let unfinished =
                matches!(grant, GrantState::Open | GrantState::Reserved | GrantState::Attempting);
            if unfinished && rules.has(Rule::RestoreDoubtsGrants) {
                *grant = GrantState::InDoubt;
            }
        }
    }
}
