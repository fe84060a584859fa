//! A ledger with one app, its clock, and short ways to ask it.

use std::sync::Arc;
use std::time::Duration;

use wxsub_core::ConsentVerifier;
use wxsub_core::clock::{Clock, UnixMillis};
use wxsub_core::consent::{Nonce, SigningKey};
use wxsub_core::testing::ManualClock;
use wxsub_proto::{AppId, ConsentCallback, ErrCode, Grant, Message, Scene};

use crate::app::StoredApp;
use crate::grant::{Consent, Subject};
use crate::id::{GrantId, IdGenerator, MessageId, WorkerId};
use crate::ledger::{
    Applied, Change, FromApplied, KeyKind, Ledger, MessageQuery, NewConsent, NewDecision, NewMessage,
    NotCancelled, NotDecided, NotRecorded, PruneReport, Recorded,
};
use crate::message::{DEFAULT_MAX_FAILURES, Detail, NotAccepted, Settlement, StoredMessage};
use crate::retention::Retention;
use crate::state::{Decision, GrantState, MessageState, Reason};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a message and its grant look like from outside.
pub(super) type Seen = (MessageState, Option<Reason>, Option<GrantState>);

pub(super) struct Fixture {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) appid: AppId,
    pub(super) worker: WorkerId,
    ids: IdGenerator,
}

impl Fixture {
    pub(super) async fn new(make: &impl AsyncFn(Arc<ManualClock>) -> Arc<dyn Ledger>) -> Self {
        let clock = Arc::new(ManualClock::new());
        let (ledger, ids) = (make(Arc::clone(&clock)).await, IdGenerator::new(Some(1)));
        let worker = ids.worker(clock.now().wall).unwrap();
        let fixture = Self { ledger, clock, appid: "wx1".parse().unwrap(), worker, ids };
        fixture.apply(Change::Register(worker)).await;
        fixture
    }

    pub(super) fn now(&self) -> UnixMillis {
        self.clock.now().wall
    }

