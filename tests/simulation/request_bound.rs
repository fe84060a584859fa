//! The upper bound of token requests: the fewest that are possible, and one for each event.

use std::time::Duration;

use wxsub_core::token::TokenEndpoint;

use super::cluster::Scenario;
use super::fault_plan::ServerPlan;
use super::fault_window::FaultWindow;
use super::faults::NetworkFault;
use super::node_faults::NodeFault;
use super::store_faults::StoreFault;

/// Retries of a server soon after a failure, before it slows down or a peer takes over.
const PROMPT_RETRIES: u64 = 4;

/// Seconds between attempts of a server whose own IP address is refused.
const REFUSED_RETRY_S: u64 = 150;

/// Seconds between attempts of all servers together while all of them fail.
const SHARED_RETRY_S: u64 = 9;

/// Seconds between attempts of a server that has neither the store nor Weixin.
const ISOLATED_RETRY_S: u64 = 6;

/// The bound without the requests caused by rejections.
pub(super) struct RequestBound {
    requests: u64,
    /// Whether servers had to fetch without the store. Then each rejection causes a request.
    has_store_faults: bool,
}

impl RequestBound {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let (fault_plan, lifetime) = (&scenario.fault_plan, scenario.lifetime.as_secs());
        let end = scenario.end.as_secs();
        let mut requests = 1 + match scenario.endpoint {
            // A token is replaced after 45 % of its lifetime.
            TokenEndpoint::Token => end * 100 / (lifetime * 45),
            // Five minutes before expiry.
            TokenEndpoint::StableToken => end / (lifetime - 300),
        };
        requests += count(&fault_plan.external_fetches) + count(&fault_plan.redis);
        requests += count(&fault_plan.broken_records);
        requests += fault_plan
            .fetch_faults
            .iter()
            .map(|fetch_fault| requests_caused_by(fetch_fault.fault))
            .sum::<u64>();
        for plan in &fault_plan.servers {
            requests += plan.node_faults.iter().map(|(_, fault)| requests_caused_by(*fault)).sum::<u64>();
            requests += count(&plan.reports);
            if !plan.faults.is_empty() {
                requests += PROMPT_RETRIES + address_refused_s(plan) / REFUSED_RETRY_S;
            }
            if !plan.store_faults.is_empty() {
                let unavailable: Duration =
                    plan.store_faults.iter().map(|window| window.to - window.from).sum();
                // At each expiry, or at each renewal.
                requests += 1 + 2 * unavailable.as_secs() / lifetime + overlap_s(plan) / ISOLATED_RETRY_S;
            }
        }
        let longest = fault_plan.servers.iter().map(faulty_s).max().unwrap_or_default();
        let has_store_faults = fault_plan.servers.iter().any(|plan| !plan.store_faults.is_empty());
        Self { requests: requests + longest / SHARED_RETRY_S, has_store_faults }
    }

    /// The bound for this number of rejections seen by servers.
    pub(super) fn max_requests(&self, rejections: u64) -> u64 {
        self.requests + if self.has_store_faults { rejections } else { 0 }
    }
}

/// A suspended server continues its call after a peer has called in its place. Then one more call settles which token works.
fn requests_caused_by(fault: NodeFault) -> u64 {
    if matches!(fault, NodeFault::Suspended(_)) { 2 } else { 1 }
}

fn count<T>(events: &[T]) -> u64 {
    events.len() as u64
}

fn length_s(window: &FaultWindow<NetworkFault>) -> u64 {
    window.to.saturating_sub(window.from).as_secs()
}

fn faulty_s(plan: &ServerPlan) -> u64 {
    plan.faults.iter().map(length_s).sum()
}

/// For how many seconds the network and the store fail at the same time.
fn overlap_s(plan: &ServerPlan) -> u64 {
    let windows = plan.faults.iter().flat_map(|window| {
        let overlap = |store: &FaultWindow<StoreFault>| {
            store.to.min(window.to).saturating_sub(store.from.max(window.from))
        };
        plan.store_faults.iter().map(move |store| overlap(store).as_secs())
    });
    windows.sum()
}

fn address_refused_s(plan: &ServerPlan) -> u64 {
    plan.faults.iter().filter(|window| window.fault == NetworkFault::AddressRefused).map(length_s).sum()
}
