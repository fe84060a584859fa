//! Many changes in one commit do what they do one after the other: random changes, compared with the ledger in memory.

use std::collections::BTreeSet;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use super::fixture::{Fixture, MINUTE, SECOND, not_accepted, not_sent, refused, unknown, weixin_grant};
use crate::grant::Subject;
use crate::id::{GrantId, MessageId, WorkerId, split_mix};
use crate::idempotency::{Fingerprint, INBOX_CLIENT, IdempotencyKey};
use crate::ledger::{
    Applied, Change, Gone, InvalidLine, InvalidMessage, KeyKind, Ledger, LedgerResult, MemoryLedger,
    MessageQuery, NewConsent, NewDecision, NewKey, NewMessage, Recorded,
};
use crate::message::{NotAccepted, Settlement, StoredMessage};
use crate::retention::Retention;
use crate::state::{Decision, MessageState, Priority};

/// How many sequences of changes are compared.
const SEQUENCES: u64 = 20;

/// How many commits each has.
const COMMITS: usize = 40;

/// So many that most messages find no grant in use.
const USERS: [&str; 16] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"];

/// Makes changes. What they are about was made before, or is made in the same commit.
struct Changes<'a> {
    fixture: &'a Fixture,
    state: u64,
    messages: Vec<MessageId>,
    grants: Vec<GrantId>,
    workers: Vec<WorkerId>,
    /// Attempts that some commit began.
    attempts: Vec<(MessageId, WorkerId, u32)>,
}

impl Changes<'_> {
    fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap();
        usize::try_from(split_mix(&mut self.state) % limit).unwrap()
    }

    fn one<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() {
            return None;
        }
        // Rather a late one: the early ones are final.
        let (one, other) = (self.below(all.len()), self.below(all.len()));
        all.get(one.max(other)).copied()
    }

    fn worker(&mut self) -> WorkerId {
        let all = self.workers.clone();
        self.one(&all).unwrap()
    }

    fn message(&mut self) -> MessageId {
        let all = self.messages.clone();
        self.one(&all).unwrap_or_else(|| MessageId::from_bytes([0; 16]))
    }

    fn key(&mut self, kind: KeyKind) -> NewKey {
        let fingerprint = Fingerprint::of_bytes(&[u8::try_from(self.below(2)).unwrap()]);
        let key = IdempotencyKey::new(format!("key{}", self.below(6))).unwrap();
        let client = match kind {
            KeyKind::Request => String::new(),
            KeyKind::Batch => "batch:b".to_owned(),
            KeyKind::Inbox => INBOX_CLIENT.to_owned(),
        };
        NewKey { client, key, fingerprint, kind }
    }

    fn new_message(&mut self) -> Box<NewMessage> {
        let user = USERS[self.below(USERS.len())];
        let mut new = self.fixture.new_message(user);
        let now = self.fixture.now();
        new.priority = Priority::ALL[self.below(Priority::ALL.len())];
        new.require_grant = self.below(3) == 0;
        new.send_at = match self.below(4) {
            0 => Some(now.before(Duration::from_secs(u64::try_from(self.below(9)).unwrap()))),
            1 => Some(now + MINUTE),
            _ => None,
        };
        new.expires_at = (self.below(4) == 0).then(|| now + 2 * MINUTE);
        new.key = match self.below(6) {
            0 => Some(self.key(KeyKind::Request)),
            1 => Some(self.key(KeyKind::Batch)),
            2 => Some(self.key(KeyKind::Inbox)),
            _ => None,
        };
        self.messages.push(new.id);
        Box::new(new)
    }

    fn settlement(&mut self) -> Settlement {
        match self.below(12) {
            0 => refused(40003),
            1 => refused(43101),
            2 | 3 => not_sent(),
            4 => not_accepted(NotAccepted::MinuteQuota),
            5 if self.below(2) == 0 => not_accepted(NotAccepted::NoToken),
            6 if self.below(3) == 0 => not_accepted(NotAccepted::DailyQuota),
            7 => unknown(),
            _ => Settlement::Sent,
        }
    }

    fn next(&mut self) -> Change {
        let appid = self.fixture.appid.clone();
        match self.below(30) {
            0..6 => {
                let grant = self.fixture.new_grant_id();
                self.grants.push(grant);
                let subject = Subject::new(appid, &weixin_grant(USERS[self.below(USERS.len())]));
                let nonce = (self.below(2) == 0).then(|| self.fixture.nonce());
                Change::RecordConsent(Box::new(NewConsent { grant, subject, nonce }))
            }
            6..12 => Change::Enqueue(self.new_message()),
            12 => {
                let (id, key) = (self.new_message().id, self.key(KeyKind::Batch));
                let line = InvalidLine { problems: "title: is empty".to_owned(), ..InvalidLine::default() };
                Change::RecordInvalid(Box::new(InvalidMessage { id, appid, line, key }))
            }
            13 => Change::Begin(self.new_message(), self.worker()),
            14..17 => Change::Claim { worker: self.worker(), appid, limit: 1 + self.below(6) },
            17..23 => {
                let attempts = self.attempts.clone();
                let random = (self.message(), self.worker(), 1);
                let (message, worker, attempt) = self.one(&attempts).unwrap_or(random);
                Change::Settle { message, worker, attempt, settlement: self.settlement(), max_failures: 2 }
            }
            23 => Change::Cancel { message: self.message(), by: "ops".to_owned() },
            24 | 25 => {
                let decision = Decision::ALL[self.below(Decision::ALL.len())];
                let child = self.fixture.new_message("a").id;
                self.messages.push(child);
                let (message, by, note) = (self.message(), "ops".to_owned(), "looked".to_owned());
                Change::Decide(Box::new(NewDecision { message, decision, by, note, seen: None, child }))
            }
            26 => {
                let all = self.grants.clone();
                Change::VoidGrant {
                    grant: self.one(&all).unwrap_or_else(|| GrantId::from_bytes([0; 16])),
                    appid: None,
                }
            }
            27 => match self.below(5) {
                0 => Change::Pause { appid, by: "ops".to_owned(), note: String::new() },
                1 => Change::Heartbeat(self.worker()),
                2 => Change::MarkGone(Gone::One(self.worker())),
                3 => Change::Reclaim(9),
                _ => Change::ApplyPolicy(appid, Decision::AssumeSent, 9),
            },
            28 => match self.below(5) {
                0 => Change::Expire(9),
                3 => Change::Reschedule(9),
                1 => Change::Prune(Retention::default(), 100),
                2 => Change::PruneBatch { appid, client: "batch:b".to_owned() },
                // It fails.
                _ => Change::ApplyPolicy(appid, Decision::SendAgain, 9),
            },
            _ => Change::Resume(appid),
        }
    }

    /// What came of a batch.
    fn see(&mut self, applied: &[Result<Applied, ()>]) {
        let begun = applied.iter().flatten().flat_map(|applied| match applied {
            Applied::Messages(messages) => messages.as_slice(),
            Applied::Recorded(Ok(Recorded::New(message))) => slice::from_ref(&**message),
            _ => &[],
        });
        let attempt = |message: &StoredMessage| Some((message.id, message.worker?, message.attempt));
        self.attempts.extend(begun.filter_map(attempt));
    }

    /// A batch. Most begin with an app that does not wait.
    fn batch(&mut self) -> Vec<Change> {
        let many = 1 + self.below(16);
        let resume = (self.below(4) > 0).then(|| Change::Resume(self.fixture.appid.clone()));
        resume.into_iter().chain((0..many).map(|_| self.next())).collect()
    }
}

