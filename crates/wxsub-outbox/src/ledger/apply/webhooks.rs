//! Records, claims and settles deliveries to endpoints.

use super::super::LedgerResult;
use super::Changing;
use crate::message::StoredMessage;
use crate::state::{EventKind, MessageState, WebhookEvent};
use crate::webhook::{DeliveryId, DeliveryOutcome, StoredDelivery, StoredEndpoint};

/// The error of a delivery that waits for a disabled endpoint.
const DISABLED_ERROR: &str = "410: the endpoint is disabled";

impl Changing<'_> {
    /// Records a delivery of the last event of a message, for each endpoint that wants it.
    pub(super) fn record_deliveries(
        &mut self,
        before: Option<MessageState>,
        message: &StoredMessage,
        kind: EventKind,
    ) -> LedgerResult<()> {
        let Some(event) = WebhookEvent::of(before, message.state, kind) else { return Ok(()) };
        for endpoint in self.tables.webhook_endpoints()?.iter() {
            if endpoint.wants(&message.appid, event) {
                self.tables.put_delivery(endpoint.delivery(message, event, self.now))?;
            }
        }
        Ok(())
    }

    /// Replaces the endpoints. A disabled one stays disabled while its URL is the same.
    pub(super) fn set_endpoints(&mut self, mut endpoints: Vec<StoredEndpoint>) -> LedgerResult<()> {
        let known = self.tables.webhook_endpoints()?;
        endpoints.sort_by(|one, next| one.name.cmp(&next.name));
        for endpoint in &mut endpoints {
            let same = |known: &&StoredEndpoint| {
                known.name == endpoint.name && known.url_sha256 == endpoint.url_sha256
            };
            endpoint.disabled_at = known.iter().find(same).and_then(|known| known.disabled_at);
        }
        if *known == *endpoints { Ok(()) } else { self.tables.set_webhook_endpoints(endpoints) }
    }

    fn endpoint(&mut self, name: &str) -> LedgerResult<Option<StoredEndpoint>> {
        Ok(self.tables.webhook_endpoints()?.iter().find(|endpoint| endpoint.name == name).cloned())
    }

    fn put_endpoint(&mut self, changed: &StoredEndpoint) -> LedgerResult<()> {
        let mut endpoints = self.tables.webhook_endpoints()?.to_vec();
        endpoints.iter_mut().filter(|one| one.name == changed.name).for_each(|one| one.clone_from(changed));
        self.tables.set_webhook_endpoints(endpoints)
    }

    pub(super) fn claim_deliveries(
        &mut self,
        endpoint: &str,
        url_sha256: [u8; 32],
        limit: usize,
    ) -> LedgerResult<Vec<StoredDelivery>> {
        let can_take = |known: &StoredEndpoint| known.disabled_at.is_none() && known.url_sha256 == url_sha256;
        if !self.endpoint(endpoint)?.is_some_and(|known| can_take(&known)) {
            return Ok(Vec::new());
        }
        let due = self.tables.due_deliveries(endpoint, self.now, limit)?;
        let claimed: Vec<_> = due.into_iter().map(|delivery| delivery.claim(self.now)).collect();
        claimed.iter().try_for_each(|delivery| self.tables.put_delivery(delivery.clone()))?;
        Ok(claimed)
    }

    /// Gives the delivery, if it is still there.
    pub(super) fn settle_delivery(
        &mut self,
        id: &DeliveryId,
        attempt: u32,
        outcome: DeliveryOutcome,
    ) -> LedgerResult<Option<StoredDelivery>> {
        let Some(delivery) = self.tables.delivery(id)? else { return Ok(None) };
        if outcome == DeliveryOutcome::Delivered {
            // A late success counts, too: the endpoint has the webhook.
            self.tables.delete_delivery(id)?;
            return Ok(None);
        }
        if let DeliveryOutcome::Gone { url_sha256 } = outcome
            && let Some(mut endpoint) = self.endpoint(&id.endpoint)?
            && endpoint.url_sha256 == url_sha256
        {
            endpoint.disabled_at.get_or_insert(self.now);
            self.put_endpoint(&endpoint)?;
        }
        if delivery.attempt != attempt {
            return Ok(Some(delivery));
        }
        let settled = match outcome {
            DeliveryOutcome::Failed { error, retry_after } => delivery.fail(error, retry_after, self.now),
            DeliveryOutcome::Gone { .. } | DeliveryOutcome::Delivered => {
                delivery.hold(DISABLED_ERROR, self.now)
            }
        };
        self.tables.put_delivery(settled.clone())?;
        Ok(Some(settled))
    }

    /// Enables the endpoint, and makes those of the deliveries due that failed. Gives their number.
    pub(super) fn redeliver(&mut self, endpoint: &str, deliveries: &[DeliveryId]) -> LedgerResult<usize> {
        let Some(known) = self.endpoint(endpoint)? else { return Ok(0) };
        if known.disabled_at.is_some() {
            self.put_endpoint(&StoredEndpoint { disabled_at: None, ..known })?;
        }
        let mut number = 0;
        for id in deliveries {
            if let Some(failed) = self.tables.delivery(id)?.filter(|delivery| delivery.error.is_some()) {
                self.tables.put_delivery(failed.renew(self.now))?;
                number += 1;
            }
        }
        Ok(number)
    }
}
