//! The changes of a ledger, and their results.

use std::collections::BTreeMap;
use std::sync::Arc;

use wxsub_core::clock::UnixMillis;
use wxsub_core::consent::Nonce;
use wxsub_proto::{AppId, Language, LocalizedText, Message, OpenId, Scene, TemplateId};

use super::error::{LedgerError, LedgerResult};
use super::tables::StoredWorker;
use crate::audit::AuditEntry;
use crate::grant::{Consent, NotAdmitted, StoredGrant, Subject};
use crate::id::{GrantId, MessageId, WorkerId};
use crate::idempotency::{Fingerprint, IdempotencyKey, KeyScope};
use crate::message::{NotDecidable, Settlement, StoredMessage};
use crate::retention::Retention;
use crate::state::{Decision, MessageState, Priority};
use crate::webhook::{DeliveryId, DeliveryOutcome, StoredDelivery, StoredEndpoint};

/// One change. What it needs is decided from the ledger's rows and clock.
#[derive(Debug, Clone)]
pub enum Change {
    /// A worker begins. Gives [`Applied::Done`].
    Register(WorkerId),
    /// A worker is alive. Gives [`Applied::Beat`].
    Heartbeat(WorkerId),
    /// Marks workers gone. Gives [`Applied::Count`].
    MarkGone(Gone),
    /// The attempts of workers that an *earlier* transaction marked gone become `maybe_sent`: a claim that was committed
    /// meanwhile would be missed otherwise. At most so many. Gives [`Applied::Messages`].
    Reclaim(usize),
    /// Queued messages whose time is over, at most so many. Gives [`Applied::Messages`].
    Expire(usize),
    /// Makes due what waits longer than any rule says: the ledger's clock was ahead when its time was set, and was set back since.
    /// At most so many messages and deliveries to endpoints. Gives [`Applied::Count`].
    Reschedule(usize),
    /// Records a consent. Gives [`Applied::Consent`].
    RecordConsent(Box<NewConsent>),
    /// Voids an open grant, or one in doubt that no message has. Gives [`Applied::Grant`].
    VoidGrant {
        /// The grant.
        grant: GrantId,
        /// Only if it is of this app; of any app if there is none.
        appid: Option<AppId>,
    },
    /// Records a message and queues it. Gives [`Applied::Recorded`].
    Enqueue(Box<NewMessage>),
    /// Records the line of a batch or the row of an inbox that breaks a rule as `not_sent`. Gives [`Applied::Recorded`].
    RecordInvalid(Box<InvalidMessage>),
    /// Records a message whose one attempt begins now. Gives [`Applied::Recorded`].
    Begin(Box<NewMessage>, WorkerId),
    /// Moves rows of the inbox in the ledger's own database: they are recorded and deleted in one transaction. A ledger without
    /// such an inbox refuses it. Gives [`Applied::Moved`].
    MoveInbox {
        /// Rows of these apps. Says for each whether its messages must have a grant.
        apps: Arc<BTreeMap<AppId, bool>>,
        /// At most so many.
        limit: usize,
    },
    /// A worker takes due messages of an app. Those whose grant has no row become `not_sent` instead. Gives
    /// [`Applied::Messages`].
    Claim {
        /// The worker.
        worker: WorkerId,
        /// The app.
        appid: AppId,
        /// At most so many.
        limit: usize,
    },
    /// The owner of an attempt reports how it ended. Gives [`Applied::Settled`].
    Settle {
        /// The message.
        message: MessageId,
        /// Who claimed it.
        worker: WorkerId,
        /// The attempt that ended.
        attempt: u32,
        /// How it ended.
        settlement: Settlement,
        /// With so many failures it is not tried again.
        max_failures: u32,
    },
    /// Withdraws a queued message. Gives [`Applied::Cancelled`].
    Cancel {
        /// The message.
        message: MessageId,
        /// Who.
        by: String,
    },
    /// Decides an undecided message. Gives [`Applied::Decided`].
    Decide(Box<NewDecision>),
    /// Decides all undecided messages of an app that can be decided, at most so many. The decision is not `send_again`.
    /// Gives [`Applied::Messages`].
    ApplyPolicy(AppId, Decision, usize),
    /// An operator pauses an app. Gives [`Applied::Done`].
    Pause {
        /// The app.
        appid: AppId,
        /// Who.
        by: String,
        /// Why.
        note: String,
    },
    /// Lifts every pause of an app. Gives [`Applied::Done`].
    Resume(AppId),
    /// Lifts the pause of an app for want of a token. Gives [`Applied::Done`].
    LiftTokenPause(AppId),
    /// Applies the change of an operator, if there is one, and appends a line to the audit. Gives the result of that change;
    /// without one, [`Applied::Done`].
    Audited(Box<AuditEntry>, Option<Box<Change>>),
    /// A backup was restored. Gives [`Applied::Restored`].
    Restore,
    /// Deletes rows that have been kept long enough, at most so many of each kind. Gives [`Applied::Pruned`].
    Prune(Retention, usize),
    /// Deletes the keys of a batch, except those whose messages can still change. Gives [`Applied::BatchPruned`].
    PruneBatch {
        /// The app.
        appid: AppId,
        /// Of this client: see [`batch_client`](crate::idempotency::batch_client).
        client: String,
    },
    /// Replaces the endpoints that get webhooks. One with the same name and URL stays disabled. Gives [`Applied::Done`].
    SetEndpoints(Vec<StoredEndpoint>),
    /// A sender takes due deliveries. Gives [`Applied::Deliveries`].
    ClaimDeliveries {
        /// To this endpoint.
        endpoint: String,
        /// Nothing is claimed if its URL has another SHA-256: another process has a newer configuration.
        url_sha256: [u8; 32],
        /// At most so many.
        limit: usize,
    },
    /// A sender reports how an attempt to deliver ended. Gives [`Applied::Delivery`].
    SettleDelivery {
        /// The delivery.
        id: DeliveryId,
        /// The attempt that ended.
        attempt: u32,
        /// How it ended.
        outcome: DeliveryOutcome,
    },
    /// Enables an endpoint, and makes those of these deliveries due whose last attempt failed. Gives [`Applied::Count`].
    Redeliver {
        /// The endpoint.
        endpoint: String,
        /// Deliveries to it.
        deliveries: Vec<DeliveryId>,
    },
}

