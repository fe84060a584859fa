//! The calls of a sender of webhooks to the ledger.

use super::{Outbox, OutboxError};
use crate::ledger::Change;
use crate::state::AuditAction;
use crate::webhook::{DeliveryId, DeliveryOutcome, StoredDelivery, StoredEndpoint};

/// How many deliveries one transaction makes due.
const MAX_REDELIVERED: usize = 1_000;

impl Outbox {
    /// Replaces the endpoints that get webhooks. They also get those of messages that other processes on this ledger send.
    ///
    /// # Errors
    /// [`OutboxError::Ledger`] if the ledger fails.
    ///
    /// # Cancel safety
    /// The endpoints may or may not have been set.
    pub async fn set_endpoints(&self, endpoints: Vec<StoredEndpoint>) -> Result<(), OutboxError> {
        Ok(self.inner.writer.submit(Change::SetEndpoints(endpoints)).await?)
    }

    /// Takes due deliveries to an endpoint, at most so many. No other sender gets them within
    /// [`DELIVERY_LEASE`](crate::webhook::DELIVERY_LEASE). Gives none if the ledger has another URL for this endpoint.
    ///
    /// # Errors
    /// [`OutboxError::Ledger`] if the ledger fails.
    ///
    /// # Cancel safety
    /// Deliveries may have been taken. They are due again after the lease.
    pub async fn claim_deliveries(
        &self,
        endpoint: &StoredEndpoint,
        limit: usize,
    ) -> Result<Vec<StoredDelivery>, OutboxError> {
        let (endpoint, url_sha256) = (endpoint.name.clone(), endpoint.url_sha256);
        Ok(self.inner.writer.submit(Change::ClaimDeliveries { endpoint, url_sha256, limit }).await?)
    }

    /// Records how an attempt to deliver ended. Gives the delivery, if it is still to be made or a dead letter.
    ///
    /// # Errors
    /// [`OutboxError::Ledger`] if the ledger fails.
    ///
    /// # Cancel safety
    /// The outcome may or may not have been recorded. Without it, the delivery is made again after its lease.
    pub async fn settle_delivery(
        &self,
        id: DeliveryId,
        attempt: u32,
        outcome: DeliveryOutcome,
    ) -> Result<Option<StoredDelivery>, OutboxError> {
        Ok(self.inner.writer.submit(Change::SettleDelivery { id, attempt, outcome }).await?)
    }

    /// Enables an endpoint, and makes its failed deliveries due, also dead letters: each once, also if it fails again meanwhile.
    /// Gives their number. Each thousand of them takes a transaction, which has a line of the audit of its own.
    ///
    /// # Errors
    /// [`OutboxError::Ledger`] if the ledger fails.
    ///
    /// # Cancel safety
    /// Some of them may be due.
    pub async fn redeliver(&self, endpoint: &str) -> Result<usize, OutboxError> {
        let (mut total, mut last) = (0, None);
        loop {
            let failed = self.ledger().failed_deliveries(endpoint, last.as_ref(), MAX_REDELIVERED).await?;
            let deliveries: Vec<_> = failed.iter().map(|delivery| delivery.id.clone()).collect();
            let is_last = deliveries.len() < MAX_REDELIVERED;
            let change = Change::Redeliver { endpoint: endpoint.to_owned(), deliveries };
            let number: usize = self.act(AuditAction::Redeliver, endpoint.to_owned(), "", change).await?;
            total += number;
            if is_last {
                return Ok(total);
            }
            last = failed.into_iter().next_back();
        }
    }
}
