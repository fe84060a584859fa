//! The deliveries to an endpoint.

use wxsub_core::clock::UnixMillis;

use super::Rows;
use crate::webhook::{EndpointStatus, MAX_COUNTED_DELIVERIES, StoredDelivery};

impl Rows {
    pub(super) fn deliveries_to(&self, endpoint: &str) -> impl Iterator<Item = &StoredDelivery> {
        self.deliveries.values().filter(move |delivery| delivery.id.endpoint == endpoint)
    }

    pub(in crate::ledger) fn endpoint_statuses(&self, now: UnixMillis) -> Vec<EndpointStatus> {
        let statuses = self.endpoints.values().flat_map(|all| all.iter()).map(|endpoint| {
            let (mut is_due, mut pending, mut dead) = (false, 0, 0);
            for delivery in self.deliveries_to(&endpoint.name) {
                is_due |= delivery.is_due(now);
                *(if delivery.due_at.is_some() { &mut pending } else { &mut dead }) += 1;
            }
            let [pending, dead] = [pending, dead].map(|count: u64| count.min(MAX_COUNTED_DELIVERIES));
            EndpointStatus { endpoint: endpoint.clone(), is_due, pending, dead }
        });
        statuses.collect()
    }
}