impl Change {
    /// The change without its line in the audit. `None` for a line alone.
    #[must_use]
    pub fn inner(&self) -> Option<&Self> {
        match self {
            Self::Audited(_, change) => change.as_deref(),
            change => Some(change),
        }
    }
}

/// Which workers are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// Those whose lease is over.
    LeaseOver,
    /// This one, which ends.
    One(WorkerId),
    /// All of them: their process has lost the ledger's exclusive lock, and the new holder has not registered yet.
    All,
}

impl Gone {
    /// Whether this living worker is one of them.
    #[must_use]
    pub fn includes(self, worker: &StoredWorker, now: UnixMillis) -> bool {
        match self {
            Self::LeaseOver => worker.is_lease_over(now),
            Self::One(id) => worker.id == id,
            Self::All => true,
        }
    }
}

/// A consent to record.
#[derive(Debug, Clone)]
pub struct NewConsent {
    /// The id of the grant, if it makes one.
    pub grant: GrantId,
    /// What it is for.
    pub subject: Subject,
    /// Of its callback. `None` for a consent that the caller verified in another way.
    pub nonce: Option<Nonce>,
}

/// A message to record.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Its id. Recorded once: the same id again gives the same message.
    pub id: MessageId,
    /// The app that sends it.
    pub appid: AppId,
    /// What is posted.
    pub body: Message,
    /// Which of the due messages goes first.
    pub priority: Priority,
    /// The earliest time for its first attempt. Now unless given.
    pub send_at: Option<UnixMillis>,
    /// No attempt begins from here on. [`DEFAULT_LIFETIME`](crate::message::DEFAULT_LIFETIME) after `send_at` unless given.
    pub expires_at: Option<UnixMillis>,
    /// Its idempotency key.
    pub key: Option<NewKey>,
    /// Whether it must have a grant.
    pub require_grant: bool,
}

impl NewMessage {
    /// A message that is due at once, with normal priority. It has no key, and needs no grant.
    #[must_use]
    pub fn new(id: MessageId, appid: AppId, body: Message) -> Self {
        let (priority, send_at, expires_at, key) = (Priority::Normal, None, None, None);
        Self { id, appid, body, priority, send_at, expires_at, key, require_grant: false }
    }

    /// Whether no attempt could begin between these times.
    pub(crate) fn expires_too_early(send_at: Option<UnixMillis>, expires_at: Option<UnixMillis>) -> bool {
        send_at.zip(expires_at).is_some_and(|(send_at, expires_at)| expires_at <= send_at)
    }

