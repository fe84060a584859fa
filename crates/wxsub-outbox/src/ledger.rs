//! The ledger: the database that holds grants and messages, as a trait.
//!
//! A ledger takes changes in batches and gives a result for each. What a change does is decided by [`apply`], over the
//! [`Tables`] of the ledger, so every ledger decides alike:
//!
//! * a ledger with one writer (memory, SQLite) implements [`Tables`] on its open transaction;
//! * a ledger with several (PostgreSQL) locks the rows that a batch names, loads them as [`Rows`], applies the batch to them,
//!   and writes back what changed.

#![expect(
    clippy::exhaustive_structs,
    clippy::exhaustive_enums,
    reason = "a ledger decides, writes and reads all of it"
)]

mod apply;
mod change;
mod columns;
mod error;
mod layer;
mod memory;
mod rows;
mod statements;
mod tables;

pub use apply::{GONE_WORKER_RETENTION, PAGE, apply};
pub use change::{
    Applied, Beat, Change, FromApplied, Gone, InvalidLine, InvalidMessage, KeyKind, NewConsent, NewDecision,
    NewKey, NewMessage, NotCancelled, NotDecided, NotRecorded, PruneReport, Recorded, Rejected,
    RestoreReport, Results, RowOutcomes,
};
pub use columns::{Columns, FromColumns, ToColumns, Value, at_most, delaying, millis};
pub use error::{LedgerError, LedgerResult};
pub use layer::LedgerLayer;
pub use memory::MemoryLedger;
pub use rows::{Rows, Write, Written, WrittenApp};
pub use statements::SchemaStep;
pub use tables::{LEASE, StoredWorker, Tables};

use std::fmt;
use std::future::pending;

use async_trait::async_trait;
use wxsub_core::clock::UnixMillis;
use wxsub_proto::{AppId, OpenId};

use crate::app::StoredApp;
use crate::audit::StoredAudit;
use crate::grant::StoredGrant;
use crate::id::{GrantId, MessageId};
use crate::message::{StoredEvent, StoredMessage};
use crate::state::{GrantState, MessageState};
use crate::webhook::{EndpointStatus, StoredDelivery};

/// The database that holds grants and messages.
///
/// The ledger's own clock decides when a message is due or expired, when a worker's lease is over and when a message can be
/// decided: the database's where several machines share it.
///
/// Each call ends within about a minute, also if the database does not respond: the worker and the writer of an outbox wait for
/// it.
///
/// # Errors
/// Each method that reads fails with [`LedgerError`] if the ledger cannot be read now.
///
/// # Cancel safety
/// A read that is dropped changes nothing.
#[async_trait]
pub trait Ledger: Send + Sync + fmt::Debug {
    /// Applies all changes in their order, in one transaction, and gives a result for each. They are durable when it
    /// returns. A change that fails changes nothing, and the others are applied all the same.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] if none was applied, [`LedgerError::Unknown`] if all or none were.
    ///
    /// # Cancel safety
    /// All or none are applied.
    async fn commit(&self, changes: Vec<Change>) -> LedgerResult<Results>;

    /// One message.
    async fn message(&self, id: MessageId) -> LedgerResult<Option<StoredMessage>>;

    /// What happened to a message, oldest first.
    async fn history(&self, id: MessageId) -> LedgerResult<Vec<StoredEvent>>;

    /// Messages of an app in the order of their ids, which is that of their recording.
    async fn messages(&self, query: &MessageQuery) -> LedgerResult<Vec<StoredMessage>>;

    /// The grants of one user of an app, oldest first.
    async fn grants(&self, appid: &AppId, openid: &OpenId) -> LedgerResult<Vec<StoredGrant>>;

    /// Grants of an app in one state, oldest first: after this one, and at most so many.
    async fn grants_in_state(
        &self,
        appid: &AppId,
        state: GrantState,
        after: Option<GrantId>,
        limit: usize,
    ) -> LedgerResult<Vec<StoredGrant>>;

    /// The clients of the batches of an app that have keys, by their names, at most so many.
    async fn batch_clients(&self, appid: &AppId, limit: usize) -> LedgerResult<Vec<String>>;

