//! The rows of a ledger within one transaction.

use std::sync::Arc;
use std::time::Duration;

use wxsub_core::clock::UnixMillis;
use wxsub_proto::AppId;

use super::LedgerResult;
use crate::app::StoredApp;
use crate::audit::AuditEntry;
use crate::grant::{StoredGrant, Subject};
use crate::id::{GrantId, MessageId, WorkerId};
use crate::idempotency::{IdempotencyKey, KeyScope, StoredKey};
use crate::message::{StoredEvent, StoredMessage};
use crate::state::{AuditOutcome, MessageState};
use crate::webhook::{DeliveryId, StoredDelivery, StoredEndpoint};

/// How long a worker is taken to be alive after its last heartbeat.
pub const LEASE: Duration = Duration::from_secs(60);

/// A worker: one row of `wxsub_worker`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredWorker {
    /// Its id.
    pub id: WorkerId,
    /// Its last heartbeat.
    pub beat_at: UnixMillis,
    /// When it was marked gone. It never comes back.
    pub gone_at: Option<UnixMillis>,
}

impl StoredWorker {
    /// Whether its lease is over. A heartbeat from the future was written before the ledger's clock was set back; a living
    /// worker writes another within seconds.
    #[must_use]
    pub fn is_lease_over(&self, now: UnixMillis) -> bool {
        self.gone_at.is_none() && (now > self.beat_at + LEASE || self.beat_at > now + LEASE)
    }
}

/// The rows of a ledger within one transaction: what [`apply`](super::apply) reads and writes. It sees its own writes.
///
/// Every method fails with [`LedgerError::Unavailable`](super::LedgerError::Unavailable) if the database does; the caller then undoes the change.
#[expect(clippy::missing_errors_doc, reason = "said once, for all of them")]
pub trait Tables {
    /// A worker.
    fn worker(&mut self, id: WorkerId) -> LedgerResult<Option<StoredWorker>>;
    /// Writes a worker.
    fn put_worker(&mut self, worker: StoredWorker) -> LedgerResult<()>;
    /// Workers that are not gone.
    fn live_workers(&mut self) -> LedgerResult<Vec<StoredWorker>>;
    /// Deletes the workers that were gone at this time, and gives their number.
    fn delete_gone_workers(&mut self, until: UnixMillis) -> LedgerResult<usize>;

    /// What is kept of an app; the default if it is new.
    fn app(&mut self, appid: &AppId) -> LedgerResult<StoredApp>;
    /// Writes what is kept of an app.
    fn put_app(&mut self, appid: &AppId, app: StoredApp) -> LedgerResult<()>;

    /// A grant.
    fn grant(&mut self, id: GrantId) -> LedgerResult<Option<StoredGrant>>;
    /// The grant of this subject that was recorded last.
    fn newest_grant(&mut self, subject: &Subject) -> LedgerResult<Option<StoredGrant>>;
    /// Writes a grant. A new one is the newest of its subject.
    fn put_grant(&mut self, grant: StoredGrant) -> LedgerResult<()>;
    /// Grants that are open, reserved or attempting become `in_doubt`. Gives their number.
    fn doubt_grants(&mut self) -> LedgerResult<usize>;
    /// Grants that are used or void, were recorded no later than `until` and whose callback expired no later than `now`.
    /// None that has an older one of its subject in another state: that one must not become open for want of a newer one.
    fn spent_grants(
        &mut self,
        until: UnixMillis,
        now: UnixMillis,
        limit: usize,
    ) -> LedgerResult<Vec<GrantId>>;
    /// Deletes a grant and its nonces.
    fn delete_grant(&mut self, id: GrantId) -> LedgerResult<()>;
    /// The grant for which a callback with this nonce was recorded.
    fn nonce(&mut self, nonce: &[u8; 16]) -> LedgerResult<Option<GrantId>>;
    /// Writes for which grant a callback was recorded.
    fn put_nonce(&mut self, nonce: [u8; 16], grant: GrantId) -> LedgerResult<()>;

