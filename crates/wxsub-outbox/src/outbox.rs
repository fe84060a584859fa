//! The outbox: records consents and messages, and sends what is due.

mod app;
mod batch;
mod error;
mod inner;
mod message;
mod pace;
mod send;
mod wake;
mod watch;
mod webhooks;
mod writer;

pub use app::{App, Gate, MaybeSentPolicy};
pub use batch::{Batch, InvalidLine};
pub use error::OutboxError;
pub(crate) use inner::Inner;
pub use message::OutboxMessage;
pub use watch::{MissedOutcomes, Outcomes};
pub use writer::{CommitEvent, LedgerFailure};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use derive_setters::Setters;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::consent::VerifiedConsent;
use wxsub_proto::{AppId, Message};

use self::wake::Wake;
use self::watch::Finals;
use self::writer::Writer;
use crate::audit::AuditEntry;
use crate::grant::{Consent, StoredGrant, Subject};
use crate::id::{GrantId, IdGenerator, MessageId};
use crate::idempotency::IdempotencyKey;
use crate::inbox::InboxStatus;
pub use crate::ledger::Recorded as Receipt;
use crate::ledger::{
    Change, FromApplied, KeyKind, Ledger, NewConsent, NewDecision, NewMessage, NotCancelled, NotDecided,
    NotRecorded,
};
use crate::message::StoredMessage;
use crate::retention::Retention;
use crate::state::{AuditAction, Decision};
use crate::worker::WorkerSession;

/// How often an idle worker looks for messages that another process recorded, unless set otherwise.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Records consents and messages in a ledger, and sends what is due. Cheap to clone.
///
/// ```
/// # use std::sync::Arc;
/// # use bytes::Bytes;
/// # use wxsub_core::transport::{HttpRequest, TransportError};
/// use wxsub_core::Client;
/// use wxsub_core::proto::{Grant, Message, codec::RawResponse};
/// use wxsub_outbox::{App, MemoryLedger, Outbox, OutboxMessage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let transport = |request: HttpRequest| async move {
/// #     let body = match request.path() {
/// #         "/cgi-bin/token" => r#"{"access_token":"T","expires_in":7200}"#,
/// #         _ => r#"{"errcode":0,"errmsg":"ok"}"#,
/// #     };
/// #     Ok::<_, TransportError>(RawResponse::new(200, Bytes::from(body)))
/// # };
/// let client = Client::builder("wx0123456789abcdef", "SECRET", transport).build()?;
/// let outbox = Outbox::builder(MemoryLedger::new()).app(App::new("wx0123456789abcdef".parse()?, client)).build();
///
/// let grant = Grant::assume_verified("OPENID", "TEMPLATE_ID", 1000)?;
/// let message = Message::builder(grant).title("Parcel").content("It is here.").build()?;
/// let queued = outbox.enqueue(OutboxMessage::new(message).idempotency_key("order-4711".parse()?)).await?;
///
/// let worker = outbox.clone();
/// let sender = tokio::spawn(async move { worker.run(std::future::pending()).await });
/// let outcome = outbox.wait(queued.id()).await?;
/// assert_eq!(outcome.state.as_str(), "sent");
/// # sender.abort();
/// # Ok(()) }
/// ```
#[derive(Clone, derive_more::Debug)]
#[debug("Outbox {{ ledger: {:?}, apps: {:?} }}", inner.ledger, inner.apps.keys())]
pub struct Outbox {
    pub(crate) inner: Arc<Inner>,
    /// Of the worker that runs last.
    session: Arc<Mutex<Weak<WorkerSession>>>,
    /// The app that calls are about.
    app: Option<AppId>,
    /// Within which idempotency keys are one, besides the app.
    client: String,
    /// The operator and their address, if calls are appended to the audit.
    auditor: Option<(String, String)>,
}

/// Puts an [`Outbox`] together.
#[derive(derive_more::Debug, Setters)]
#[must_use]
pub struct OutboxBuilder {
    #[setters(skip)]
    ledger: Arc<dyn Ledger>,
    #[debug("{:?}", apps.keys())]
    #[setters(skip)]
    apps: BTreeMap<AppId, App>,
    /// On this clock.
    #[debug(skip)]
    clock: Arc<dyn Clock>,
    /// Makes ids from this seed, so that a run can be repeated.
    #[debug(skip)]
    #[setters(strip_option)]
    id_seed: Option<u64>,
    /// How often an idle worker looks for messages that another process recorded. 500 ms unless set otherwise.
    #[debug(skip)]
    poll_interval: Duration,
    /// How long rows are kept. Each worker deletes a few of the others with every heartbeat.
    #[debug(skip)]
    retention: Retention,
    #[debug(skip)]
    #[setters(skip)]
    on_commit: Arc<dyn Fn(&CommitEvent) + Send + Sync>,
}