    /// Why an app waits, and how many messages it has in each state, in constant time. An app that the ledger does not
    /// know waits for nothing and has none.
    async fn app(&self, appid: &AppId) -> LedgerResult<StoredApp>;

    /// Apps of which a message can be claimed now: it is due, and no pause of the app forbids it. The cost grows with the number
    /// of apps that have queued messages, and not with the number of messages.
    async fn claimable_apps(&self) -> LedgerResult<Vec<AppId>>;

    /// Waits for the notification that another process queued a message. It is a hint: it can come without a message, and a message
    /// without it. The default never comes.
    ///
    /// # Cancel safety
    /// No notification is lost.
    async fn notified(&self) {
        pending::<()>().await;
    }

    /// The apps that have or had messages, or are paused, by their ids.
    async fn apps(&self) -> LedgerResult<Vec<AppId>>;

    /// Apps that have `maybe_sent` messages without a decision. Other apps cost nothing.
    async fn undecided_apps(&self) -> LedgerResult<Vec<AppId>>;

    /// The workers, also those that were marked gone some days ago.
    async fn workers(&self) -> LedgerResult<Vec<StoredWorker>>;

    /// The newest lines of the audit with a smaller number than `before`, newest first, at most so many.
    async fn audit(&self, before: Option<u64>, limit: usize) -> LedgerResult<Vec<StoredAudit>>;

    /// When the queued message of an app is due that is due first; `None` if none is queued. In constant time.
    async fn first_due_at(&self, appid: &AppId) -> LedgerResult<Option<UnixMillis>>;

    /// Which rows wait in an inbox in the ledger's own database, for these apps and for others. `None` if it has no inbox.
    async fn inbox_backlog(&self, apps: &[AppId]) -> LedgerResult<Option<InboxBacklog>>;

    /// The endpoints that get webhooks, by their names, with the numbers of their deliveries, in constant time.
    async fn webhook_endpoints(&self) -> LedgerResult<Vec<EndpointStatus>>;

    /// Deliveries to an endpoint whose last attempt failed, by their [positions](StoredDelivery::position): after that of this
    /// one, and at most so many.
    async fn failed_deliveries(
        &self,
        endpoint: &str,
        after: Option<&StoredDelivery>,
        limit: usize,
    ) -> LedgerResult<Vec<StoredDelivery>>;
}

/// How many rows of apps that a process does not serve are counted at most.
pub const MAX_FOREIGN_ROWS: u32 = 1_000;

/// Which rows wait in the inbox in a ledger's own database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboxBacklog {
    /// There is a row to record: of an app that is served, or of one that cannot be read.
    pub has_rows: bool,
    /// If there is none: so many rows of other apps, [`MAX_FOREIGN_ROWS`] at most.
    pub foreign_rows: u64,
}

/// Which messages to list. The last id of one page is `after` of the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageQuery {
    /// Of this app.
    pub appid: AppId,
    /// In this state only.
    pub state: Option<MessageState>,
    /// To this user only.
    pub openid: Option<OpenId>,
    /// `maybe_sent` without a decision only.
    pub undecided: bool,
    /// The newest first; else the oldest.
    pub newest_first: bool,
    /// Behind the message with this id, in this order.
    pub after: Option<MessageId>,
    /// At most so many.
    pub limit: usize,
}

impl MessageQuery {
    /// All of an app.
    #[must_use]
    pub fn new(appid: AppId) -> Self {
        let (state, openid, after) = (None, None, None);
        Self { appid, state, openid, undecided: false, newest_first: false, after, limit: usize::MAX }
    }

    /// Whether a message meets the conditions.
    #[must_use]
    pub fn matches(&self, message: &StoredMessage) -> bool {
        message.appid == self.appid
            && self.state.is_none_or(|state| message.state == state)
            && self.openid.as_ref().is_none_or(|openid| message.touser.as_ref() == Some(openid))
            && (!self.undecided || message.is_undecided())
            && self.after.is_none_or(|after| match self.newest_first {
                true => message.id < after,
                false => message.id > after,
            })
    }
}