    /// A message.
    fn message(&mut self, id: MessageId) -> LedgerResult<Option<StoredMessage>>;
    /// Writes a message. [`LedgerError::Inconsistent`](super::LedgerError::Inconsistent) if another one [holds](StoredMessage::holds_grant) its grant.
    fn put_message(&mut self, message: StoredMessage) -> LedgerResult<()>;
    /// The message that [holds](StoredMessage::holds_grant) a grant.
    fn holder(&mut self, grant: GrantId) -> LedgerResult<Option<MessageId>>;
    /// [Due](StoredMessage::is_due) messages of an app, by priority, `due_at` and id. Rows that another transaction has
    /// locked are skipped.
    fn due(&mut self, appid: &AppId, now: UnixMillis, limit: usize) -> LedgerResult<Vec<StoredMessage>>;
    /// Queued messages of all apps that have expired.
    fn expired(&mut self, now: UnixMillis, limit: usize) -> LedgerResult<Vec<StoredMessage>>;
    /// The running attempts of a worker.
    fn attempts_of(&mut self, worker: WorkerId) -> LedgerResult<Vec<StoredMessage>>;
    /// Running attempts whose worker is gone.
    fn attempts_of_gone_workers(&mut self, limit: usize) -> LedgerResult<Vec<StoredMessage>>;
    /// Undecided messages of an app that can be decided.
    fn decidable(&mut self, appid: &AppId, now: UnixMillis, limit: usize)
    -> LedgerResult<Vec<StoredMessage>>;
    /// Undecided messages of all apps, by app and id: those behind this one.
    fn undecided(
        &mut self,
        after: Option<&(AppId, MessageId)>,
        limit: usize,
    ) -> LedgerResult<Vec<StoredMessage>>;
    /// Messages that are not final.
    fn unfinished(&mut self, limit: usize) -> LedgerResult<Vec<StoredMessage>>;
    /// Queued messages that [wait too long](StoredMessage::waits_too_long).
    fn waiting_too_long(&mut self, now: UnixMillis, limit: usize) -> LedgerResult<Vec<StoredMessage>>;

    /// Messages in a final state that ended no later than `until` and that no key stands for. A `maybe_sent` message ends
    /// with its decision.
    fn ended(
        &mut self,
        state: MessageState,
        until: UnixMillis,
        limit: usize,
    ) -> LedgerResult<Vec<StoredMessage>>;
    /// Deletes a message and its history.
    fn delete_message(&mut self, id: MessageId) -> LedgerResult<()>;

    /// Appends to a message's history.
    fn append_event(&mut self, event: StoredEvent) -> LedgerResult<()>;
    /// When the last event happened.
    fn last_event_at(&mut self) -> LedgerResult<Option<UnixMillis>>;

    /// Appends to the audit.
    fn append_audit(&mut self, entry: AuditEntry, at: UnixMillis, outcome: AuditOutcome) -> LedgerResult<()>;

    /// A key.
    fn key(&mut self, scope: &KeyScope) -> LedgerResult<Option<StoredKey>>;
    /// Writes a key.
    fn put_key(&mut self, key: StoredKey) -> LedgerResult<()>;
    /// Keys whose `check_at` is no later than `now`.
    fn keys_to_check(&mut self, now: UnixMillis, limit: usize) -> LedgerResult<Vec<StoredKey>>;
    /// Keys of a client, in their order: those behind this one.
    fn keys_of(
        &mut self,
        appid: &AppId,
        client: &str,
        after: Option<&IdempotencyKey>,
        limit: usize,
    ) -> LedgerResult<Vec<StoredKey>>;
    /// Deletes a key.
    fn delete_key(&mut self, scope: &KeyScope) -> LedgerResult<()>;

    /// The endpoints that get webhooks, by their names. This must be cheap: every outcome of a message reads them.
    fn webhook_endpoints(&mut self) -> LedgerResult<Arc<[StoredEndpoint]>>;
    /// Writes all endpoints.
    fn set_webhook_endpoints(&mut self, endpoints: Vec<StoredEndpoint>) -> LedgerResult<()>;
    /// A delivery.
    fn delivery(&mut self, id: &DeliveryId) -> LedgerResult<Option<StoredDelivery>>;
    /// Writes a delivery.
    fn put_delivery(&mut self, delivery: StoredDelivery) -> LedgerResult<()>;
    /// Deletes a delivery.
    fn delete_delivery(&mut self, id: &DeliveryId) -> LedgerResult<()>;
    /// [Due](StoredDelivery::is_due) deliveries to an endpoint, by `due_at`. Rows that another transaction has locked are
    /// skipped.
    fn due_deliveries(
        &mut self,
        endpoint: &str,
        now: UnixMillis,
        limit: usize,
    ) -> LedgerResult<Vec<StoredDelivery>>;
    /// Deliveries that [wait too long](StoredDelivery::waits_too_long).
    fn deliveries_waiting_too_long(
        &mut self,
        now: UnixMillis,
        limit: usize,
    ) -> LedgerResult<Vec<StoredDelivery>>;
    /// Deliveries that were recorded no later than `until`.
    fn old_deliveries(&mut self, until: UnixMillis, limit: usize) -> LedgerResult<Vec<DeliveryId>>;
}
