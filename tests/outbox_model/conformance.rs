//! Whether the model is like the ledger: random ways through the model, played on the ledger in memory.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt;
use wxsub_core::proto::{AppId, ErrCode, Grant, Message};
use wxsub_core::testing::ManualClock;
use wxsub_outbox::grant::Subject;
use wxsub_outbox::id::{GrantId, MessageId, WorkerId};
use wxsub_outbox::idempotency::IdempotencyKey;
use wxsub_outbox::ledger::{
    Applied, Change, Gone, KeyKind, MessageQuery, NewConsent, NewDecision, NewMessage,
};
use wxsub_outbox::message::Detail;
use wxsub_outbox::state::{GrantState, MessageState};
use wxsub_outbox::{Ledger, MemoryLedger, message};

use super::rules::Rules;
use super::scenario::{Scenario, Trouble};
use super::state::{Ledger as Rows, MESSAGES, Owner, Settlement, Stage, State, WORKERS};
use super::step::{Act, Fault, Step, Wish, World};

/// How long one way is.
const STEPS: usize = 60;

/// Longer than any delay of the ledger, shorter than the life of a message.
const LONG: Duration = Duration::from_secs(1200);

/// Plays so many ways, and gives how many steps they had in all.
pub(crate) fn compare(scenario: &Scenario, ways: u64) -> usize {
    let world = World { rules: &Rules::ALL, scenario };
    let mut taken = 0;
    for seed in 0..ways {
        let (mut dice, mut state) = (Rng::with_seed(seed), scenario.start);
        let (mut played, mut way) =
            (Played::new(&state, scenario.troubles.contains(&Trouble::Key)), Vec::new());
        for _ in 0..STEPS {
            let mut steps = world.steps(&state);
            steps.retain(|(step, _)| played.can_play(&state, *step));
            if steps.is_empty() {
                break;
            }
            let (step, next) = steps[dice.usize(0..steps.len())];
            way.push(step);
            played.play(&state, step);
            played.check(&next.ledger, &way);
            (state, taken) = (next, taken + 1);
        }
    }
    taken
}

/// The ledger, and the backup that was made of it.
struct Played {
    ledger: MemoryLedger,
    backup: Option<MemoryLedger>,
    clock: Arc<ManualClock>,
    keyed: bool,
    /// Counts the contents of the line of a batch.
    content: u8,
}

fn appid() -> AppId {
    "wx1".parse().unwrap()
}

fn grant() -> Grant {
    Grant::assume_verified("o", "T", 7).unwrap()
}

fn message_id(at: usize) -> MessageId {
    MessageId::from_bytes([u8::try_from(at).unwrap() + 1; 16])
}

fn grant_id(at: usize) -> GrantId {
    GrantId::from_bytes([u8::try_from(at).unwrap() + 1; 16])
}

fn worker_id(owner: Owner) -> WorkerId {
    WorkerId::from_bytes([owner.worker * 100 + owner.boot + 1; 16])
}

impl Played {
    /// A ledger in the state at which the model begins.
    fn new(start: &State, keyed: bool) -> Self {
        let clock = Arc::new(ManualClock::new());
        let ledger = MemoryLedger::with_clock(clock.clone());
        let played = Self { ledger, backup: None, clock, keyed, content: 0 };
        for worker in 0..WORKERS {
            played.register(Owner { worker: u8::try_from(worker).unwrap(), boot: 0 });
        }
        if start.ledger.grants[0].is_some() {
            played.consent(0);
        }
        if start.ledger.messages[0].is_some() {
            played.enqueue(0);
        }
        played
    }

    fn apply(&self, change: Change) -> Applied {
        let mut applied = self.ledger.commit(vec![change]).now_or_never().unwrap().unwrap();
        applied.remove(0).unwrap()
    }

    fn register(&self, owner: Owner) {
        self.apply(Change::Register(worker_id(owner)));
    }

    fn consent(&self, at: usize) {
        let consent =
            NewConsent { grant: grant_id(at), subject: Subject::new(appid(), &grant()), nonce: None };
        self.apply(Change::RecordConsent(Box::new(consent)));
    }

    fn enqueue(&self, at: usize) {
        self.record(at, 0, self.keyed.then_some(KeyKind::Request));
    }

    /// The line of a batch.
    fn line(&mut self, at: usize, changed: bool) {
        self.content += u8::from(changed);
        self.record(at, self.content, Some(KeyKind::Batch));
    }

    /// The row that a copier has read, whose id is that of its message.
    fn row(&self, before: &State, row: usize, copier: usize, new: Option<usize>) {
        let copying = before.inbox.copiers[copier].unwrap();
        let known = before.ledger.rows[row].map(|(message, _)| usize::from(message));
        self.record(known.or(new).unwrap(), u8::from(copying.second), Some(KeyKind::Inbox));
    }

    fn record(&self, at: usize, content: u8, kind: Option<KeyKind>) {
        let body = Message::builder(grant()).title("Title").content(content.to_string()).build().unwrap();
        let mut new = NewMessage::new(message_id(at), appid(), body);
        if let Some(kind) = kind {
            let key = match kind {
                KeyKind::Inbox => message_id(at).to_string(),
                KeyKind::Request | KeyKind::Batch => "order-4711".to_owned(),
            };
            new = new.with_key("outbox", "", IdempotencyKey::new(key).unwrap(), kind);
        }
        self.apply(Change::Enqueue(Box::new(new)));
    }