impl Outbox {
    /// An outbox in this ledger.
    pub fn builder(ledger: impl Ledger + 'static) -> OutboxBuilder {
        Self::with_ledger(Arc::new(ledger))
    }

    /// An outbox in a ledger that is shared.
    pub fn with_ledger(ledger: Arc<dyn Ledger>) -> OutboxBuilder {
        OutboxBuilder {
            ledger,
            apps: BTreeMap::new(),
            clock: Arc::new(SystemClock::new()),
            id_seed: None,
            poll_interval: POLL_INTERVAL,
            retention: Retention::default(),
            on_commit: Arc::new(|_| ()),
        }
    }

    /// The same outbox for calls about this app. Needed where it has several.
    ///
    /// # Errors
    /// [`OutboxError::UnknownApp`] if it has no such app.
    pub fn for_app(&self, appid: &AppId) -> Result<Self, OutboxError> {
        if !self.inner.apps.contains_key(appid) {
            return Err(OutboxError::UnknownApp(appid.clone()));
        }
        Ok(Self { app: Some(appid.clone()), ..self.clone() })
    }

    /// The same outbox for calls of this client: the idempotency keys of different clients are different. Unless it is
    /// used, the client is `""`.
    #[must_use]
    pub fn for_client(&self, client: &str) -> Self {
        Self { client: client.to_owned(), ..self.clone() }
    }

    /// The same outbox for an operator at this address: each decision, withdrawal, pause, resume and redelivery, and each grant
    /// that is voided, is appended to the audit in the same transaction, also if the rules do not allow it.
    #[must_use]
    pub fn for_operator(&self, actor: &str, address: &str) -> Self {
        Self { auditor: Some((actor.to_owned(), address.to_owned())), ..self.clone() }
    }

    /// Appends a line to the audit that changes nothing else.
    ///
    /// # Errors
    /// [`OutboxError::Ledger`] if the ledger fails.
    ///
    /// # Cancel safety
    /// The line may or may not have been appended.
    pub async fn record_audit(&self, entry: AuditEntry) -> Result<(), OutboxError> {
        Ok(self.inner.writer.submit(Change::Audited(Box::new(entry), None)).await?)
    }

    /// Submits a change, with a line of the audit if an operator makes it.
    async fn act<T: FromApplied>(
        &self,
        action: AuditAction,
        subject: String,
        detail: &str,
        change: Change,
    ) -> Result<T, OutboxError> {
        let change = match &self.auditor {
            None => change,
            Some((actor, address)) => {
                let entry = AuditEntry {
                    actor: actor.clone(),
                    address: address.clone(),
                    action,
                    appid: self.app.clone(),
                    subject,
                    detail: detail.to_owned(),
                };
                Change::Audited(Box::new(entry), Some(Box::new(change)))
            }
        };
        Ok(self.inner.writer.submit(change).await?)
    }