    /// With a key of this client. The key stands for what the message asks for now, on this route.
    #[must_use]
    pub fn with_key(self, route: &str, client: &str, key: IdempotencyKey, kind: KeyKind) -> Self {
        let fingerprint = Fingerprint::new(route, &self.body, self.send_at, self.expires_at, self.priority);
        let key = Some(NewKey { client: client.to_owned(), key, fingerprint, kind });
        Self { key, ..self }
    }
}

/// The idempotency key of a message to record.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The client that sends it; `""` for an embedded outbox.
    pub client: String,
    /// The key.
    pub key: IdempotencyKey,
    /// What is asked for.
    pub fingerprint: Fingerprint,
    /// What a second request under it means.
    pub kind: KeyKind,
}

/// What a second request under an idempotency key means, and how long the key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Of one request. Another content is refused. The key is kept for some days after the end of its message.
    Request,
    /// Of a line of a batch. Another content replaces a message that was refused or not sent. A line that its grant does
    /// not allow is recorded as `not_sent`. The key is kept until [`Change::PruneBatch`].
    Batch,
    /// Of the row of an inbox, whose id it is. Another content is refused, and the same one records nothing more, however its
    /// message ended. A row that its grant does not allow is recorded as `not_sent`. The key is kept for a year at least.
    Inbox,
}

/// The line of a batch or the row of an inbox that breaks a rule.
#[derive(Debug, Clone)]
pub struct InvalidMessage {
    /// Its id. Recorded once: the same id again gives the same message.
    pub id: MessageId,
    /// The app that would send it.
    pub appid: AppId,
    /// What is known of it.
    pub line: InvalidLine,
    /// Its key.
    pub key: NewKey,
}

/// A line that is not a valid message.
#[derive(Debug, Clone, Default)]
pub struct InvalidLine {
    /// The user, if it can be read.
    pub touser: Option<OpenId>,
    /// The template, if it can be read.
    pub template_id: Option<TemplateId>,
    /// The scene, if it can be read.
    pub scene: Option<Scene>,
    /// The rules that it breaks.
    pub problems: String,
}

impl NewKey {
    /// Where it holds.
    #[must_use]
    pub fn scope(&self, appid: &AppId) -> KeyScope {
        KeyScope { appid: appid.clone(), client: self.client.clone(), key: self.key.clone() }
    }
}

/// A decision to make.
#[derive(Debug, Clone)]
pub struct NewDecision {
    /// The undecided message.
    pub message: MessageId,
    /// The decision.
    pub decision: Decision,
    /// Who decides.
    pub by: String,
    /// Why.
    pub note: String,
    /// The version that the operator looked at.
    pub seen: Option<u32>,
    /// The id of the message that is sent in its place, if one is.
    pub child: MessageId,
}

/// The result of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It was done.
    Done,
    /// What the worker must know; `None` if it is gone, or not registered.
    Beat(Option<Beat>),
    /// So many rows were changed.
    Count(usize),
    /// The messages that changed, as they are now.
    Messages(Vec<StoredMessage>),
    /// The consent's grant, and whether it is new.
    Consent(Consent),
    /// The voided grant; `None` if it is not there or cannot be voided.
    Grant(Option<StoredGrant>),
    /// The message, or why it was not recorded.
    Recorded(Result<Recorded, NotRecorded>),
    /// How the rows of an inbox were recorded or rejected.
    Moved(RowOutcomes),
    /// The end of an attempt.
    Settled {
        /// The message as it is now, if the settlement changed it.
        message: Option<Box<StoredMessage>>,
        /// Whether the response came after the attempt had been given up.
        is_late: bool,
    },
    /// The message, or why it was not cancelled.
    Cancelled(Result<Box<StoredMessage>, NotCancelled>),
    /// The decided message, and the one sent in its place.
    Decided(Result<(Box<StoredMessage>, Option<Box<StoredMessage>>), NotDecided>),
    /// What the restore changed.
    Restored(RestoreReport),
    /// What was deleted.
    Pruned(PruneReport),
    /// The keys of a batch.
    BatchPruned {
        /// So many were deleted.
        deleted: usize,
        /// So many were kept, because their messages can still change.
        kept: usize,
    },
    /// The deliveries that were claimed.
    Deliveries(Vec<StoredDelivery>),
    /// The delivery as it is now; `None` if it is delivered or deleted.
    Delivery(Option<Box<StoredDelivery>>),
}

/// What a worker learns from its heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beat {
    /// Its running attempts.
    pub attempts: Vec<(MessageId, u32)>,
    /// The ledger's clock was set back since its last heartbeat.
    pub was_clock_set_back: bool,
}

/// The results of changes, in their order.
pub type Results = Vec<LedgerResult<Applied>>;