/// Without what a ledger may choose: the order of rows that no rule orders, and the words of an error.
fn comparable(applied: LedgerResult<Applied>) -> Result<Applied, ()> {
    Ok(match applied.map_err(drop)? {
        Applied::Beat(Some(mut beat)) => {
            beat.attempts.sort_unstable();
            Applied::Beat(Some(beat))
        }
        other => other,
    })
}

pub(super) async fn changes_in_one_commit_are_as_one_after_the_other(fixture: &Fixture) {
    let reference = MemoryLedger::with_clock(fixture.clock.clone());
    reference.commit(vec![Change::Register(fixture.worker)]).await.unwrap();
    let (workers, attempts) = (vec![fixture.worker], Vec::new());
    let mut changes =
        Changes { fixture, state: 1, messages: Vec::new(), grants: Vec::new(), workers, attempts };
    let mut states = BTreeSet::new();
    for sequence in 0..SEQUENCES {
        for commit in 0..COMMITS {
            let batch = changes.batch();
            let mut expected = Vec::new();
            for change in batch.clone() {
                expected.extend(reference.commit(vec![change]).await.unwrap().into_iter().map(comparable));
            }
            let applied = fixture.ledger.commit(batch.clone()).await.unwrap();
            let applied: Vec<_> = applied.into_iter().map(comparable).collect();
            for ((change, applied), expected) in batch.iter().zip(&applied).zip(&expected) {
                assert_eq!(applied, expected, "sequence {sequence}, commit {commit}: {change:?}");
            }
            changes.see(&applied);
            assert_eq!(applied.len(), expected.len());
            fixture.clock.advance(SECOND * u32::try_from(changes.below(20)).unwrap());
        }
        states.extend(compare(fixture, &reference).await.iter().map(|message| message.state));
        // The next sequence has workers that live.
        fixture.clock.advance(3 * MINUTE);
        let worker = fixture.new_worker_id();
        changes.workers.push(worker);
        for change in [Change::Register(worker), Change::Resume(fixture.appid.clone())] {
            fixture.apply(change.clone()).await;
            reference.commit(vec![change]).await.unwrap();
        }
    }
    assert_eq!(states.len(), MessageState::ALL.len(), "not every state was reached: {states:?}");
}

/// All rows, and the messages.
async fn compare(fixture: &Fixture, reference: &MemoryLedger) -> Vec<StoredMessage> {
    let (ledger, appid) = (Arc::clone(&fixture.ledger), &fixture.appid);
    assert_eq!(ledger.app(appid).await, reference.app(appid).await);
    let query = MessageQuery::new(appid.clone());
    let messages = ledger.messages(&query).await.unwrap();
    assert_eq!(messages, reference.messages(&query).await.unwrap());
    for message in &messages {
        assert_eq!(ledger.history(message.id).await, reference.history(message.id).await);
    }
    for user in USERS {
        let openid = user.parse().unwrap();
        assert_eq!(ledger.grants(appid, &openid).await, reference.grants(appid, &openid).await);
    }
    messages
}