    /// The ledger, to read from.
    #[must_use]
    pub fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.inner.ledger
    }

    pub(crate) fn set_session(&self, session: &Arc<WorkerSession>) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(session);
    }

    fn session(&self) -> Option<Arc<WorkerSession>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    fn app(&self) -> Result<&App, OutboxError> {
        let apps = &self.inner.apps;
        match &self.app {
            Some(appid) => apps.get(appid),
            None => apps.values().next().filter(|_| apps.len() == 1),
        }
        .ok_or(OutboxError::NoAppChosen)
    }

    /// Records a verified consent: its nonce is used up and its grant made in one transaction. `None` if the user declined,
    /// which uses up nothing.
    ///
    /// # Errors
    /// [`OutboxError::Ledger`] if the ledger fails; recording it again is safe.
    ///
    /// # Cancel safety
    /// The consent may or may not have been recorded; recording it again is safe.
    pub async fn record_consent(&self, verified: &VerifiedConsent) -> Result<Option<Consent>, OutboxError> {
        let VerifiedConsent::Granted { grant, nonce } = verified else { return Ok(None) };
        let subject = Subject::new(self.app()?.appid.clone(), grant);
        let grant = self.inner.ids.grant(self.inner.clock.now().wall)?;
        let consent = NewConsent { grant, subject, nonce: Some(*nonce) };
        Ok(Some(self.inner.writer.submit(Change::RecordConsent(Box::new(consent))).await?))
    }

    /// Voids an open grant of the app, or one in doubt that no message has. `None` if there is no such grant.
    ///
    /// # Errors
    /// [`OutboxError::Ledger`] if the ledger fails.
    ///
    /// # Cancel safety
    /// The grant may or may not have been voided.
    pub async fn void_grant(&self, grant: GrantId) -> Result<Option<StoredGrant>, OutboxError> {
        let appid = Some(self.app()?.appid.clone());
        let change = Change::VoidGrant { grant, appid };
        self.act(AuditAction::VoidGrant, grant.to_string(), "", change).await
    }

    /// Records a message. When this returns, it is not lost any more, and ends in exactly one final state.
    ///
    /// # Errors
    /// [`OutboxError::NotRecorded`] if its grant, its key or its times do not allow it. After
    /// [`LedgerError::Unknown`](crate::ledger::LedgerError::Unknown) it may have been recorded: enqueue it again with the same
    /// idempotency key.
    ///
    /// # Cancel safety
    /// The message may or may not have been recorded: enqueue it again with the same idempotency key.
    pub async fn enqueue(&self, message: OutboxMessage) -> Result<Receipt, OutboxError> {
        let OutboxMessage { message, send_at, expires_at, priority, idempotency_key } = message;
        if NewMessage::expires_too_early(send_at, expires_at) {
            return Err(NotRecorded::ExpiresTooEarly.into());
        }
        let new = NewMessage { send_at, expires_at, priority, ..self.new_message(message)? };
        self.record(Change::Enqueue(Box::new(self.with_key(new, "outbox", idempotency_key)?))).await
    }

    /// A message of the app, to be sent at once.
    fn new_message(&self, body: Message) -> Result<NewMessage, OutboxError> {
        let App { appid, require_grant, .. } = self.app()?;
        let id = self.inner.ids.message(self.inner.clock.now().wall)?;
        Ok(NewMessage { require_grant: *require_grant, ..NewMessage::new(id, appid.clone(), body) })
    }

    /// With the key of its sender, which the app may require.
    fn with_key(
        &self,
        new: NewMessage,
        route: &str,
        key: Option<IdempotencyKey>,
    ) -> Result<NewMessage, OutboxError> {
        match key {
            Some(key) => Ok(new.with_key(route, &self.client, key, KeyKind::Request)),
            None if self.app()?.require_idempotency_key => Err(OutboxError::KeyRequired),
            None => Ok(new),
        }
    }

    async fn record(&self, change: Change) -> Result<Receipt, OutboxError> {
        let recorded: Result<Receipt, NotRecorded> = self.inner.writer.submit(change).await?;
        Ok(recorded?)
    }

    /// Waits until a message is final, whichever process settles it.
    ///
    /// # Errors
    /// [`OutboxError::NoSuchMessage`] if there is none with this id, [`OutboxError::Ledger`] if the ledger cannot be read.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn wait(&self, id: MessageId) -> Result<StoredMessage, OutboxError> {
        let Inner { ledger, clock, poll_interval, finals, .. } = &*self.inner;
        loop {
            let mut outcomes = finals.subscribe();
            let message = ledger.message(id).await?.ok_or(OutboxError::NoSuchMessage(id))?;
            if message.state.is_final() {
                return Ok(message);
            }
            let next_look = clock.now().mono + *poll_interval;
            let ours = async {
                while let Ok(message) = outcomes.next().await {
                    if message.id == id {
                        return message;
                    }
                }
                std::future::pending().await
            };
            tokio::select! {
                biased;
                message = ours => return Ok(message),
                () = clock.sleep_until(next_look) => {}
            }
        }
    }

    /// What the [worker](Self::run) has done with the inbox in the ledger's own database, if the ledger has one.
    #[must_use]
    pub fn inbox_status(&self) -> tokio::sync::watch::Receiver<InboxStatus> {
        self.inner.inbox.subscribe()
    }

    /// Why commits to the ledger fail, those of the [worker](Self::run) included; `None` while they succeed. The worker goes on
    /// trying. A program that should not wait asks here, and ends it.
    #[must_use]
    pub fn ledger_failure(&self) -> Option<LedgerFailure> {
        self.inner.writer.failure()
    }

    /// The messages that this process finds final from now on, in their order. Those that became final earlier are in the
    /// [ledger](Self::ledger): read them after this call, so that none is missed.
    #[must_use]
    pub fn outcomes(&self) -> Outcomes {
        self.inner.finals.subscribe()
    }

    /// Withdraws a queued message.
    ///
    /// # Errors
    /// [`OutboxError::NotCancelled`] if it is not queued any more.
    ///
    /// # Cancel safety
    /// The message may or may not have been withdrawn.
    pub async fn cancel(&self, id: MessageId, by: &str) -> Result<StoredMessage, OutboxError> {
        let change = Change::Cancel { message: id, by: by.to_owned() };
        let cancelled: Result<_, NotCancelled> =
            self.act(AuditAction::Cancel, id.to_string(), "", change).await?;
        Ok(cancelled?)
    }

    /// Decides an undecided message. `seen` is the version that the operator looked at. Gives the message, and for
    /// [`Decision::SendAgain`] the one that is sent in its place.
    ///
    /// # Errors
    /// [`OutboxError::NotDecided`] says why the message stays as it is.
    ///
    /// # Cancel safety
    /// The message may or may not have been decided: look at it again.
    pub async fn decide(
        &self,
        id: MessageId,
        decision: Decision,
        by: &str,
        note: &str,
        seen: Option<u32>,
    ) -> Result<(StoredMessage, Option<StoredMessage>), OutboxError> {
        let child = self.inner.ids.message(self.inner.clock.now().wall)?;
        let (by, note) = (by.to_owned(), note.to_owned());
        let new = NewDecision { message: id, decision, by, note, seen, child };
        let change = Change::Decide(Box::new(new));
        let decided: Result<_, NotDecided> =
            self.act(AuditAction::Decide, id.to_string(), decision.as_str(), change).await?;
        Ok(decided?)
    }

    /// Claims no more queued messages, if a [worker](Self::run) of this outbox runs; synchronous sends go on. For a process
    /// that is about to end.
    pub fn stop_claiming(&self) {
        if let Some(session) = self.session() {
            session.close_queue();
        }
    }

    /// Pauses the app: its messages wait in the queue until it is resumed. Attempts under way go on.
    ///
    /// # Errors
    /// [`OutboxError::Ledger`] if the ledger fails.
    ///
    /// # Cancel safety
    /// The app may or may not have been paused.
    pub async fn pause(&self, by: &str, note: &str) -> Result<(), OutboxError> {
        let (appid, by, note) = (self.app()?.appid.clone(), by.to_owned(), note.to_owned());
        self.act(AuditAction::Pause, String::new(), "", Change::Pause { appid, by, note }).await
    }

    /// Lifts every pause of the app, also those for Weixin's limits and for want of a token.
    ///
    /// # Errors
    /// [`OutboxError::Ledger`] if the ledger fails.
    ///
    /// # Cancel safety
    /// The app may or may not have been resumed.
    pub async fn resume(&self) -> Result<(), OutboxError> {
        let change = Change::Resume(self.app()?.appid.clone());
        self.act(AuditAction::Resume, String::new(), "", change).await
    }

    /// Lifts the pause of the app for want of a token: call it when its credentials have changed. The next message tries at once.
    ///
    /// # Errors
    /// [`OutboxError::Ledger`] if the ledger fails.
    ///
    /// # Cancel safety
    /// The pause may or may not have been lifted.
    pub async fn lift_token_pause(&self) -> Result<(), OutboxError> {
        Ok(self.inner.writer.submit(Change::LiftTokenPause(self.app()?.appid.clone())).await?)
    }
}

