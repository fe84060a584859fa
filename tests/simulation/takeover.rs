//! Measures takeover: the refreshing server is killed or suspended during its fetch, and a peer stores the next token.

use std::time::Duration;

use fastrand::Rng;
use wxsub_core::token::TokenEndpoint;

use super::cluster::{Outcome, Scenario, run_scenario};
use super::fault_plan::{FaultPlan, ServerPlan};
use super::faults::ExternalFetch;
use super::node_faults::{FetchFault, NodeFault};

/// When the fault hits the refreshing server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FetchPhase {
    /// While it fetches the first token.
    Start,
    /// While it replaces a valid token ahead of expiry.
    Refresh,
    /// While it replaces a token that Weixin has just rejected.
    Rejection,
}

const LIFETIME: Duration = Duration::from_secs(400);

/// One run, and how long the takeover took. `None` if no server was hit during its call.
pub(crate) fn takeover(
    seed: u64,
    servers: usize,
    at: FetchPhase,
    verbose: bool,
) -> (Outcome, Option<Duration>) {
    let mut rng = Rng::with_seed(seed);
    let from = if at == FetchPhase::Start { Duration::ZERO } else { LIFETIME / 4 };
    let downtime = Duration::from_secs(60);
    let fault = if rng.bool() { NodeFault::Killed(downtime) } else { NodeFault::Suspended(downtime) };
    // A call takes 4 to 160 ms.
    let delay = Duration::from_millis(rng.u64(5..90));
    let fault_plan = FaultPlan {
        fetch_faults: vec![FetchFault { from, delay, fault }],
        external_fetches: (at == FetchPhase::Rejection)
            .then_some((from, ExternalFetch::Earlier))
            .into_iter()
            .collect(),
        servers: draw_servers(&mut rng, servers),
        ..FaultPlan::default()
    };
    let end = from + if at == FetchPhase::Start { LIFETIME / 4 } else { LIFETIME / 2 };
    let outcome = run_with(fault_plan, end, end, rng, verbose);
    let took = outcome.hits.first().map(|hit| {
        let stored = outcome.store_times.iter().find(|stored| *stored >= hit);
        // Without a takeover, the time until the end counts.
        stored.copied().unwrap_or(end).saturating_sub(*hit)
    });
    (outcome, took)
}

/// Servers without faults, for several refreshes.
pub(crate) fn run_calm(seed: u64, servers: usize) -> Outcome {
    let mut rng = Rng::with_seed(seed);
    let fault_plan = FaultPlan { servers: draw_servers(&mut rng, servers), ..FaultPlan::default() };
    run_with(fault_plan, Duration::ZERO, LIFETIME * 5, rng, false)
}

fn draw_servers(rng: &mut Rng, servers: usize) -> Vec<ServerPlan> {
    (0..servers).map(|_| ServerPlan { skew: rng.i64(-600..=600), ..ServerPlan::default() }).collect()
}

fn run_with(fault_plan: FaultPlan, calm: Duration, end: Duration, rng: Rng, verbose: bool) -> Outcome {
    let (endpoint, lifetime) = (TokenEndpoint::Token, LIFETIME);
    let busy = vec![Duration::ZERO..calm + fault_plan.settle_time()];
    run_scenario(Scenario { endpoint, lifetime, has_store: true, fault_plan, busy, calm, end }, rng, verbose)
}