    /// Messages in a state, in the order in which the ledger takes them.
    fn in_order(&self, wanted: MessageState) -> Vec<MessageId> {
        let query = MessageQuery { state: Some(wanted), ..MessageQuery::new(appid()) };
        let mut found = self.ledger.messages(&query).now_or_never().unwrap().unwrap();
        if wanted == MessageState::Queued {
            found.sort_by_key(|message| (message.due_at, message.id));
        }
        found.iter().map(|message| message.id).collect()
    }

    /// Whether the ledger would take this message, where it chooses.
    fn can_play(&self, state: &State, step: Step) -> bool {
        let first = match step.act {
            Act::Claim => self.in_order(MessageState::Queued).into_iter().next(),
            Act::Reclaim => self.in_order(MessageState::Attempting).into_iter().find(|id| {
                let at = (0..MESSAGES).find(|at| message_id(*at) == *id).unwrap();
                state.ledger.messages[at]
                    .and_then(|row| row.owner)
                    .is_some_and(|owner| state.ledger.is_gone(owner))
            }),
            _ => return true,
        };
        first == Some(message_id(step.message))
    }

    fn settle(&self, at: usize, attempt: u8, owner: Owner, settlement: Settlement) {
        let refused =
            |code| message::Settlement::Refused(Detail { errcode: Some(code), ..Detail::default() });
        let settlement = match settlement {
            Settlement::Sent => message::Settlement::Sent,
            Settlement::NoConsent => refused(ErrCode::USER_REFUSED),
            Settlement::Refused => refused(ErrCode::INVALID_TEMPLATE_ID),
            Settlement::NotSent => message::Settlement::NotSent(Detail::default()),
            Settlement::Unknown => message::Settlement::Unknown(Detail::default()),
        };
        let (message, worker, attempt) = (message_id(at), worker_id(owner), attempt.into());
        self.apply(Change::Settle { message, worker, attempt, settlement, max_failures: u32::MAX });
    }

    /// What the step does to the ledger.
    fn play(&mut self, before: &State, step: Step) {
        let (at, worker) = (step.message, step.worker);
        let owner = before.workers[worker].owner(worker);
        let task = before.workers[worker].task;
        let new = before.free_message();
        match step.act {
            Act::Claim => {
                self.clock.advance(LONG);
                self.apply(Change::Claim { worker: worker_id(owner), appid: appid(), limit: 1 });
            }
            Act::Settle | Act::Fault(Fault::SettleReplyIsLost) => {
                let task = task.unwrap();
                let Stage::Ended(settlement) = task.stage else { panic!("{task:?}") };
                self.settle(at, task.attempt, Owner { boot: task.boot, ..owner }, settlement);
            }
            Act::Release => {
                let attempt = before.ledger.messages[at].unwrap().attempt;
                self.settle(at, attempt, owner, Settlement::NotSent);
            }
            Act::MarkGone => {
                for boot in 0..owner.boot + u8::from(before.workers[worker].stopped) {
                    self.apply(Change::MarkGone(Gone::One(worker_id(Owner { boot, ..owner }))));
                }
            }
            Act::Reclaim => drop(self.apply(Change::Reclaim(1))),
            Act::BeAnother | Act::Fault(Fault::Crash) => {
                self.register(Owner { boot: owner.boot + 1, ..owner });
            }
            Act::Repeat | Act::Wish(Wish::Enqueue) | Act::Fault(Fault::EnqueueReplyIsLost) => {
                self.enqueue(new.unwrap_or(MESSAGES));
            }
            Act::Wish(Wish::Consent) => {
                self.consent(before.ledger.grants.iter().position(Option::is_none).unwrap_or(MESSAGES));
            }
            Act::RecordRow | Act::Fault(Fault::RecordReplyIsLost) => {
                self.row(before, at, worker, new);
            }
            Act::Wish(Wish::Line { changed }) => self.line(new.unwrap_or(MESSAGES), changed),
            Act::Wish(Wish::Cancel) => {
                self.apply(Change::Cancel { message: message_id(at), by: "ops".to_owned() });
            }
            Act::Wish(Wish::Decide(decision)) => {
                self.clock.advance(LONG);
                let (message, child) = (message_id(at), message_id(new.unwrap_or(MESSAGES)));
                let (by, note) = ("ops".to_owned(), String::new());
                let decision = NewDecision { message, decision, by, note, seen: None, child };
                self.apply(Change::Decide(Box::new(decision)));
            }
            Act::Wish(Wish::Backup) => self.backup = Some(self.ledger.backup(self.clock.clone())),
            Act::Fault(Fault::Restore) => {
                self.ledger = self.backup.take().unwrap();
                self.apply(Change::Restore);
            }
            _ => {}
        }
    }

    fn check(&self, rows: &Rows, way: &[Step]) {
        for at in 0..MESSAGES {
            let found = self.ledger.message(message_id(at)).now_or_never().unwrap().unwrap();
            let seen = found.map(|found| {
                let decision = found.decision.map(|decided| decided.decision);
                (found.state, found.attempt, found.worker, found.grant, decision)
            });
            let expected = rows.messages[at].map(|row| {
                let grant = row.grant.map(|grant| grant_id(grant.into()));
                (row.state, u32::from(row.attempt), row.owner.map(worker_id), grant, row.decision)
            });
            assert_eq!(seen, expected, "message {at} after {way:?}");
        }
        let grants = self.ledger.grants(&appid(), grant().openid()).now_or_never().unwrap().unwrap();
        for at in 0..rows.grants.len() {
            let found: Option<GrantState> =
                grants.iter().find(|grant| grant.id == grant_id(at)).map(|grant| grant.state);
            assert_eq!(found, rows.grants[at], "grant {at} after {way:?}");
        }
    }
}
