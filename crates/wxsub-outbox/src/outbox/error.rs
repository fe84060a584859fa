use std::time::Duration;

use wxsub_proto::AppId;

use crate::id::{MessageId, NoRandomBytes};
use crate::ledger::{LedgerError, NotCancelled, NotDecided, NotRecorded};

/// What an [`Outbox`](crate::Outbox) did not do, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// It has no such app.
    #[error("app: the outbox has no app {0}; add it when the outbox is built")]
    UnknownApp(AppId),
    /// It has several apps, or none, and the call does not say which it is about.
    #[error("app: the outbox does not have exactly one; choose one with `for_app`")]
    NoAppChosen,
    /// The app requires an idempotency key.
    #[error("idempotency_key: is missing, and the app requires one; give each message a key")]
    KeyRequired,
    /// The message was not recorded.
    #[error("the message was not recorded: {0}")]
    NotRecorded(#[from] NotRecorded),
    /// A synchronous send, and the outbox does not run or its heartbeat fails.
    #[error("not sent: the outbox does not run, or cannot reach its ledger; run it, or try again later")]
    NotRunning,
    /// A synchronous send beyond the app's rate.
    #[error("not sent: the app's rate is reached; try again in {} ms", .0.as_millis())]
    RateLimited(Duration),
    /// A synchronous send whose outcome the ledger has not taken yet. The message may have been sent.
    #[error(
        "the message {0} may have been sent: its outcome is not in the ledger yet; wait for it, do not send it again"
    )]
    NotSettled(MessageId),
    /// There is no such message.
    #[error("message: there is none with the id {0}; list the messages to find it")]
    NoSuchMessage(MessageId),
    /// The message was not cancelled.
    #[error("the message was not cancelled: {0}")]
    NotCancelled(#[from] NotCancelled),
    /// The message was not decided.
    #[error("the message was not decided: {0}")]
    NotDecided(#[from] NotDecided),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// No id could be made.
    #[error(transparent)]
    NoRandomBytes(#[from] NoRandomBytes),
}