/// What a change gives, as the type that belongs to it.
pub trait FromApplied: Sized {
    /// Takes the result of a change that gives this type.
    ///
    /// # Errors
    /// [`LedgerError::Inconsistent`] if the ledger gave another result.
    fn from_applied(applied: Applied) -> LedgerResult<Self>;
}

impl FromApplied for Applied {
    fn from_applied(applied: Applied) -> LedgerResult<Self> {
        Ok(applied)
    }
}

macro_rules! results {
    ($($result:ty: $pattern:pat => $value:expr;)+) => { $(
        impl FromApplied for $result {
            fn from_applied(applied: Applied) -> LedgerResult<Self> {
                match applied {
                    $pattern => Ok($value),
                    other => Err(LedgerError::Inconsistent(format!("unexpected result {other:?}"))),
                }
            }
        }
    )+ };
}

results! {
    (): Applied::Done => ();
    Option<Beat>: Applied::Beat(beat) => beat;
    usize: Applied::Count(number) => number;
    Vec<StoredMessage>: Applied::Messages(messages) => messages;
    Consent: Applied::Consent(consent) => consent;
    Option<StoredGrant>: Applied::Grant(voided) => voided;
    Result<Recorded, NotRecorded>: Applied::Recorded(recorded) => recorded;
    RowOutcomes: Applied::Moved(outcomes) => outcomes;
    Option<StoredMessage>: Applied::Settled { message, .. } => message.map(|message| *message);
    Result<StoredMessage, NotCancelled>: Applied::Cancelled(cancelled) => cancelled.map(|message| *message);
    Result<(StoredMessage, Option<StoredMessage>), NotDecided>: Applied::Decided(decided) =>
        decided.map(|(message, child)| (*message, child.map(|child| *child)));
    RestoreReport: Applied::Restored(report) => report;
    PruneReport: Applied::Pruned(report) => report;
    (usize, usize): Applied::BatchPruned { deleted, kept } => (deleted, kept);
    Vec<StoredDelivery>: Applied::Deliveries(deliveries) => deliveries;
    Option<StoredDelivery>: Applied::Delivery(delivery) => delivery.map(|delivery| *delivery);
}

impl Applied {
    /// Whether the change of an operator had an effect.
    pub(crate) fn is_done(&self) -> bool {
        !matches!(self, Self::Grant(None) | Self::Cancelled(Err(_)) | Self::Decided(Err(_)))
    }
}

/// A row of an inbox that stays in the table, because it cannot be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The row, by its `id` as it was read.
    pub id: String,
    /// What is wrong, and what to do.
    pub error: String,
}

/// The outcomes of rows that were read from an inbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowOutcomes {
    /// The ids of the rows that are recorded, those that were known before included. They are to be deleted.
    pub recorded: Vec<String>,
    /// Their messages that were not known before.
    pub new: Vec<StoredMessage>,
    /// So many of them break a rule, or their grant did not allow them: they are `not_sent`.
    pub not_sent: u64,
    /// The rows that get an `error`.
    pub rejected: Vec<Rejected>,
    /// The ledger did not take a row, which stays as it is.
    pub error: Option<LedgerError>,
}

impl RowOutcomes {
    /// Adds the row with this id: the error of [`decide`](crate::inbox::decide), or the result of its change.
    pub fn add(&mut self, id: String, decided: Result<LedgerResult<Applied>, String>) {
        match decided {
            Err(error) => self.rejected.push(Rejected { id, error }),
            Ok(Ok(Applied::Recorded(Ok(recorded)))) => {
                self.not_sent += u64::from(recorded.message().state == MessageState::NotSent);
                self.recorded.push(id);
                self.new.extend(recorded.into_new());
            }
            Ok(Ok(Applied::Recorded(Err(NotRecorded::KeyReused(_))))) => {
                let error = "id: it was used for another message; insert the row with another id";
                self.rejected.push(Rejected { id, error: error.to_owned() });
            }
            Ok(Ok(other)) => {
                let text = format!("unexpected result {other:?}");
                self.error = Some(LedgerError::Inconsistent(text));
            }
            Ok(Err(error)) => self.error = Some(error),
        }
    }

    /// The number of rows that need no other attempt: recorded or rejected.
    pub(crate) fn done(&self) -> usize {
        self.recorded.len() + self.rejected.len()
    }
}

/// A recorded message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// It is new.
    New(Box<StoredMessage>),
    /// The message that its key stands for.
    Replayed(Box<StoredMessage>),
}

impl Recorded {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> MessageId {
        self.message().id
    }

