//! Ledgers of several processes on one database, and short ways to ask them.

use std::collections::BTreeMap;

use tokio_postgres::Client;
use wxsub_core::clock::UnixMillis;
use wxsub_core::consent::Nonce;
use wxsub_outbox::grant::{Consent, Subject};
use wxsub_outbox::id::{IdGenerator, MessageId, WorkerId};
use wxsub_outbox::ledger::{
    Applied, Change, FromApplied, KeyKind, NewConsent, NewMessage, NotRecorded, Recorded,
};
use wxsub_outbox::message::{DEFAULT_MAX_FAILURES, Settlement, StoredMessage};
use wxsub_outbox::state::MessageState;
use wxsub_outbox::{Ledger, LedgerResult};
use wxsub_postgres::{PostgresLedger, PostgresOptions};
use wxsub_proto::{AppId, Grant, Message};
use wxsub_test_support::Postgres;

pub(super) const NOW: UnixMillis = UnixMillis::new(1_780_000_000_000);

pub(super) fn appid() -> AppId {
    "wx1".parse().unwrap()
}

/// One process: its ledger, and its worker.
pub(super) struct Process {
    pub(super) ledger: PostgresLedger,
    pub(super) worker: WorkerId,
    ids: IdGenerator,
}

impl Process {
    pub(super) async fn start(postgres: &Postgres) -> Self {
        Self::connect(&postgres.url()).await
    }

    pub(super) async fn connect(url: &str) -> Self {
        let ledger = PostgresLedger::connect(PostgresOptions::new(url)).await.unwrap();
        let ids = IdGenerator::new(None);
        let worker = ids.worker(NOW).unwrap();
        let process = Self { ledger, worker, ids };
        process.apply(Change::Register(worker)).await.unwrap();
        process
    }

    pub(super) async fn apply(&self, change: Change) -> LedgerResult<Applied> {
        self.ledger.commit(vec![change]).await?.remove(0)
    }

    /// What the change gives.
    pub(super) async fn apply_for<T: FromApplied>(&self, change: Change) -> T {
        T::from_applied(self.apply(change).await.unwrap()).unwrap()
    }

    pub(super) fn message(&self, user: &str) -> NewMessage {
        let grant = Grant::assume_verified(user, "T", 7).unwrap();
        let body = Message::builder(grant).title("Title").content("Text").build().unwrap();
        NewMessage::new(self.ids.message(NOW).unwrap(), appid(), body)
    }

    pub(super) fn keyed(&self, key: &str, user: &str) -> NewMessage {
        self.message(user).with_key("outbox", "", key.parse().unwrap(), KeyKind::Request)
    }

    pub(super) fn consent(&self, user: &str, nonce: Option<[u8; 16]>) -> Change {
        let subject = Subject::new(appid(), &Grant::assume_verified(user, "T", 7).unwrap());
        let nonce = nonce.map(|bytes| Nonce::from_parts(bytes, NOW));
        Change::RecordConsent(Box::new(NewConsent { grant: self.ids.grant(NOW).unwrap(), subject, nonce }))
    }

    pub(super) async fn record_consent(&self, user: &str) -> Consent {
        self.apply_for(self.consent(user, None)).await
    }

    pub(super) async fn enqueue(&self, new: NewMessage) -> Result<Recorded, NotRecorded> {
        self.apply_for(Change::Enqueue(Box::new(new))).await
    }

    pub(super) fn claim(&self, limit: usize) -> Change {
        Change::Claim { worker: self.worker, appid: appid(), limit }
    }

    pub(super) async fn claimed(&self, limit: usize) -> Vec<StoredMessage> {
        self.apply_for(self.claim(limit)).await
    }

    pub(super) fn settle(message: &StoredMessage, settlement: Settlement) -> Change {
        Change::Settle {
            message: message.id,
            worker: message.worker.unwrap(),
            attempt: message.attempt,
            settlement,
            max_failures: DEFAULT_MAX_FAILURES,
        }
    }

    pub(super) async fn state(&self, id: MessageId) -> MessageState {
        self.ledger.message(id).await.unwrap().unwrap().state
    }
}

/// No row refers to nothing, the counts equal a recount, and no grant has two messages.
pub(super) async fn check(process: &Process, sql: &Client) {
    let app = process.ledger.app(&appid()).await.unwrap();
    let mut recount = BTreeMap::new();
    let recounted = "SELECT state, count(*) FROM wxsub_message GROUP BY state";
    for row in sql.query(recounted, &[]).await.unwrap() {
        let state: MessageState = row.get::<_, &str>(0).parse().unwrap();
        recount.insert(state, u64::try_from(row.get::<_, i64>(1)).unwrap());
    }
    assert_eq!(app.counts, recount);
    for (what, query) in [
        (
            "events without a message",
            "SELECT count(*) FROM wxsub_event AS e WHERE NOT EXISTS (SELECT 1 FROM wxsub_message AS m WHERE m.id = e.message_id)",
        ),
        (
            "messages whose history has a gap",
            "SELECT count(*) FROM wxsub_message AS m
             WHERE m.version <> (SELECT count(*) FROM wxsub_event AS e WHERE e.message_id = m.id)",
        ),
        (
            "grants whose state is not that of their message",
            "SELECT count(*) FROM wxsub_message AS m JOIN wxsub_grant AS g ON g.id = m.grant_id
             WHERE m.state = 'queued' AND g.state <> 'reserved' OR m.state = 'attempting' AND g.state <> 'attempting'
                OR m.state = 'sent' AND g.state <> 'used' OR m.state = 'maybe_sent' AND g.state <> 'in_doubt'",
        ),
    ] {
        assert_eq!(sql.query_one(query, &[]).await.unwrap().get::<_, i64>(0), 0, "{what}");
    }
}
