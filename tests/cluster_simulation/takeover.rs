//! Measures takeover: the refreshing server is killed or suspended during its fetch, and a peer stores the next token.

use std::time::Duration;

use fastrand::Rng;
use wxsub_core::token::TokenEndpoint;

use super::cluster::{Outcome, Scenario, run_scenario};
use super::fault_plan::{ExternalFetch, FaultPlan, ServerPlan};
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
        external_fetches: if at == FetchPhase::Rejection {
            vec![(from, ExternalFetch::Earlier)]
        } else {
            Vec::new()
        },
        servers: (0..servers)
            .map(|_| ServerPlan { skew: rng.i64(-600..=600), ..ServerPlan::default() })
            .collect(),
        ..FaultPlan::default()
    };
    let end = from + if at == FetchPhase::Start { LIFETIME / 4 } else { LIFETIME / 2 };
    let outcome = run_scenario(
        Scenario { endpoint: TokenEndpoint::Token, lifetime: LIFETIME, fault_plan, calm: end, end },
        rng,
        verbose,
    );
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
    let plans = (0..servers).map(|_| ServerPlan { skew: rng.i64(-600..=600), ..ServerPlan::default() });
    let fault_plan = FaultPlan { servers: plans.collect(), ..FaultPlan::default() };
    let end = LIFETIME * 5;
    run_scenario(
        Scenario {
            endpoint: TokenEndpoint::Token,
            lifetime: LIFETIME,
            fault_plan,
            calm: Duration::ZERO,
            end,
        },
        rng,
        false,
    )
}