    /// The message: after [`enqueue`](crate::Outbox::enqueue) as it was recorded, after [`send`](crate::Outbox::send) as
    /// it ended, and as it is now if its key was used before.
    #[must_use]
    pub fn message(&self) -> &StoredMessage {
        match self {
            Self::New(message) | Self::Replayed(message) => message,
        }
    }

    /// Whether its key was used before, so that nothing new was recorded.
    #[must_use]
    pub fn replayed(&self) -> bool {
        matches!(self, Self::Replayed(_))
    }

    /// The message, if it is new.
    pub(crate) fn into_new(self) -> Option<StoredMessage> {
        match self {
            Self::New(message) => Some(*message),
            Self::Replayed(_) => None,
        }
    }
}

/// Why a message was not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotRecorded {
    /// Its grant does not allow it.
    #[error(transparent)]
    Grant(#[from] NotAdmitted),
    /// Its key stands for another content.
    #[error(
        "idempotency_key: it stands for the message {0}, and this request asks for something else; repeat that request as it was, or choose another key"
    )]
    KeyReused(MessageId),
    /// It expires at its `send_at` or earlier.
    #[error("expires_at: must be later than send_at; no attempt could begin")]
    ExpiresTooEarly,
    /// A synchronous send while its app waits.
    #[error("app: it is paused; send the message through the queue, or resume the app")]
    Paused,
    /// A synchronous send by a worker that is gone.
    #[error("worker: it is gone or not registered; run the outbox before sending")]
    WorkerGone,
}

impl NotRecorded {
    /// Returns the reason in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        let chinese = match self {
            Self::Grant(error) => error.localized().in_language(Language::Chinese),
            Self::KeyReused(message) => {
                format!(
                    "idempotency_key：已用于消息 {message}，而本次请求的内容与当时不同；请原样重复当时的请求，或换一个幂等键"
                )
            }
            Self::ExpiresTooEarly => "expires_at：必须晚于 send_at，否则不会有机会发送".to_owned(),
            Self::Paused => "app：已暂停；请放入队列发送，或恢复该应用".to_owned(),
            Self::WorkerGone => "worker：已失联或没有登记；请先运行发件箱再发送".to_owned(),
        };
        LocalizedText::new(self.to_string(), chinese)
    }
}

/// Why a message was not cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCancelled {
    /// There is no such message.
    #[error("message: there is none with this id; list the messages to find it")]
    NotFound,
    /// A worker may be posting it.
    #[error("message: a worker may be posting it; wait for its outcome")]
    Attempting,
    /// It is final.
    #[error("message: it is final; only a queued message can be cancelled")]
    Final,
}

impl NotCancelled {
    /// Returns the reason in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        let chinese = match self {
            Self::NotFound => NO_SUCH_MESSAGE,
            Self::Attempting => "message：worker 可能正在发送；请等待结果",
            Self::Final => "message：已有最终状态；只能取消排队中的消息",
        };
        LocalizedText::new(self.to_string(), chinese.to_owned())
    }
}

const NO_SUCH_MESSAGE: &str = "message：没有这个 id 的消息；请在消息列表中查找";

/// Why a message was not decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDecided {
    /// There is no such message.
    #[error("message: there is none with this id; list the messages to find it")]
    NotFound,
    /// The message cannot be decided.
    #[error(transparent)]
    NotDecidable(#[from] NotDecidable),
    /// Another message has the newest grant, so it cannot be sent again now.
    #[error(transparent)]
    Grant(#[from] NotAdmitted),
}

impl NotDecided {
    /// Returns the reason in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        match self {
            Self::NotFound => LocalizedText::new(self.to_string(), NO_SUCH_MESSAGE.to_owned()),
            Self::NotDecidable(error) => error.localized(),
            Self::Grant(error) => error.localized(),
        }
    }
}

/// What a restore changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// So many messages became `maybe_sent`.
    pub messages: usize,
    /// So many grants became `in_doubt`.
    pub grants: usize,
    /// So many rows of the ledger's own inbox got an `error`: they may have been sent.
    pub inbox_rows: usize,
    /// When the backup's last event happened. Keys used since then are unknown.
    pub last_event_at: Option<UnixMillis>,
}

/// How many rows a prune deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Messages, with their history.
    pub messages: usize,
    /// Idempotency keys.
    pub keys: usize,
    /// Grants, with their nonces.
    pub grants: usize,
    /// Workers that are gone.
    pub workers: usize,
    /// Deliveries to endpoints that did not succeed.
    pub deliveries: usize,
}