impl OutboxBuilder {
    /// With this app.
    pub fn app(mut self, app: App) -> Self {
        self.apps.insert(app.appid.clone(), app);
        self
    }

    /// Calls this after each commit to the ledger. It must not block.
    pub fn on_commit(mut self, observe: impl Fn(&CommitEvent) + Send + Sync + 'static) -> Self {
        self.on_commit = Arc::new(observe);
        self
    }

    /// The outbox. Nothing is spawned before its first use.
    #[must_use]
    pub fn build(self) -> Outbox {
        let Self { ledger, apps, clock, id_seed, poll_interval, retention, on_commit } = self;
        let (finals, wake) = (Finals::new(), Arc::new(Wake::new(apps.keys())));
        let writer = Writer::new(writer::Shared {
            ledger: Arc::clone(&ledger),
            finals: finals.clone(),
            wake: Arc::clone(&wake),
            clock: Arc::clone(&clock),
            on_commit,
            failure: Mutex::default(),
        });
        let ids = IdGenerator::new(id_seed);
        let inbox = tokio::sync::watch::Sender::default();
        let inner = Inner { ledger, writer, apps, clock, ids, poll_interval, retention, finals, wake, inbox };
        Outbox {
            inner: Arc::new(inner),
            session: Arc::default(),
            app: None,
            client: String::new(),
            auditor: None,
        }
    }
}