    /// Time passes, and the worker's session goes on beating.
    pub(super) async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.apply(Change::Heartbeat(self.worker)).await;
    }

    pub(super) async fn apply(&self, change: Change) -> Applied {
        let mut applied = self.ledger.commit(vec![change]).await.unwrap();
        assert_eq!(applied.len(), 1, "one change gives one result");
        applied.remove(0).unwrap()
    }

    /// What the change gives.
    pub(super) async fn apply_for<T: FromApplied>(&self, change: Change) -> T {
        T::from_applied(self.apply(change).await).unwrap()
    }

    pub(super) async fn messages(&self, change: Change) -> Vec<StoredMessage> {
        self.apply_for(change).await
    }

    pub(super) async fn register(&self) -> WorkerId {
        let worker = self.ids.worker(self.now()).unwrap();
        self.apply(Change::Register(worker)).await;
        worker
    }

    /// The nonce of a callback that is genuine.
    pub(super) fn nonce(&self) -> Nonce {
        let key = SigningKey::new(&[7; 32]).unwrap();
        let verifier = ConsentVerifier::new(self.appid.clone(), key).clock(self.clock.clone());
        let request = verifier.issue("T".parse().unwrap(), Scene::new(7).unwrap(), "session").unwrap();
        let reserved = request.reserved.unwrap();
        let callback =
            format!("https://a.example/?openid=o&template_id=T&action=confirm&scene=7&reserved={reserved}");
        let callback: ConsentCallback = callback.parse().unwrap();
        verifier.verify(&callback, "session").unwrap().nonce()
    }

    pub(super) async fn consent(&self, user: &str) -> Consent {
        self.consent_with(user, Some(self.nonce())).await
    }

    pub(super) async fn consent_with(&self, user: &str, nonce: Option<Nonce>) -> Consent {
        let subject = Subject::new(self.appid.clone(), &weixin_grant(user));
        let grant = self.ids.grant(self.now()).unwrap();
        self.apply_for(Change::RecordConsent(Box::new(NewConsent { grant, subject, nonce }))).await
    }

    pub(super) fn new_grant_id(&self) -> GrantId {
        self.ids.grant(self.now()).unwrap()
    }

    pub(super) fn new_worker_id(&self) -> WorkerId {
        self.ids.worker(self.now()).unwrap()
    }

    pub(super) fn new_message(&self, user: &str) -> NewMessage {
        self.new_message_of(&self.appid, user)
    }

    pub(super) fn new_message_of(&self, appid: &AppId, user: &str) -> NewMessage {
        let body = Message::builder(weixin_grant(user)).title("Title").content("Text").build().unwrap();
        NewMessage::new(self.ids.message(self.now()).unwrap(), appid.clone(), body)
    }

    pub(super) fn with_key(&self, key: &str, message: NewMessage) -> NewMessage {
        message.with_key("outbox", "", key.parse().unwrap(), KeyKind::Request)
    }

    pub(super) async fn record(&self, message: NewMessage) -> Result<Recorded, NotRecorded> {
        self.apply_for(Change::Enqueue(Box::new(message))).await
    }

    pub(super) async fn begin(&self, message: NewMessage) -> Result<Recorded, NotRecorded> {
        self.apply_for(Change::Begin(Box::new(message), self.worker)).await
    }

    pub(super) async fn enqueue(&self, user: &str) -> MessageId {
        self.record(self.new_message(user)).await.unwrap().message().id
    }

    pub(super) async fn claim(&self, worker: WorkerId) -> Vec<StoredMessage> {
        self.claim_some(worker, &self.appid, 100).await
    }

    pub(super) async fn claim_some(
        &self,
        worker: WorkerId,
        appid: &AppId,
        limit: usize,
    ) -> Vec<StoredMessage> {
        self.messages(Change::Claim { worker, appid: appid.clone(), limit }).await
    }

    pub(super) async fn cancel(&self, message: MessageId) -> Result<StoredMessage, NotCancelled> {
        self.apply_for(Change::Cancel { message, by: "ops".to_owned() }).await
    }

    pub(super) async fn pause(&self, appid: &AppId) {
        let (appid, by, note) = (appid.clone(), "ops".to_owned(), "night".to_owned());
        self.apply(Change::Pause { appid, by, note }).await;
    }

    /// A consent, its message, and the claim of that message.
    pub(super) async fn claimed(&self, user: &str) -> StoredMessage {
        self.consent(user).await;
        let id = self.enqueue(user).await;
        self.claim_one(id).await
    }

    /// Claims all that is due, and gives this one.
    pub(super) async fn claim_one(&self, id: MessageId) -> StoredMessage {
        let claimed = self.claim(self.worker).await;
        claimed.into_iter().find(|message| message.id == id).unwrap()
    }

    pub(super) async fn maybe_sent(&self, user: &str) -> StoredMessage {
        let claimed = self.claimed(user).await;
        self.settle(&claimed, unknown()).await.unwrap()
    }

    pub(super) async fn sent(&self, user: &str) -> StoredMessage {
        let claimed = self.claimed(user).await;
        self.settle(&claimed, Settlement::Sent).await.unwrap()
    }

    pub(super) async fn settle(
        &self,
        claimed: &StoredMessage,
        settlement: Settlement,
    ) -> Option<StoredMessage> {
        self.settle_with(claimed, settlement, DEFAULT_MAX_FAILURES).await
    }

    pub(super) async fn settle_with(
        &self,
        claimed: &StoredMessage,
        settlement: Settlement,
        max_failures: u32,
    ) -> Option<StoredMessage> {
        let (message, attempt, worker) = (claimed.id, claimed.attempt, claimed.worker.unwrap());
        self.apply_for(Change::Settle { message, worker, attempt, settlement, max_failures }).await
    }

    pub(super) fn new_decision(&self, message: MessageId, decision: Decision) -> NewDecision {
        let child = self.ids.message(self.now()).unwrap();
        NewDecision { message, decision, by: "ops".to_owned(), note: "looked".to_owned(), seen: None, child }
    }

    pub(super) async fn decide(
        &self,
        decision: NewDecision,
    ) -> Result<(StoredMessage, Option<StoredMessage>), NotDecided> {
        self.apply_for(Change::Decide(Box::new(decision))).await
    }

    pub(super) async fn prune(&self, limit: usize) -> PruneReport {
        self.apply_for(Change::Prune(Retention::default(), limit)).await
    }

    /// Decides after an hour.
    pub(super) async fn decide_later(
        &self,
        message: MessageId,
        decision: Decision,
    ) -> (StoredMessage, Option<StoredMessage>) {
        self.pass(HOUR).await;
        self.decide(self.new_decision(message, decision)).await.unwrap()
    }

    pub(super) async fn get(&self, id: MessageId) -> StoredMessage {
        self.ledger.message(id).await.unwrap().unwrap()
    }

    pub(super) async fn all(&self) -> Vec<StoredMessage> {
        self.ledger.messages(&MessageQuery::new(self.appid.clone())).await.unwrap()
    }

    pub(super) async fn app(&self) -> StoredApp {
        self.ledger.app(&self.appid).await.unwrap()
    }

    /// The states of a user's grants, oldest first.
    pub(super) async fn grants(&self, user: &str) -> Vec<GrantState> {
        let grants = self.ledger.grants(&self.appid, &user.parse().unwrap()).await.unwrap();
        grants.iter().map(|grant| grant.state).collect()
    }

    pub(super) async fn seen(&self, id: MessageId) -> Seen {
        let message = self.get(id).await;
        let grants = self.ledger.grants(&self.appid, message.touser.as_ref().unwrap()).await.unwrap();
        let state = message.grant.map(|id| grants.iter().find(|grant| grant.id == id).unwrap().state);
        (message.state, message.reason, state)
    }
}

pub(super) fn new(recorded: Result<Recorded, NotRecorded>) -> StoredMessage {
    match recorded {
        Ok(Recorded::New(message)) => *message,
        other => panic!("not new: {other:?}"),
    }
}

pub(super) fn replayed(recorded: Result<Recorded, NotRecorded>) -> StoredMessage {
    match recorded {
        Ok(Recorded::Replayed(message)) => *message,
        other => panic!("not replayed: {other:?}"),
    }
}

pub(super) fn weixin_grant(user: &str) -> Grant {
    Grant::assume_verified(user, "T", 7).unwrap()
}

pub(super) fn refused(code: i64) -> Settlement {
    Settlement::Refused(Detail { errcode: Some(ErrCode::new(code)), ..Detail::default() })
}

pub(super) fn not_sent() -> Settlement {
    Settlement::NotSent(Detail::default())
}

pub(super) fn not_accepted(why: NotAccepted) -> Settlement {
    let errcode = match why {
        NotAccepted::StaleToken => Some(ErrCode::INVALID_CREDENTIAL),
        NotAccepted::DailyQuota => Some(ErrCode::DAILY_QUOTA),
        NotAccepted::MinuteQuota => Some(ErrCode::MINUTE_QUOTA),
        NotAccepted::NoToken => None,
    };
    Settlement::NotAccepted(why, Detail { errcode, ..Detail::default() })
}

pub(super) fn unknown() -> Settlement {
    Settlement::Unknown(Detail::unknown("no response"))
}
