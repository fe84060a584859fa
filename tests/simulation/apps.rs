//! A hundred token caches of about sixty apps, each app with faults of its own. Most have one cache, and no store.

use std::time::Duration;

use fastrand::Rng;
use wxsub_core::token::TokenEndpoint;

use super::cluster::{Scenario, run_scenario};
use super::fault_plan::{FaultPlan, ServerPlan};
use super::faults::{ExternalFetch, FaultWindow, NetworkFault, draw_faults};
use super::network::SEND_TIMEOUT;
use super::node_faults::NodeFault;
use super::oracle::Summary;
use super::store_faults::{StoreFault, StoreFaultWindow};

const CACHES: usize = 100;

/// All faults end before this.
const FAULTS_END: Duration = Duration::from_secs(5 * 3600);

/// After this time without a fault, everything works.
const CALM_AFTER: Duration = Duration::from_secs(600);

/// The same after a crash.
const CALM_AFTER_CRASH: Duration = Duration::from_secs(180);

/// Runs one seed. `verbose` prints a trace.
pub(crate) fn run(seed: u64, verbose: bool) -> Summary {
    let (mut rng, mut summary, mut caches) = (Rng::with_seed(seed), Summary::default(), 0);
    while caches < CACHES {
        let scenario = draw_scenario(&mut rng);
        caches += scenario.fault_plan.servers.len();
        summary.add(run_scenario(scenario, rng.fork(), verbose).summary);
    }
    summary
}

/// One app.
fn draw_scenario(rng: &mut Rng) -> Scenario {
    let endpoint = if rng.u8(0..3) == 0 { TokenEndpoint::StableToken } else { TokenEndpoint::Token };
    let (size, has_store) = match rng.u8(0..10) {
        // Two caches that do not share a store invalidate each other's tokens.
        0 => (2, false),
        1 => (rng.usize(2..5), true),
        _ => (1, rng.u8(0..10) == 0),
    };
    let faults = draw_faults(rng, FAULTS_END);
    let mut busy: Vec<_> = faults
        .iter()
        .map(|window| window.from.saturating_sub(SEND_TIMEOUT)..window.to + CALM_AFTER)
        .collect();
    let mut fault_plan = FaultPlan::default();
    for _ in 0..size {
        let store_faults = store_faults(rng, &faults);
        let mut plan = ServerPlan { faults: faults.clone(), store_faults, ..ServerPlan::default() };
        for _ in 0..rng.u8(0..6) {
            let at = Duration::from_secs(rng.u64(1..FAULTS_END.as_secs()));
            match rng.u8(0..4) {
                0 => {
                    let crash = NodeFault::Killed(Duration::from_millis(rng.u64(1..120_000)));
                    busy.push(at.saturating_sub(SEND_TIMEOUT)..at + CALM_AFTER_CRASH);
                    plan.node_faults.push((at, crash));
                }
                1 => {
                    // Clocks of servers that share a store are as far apart as in the cluster simulation.
                    let max = if has_store { 600 } else { [30, 600, 3_600, 9_000][rng.usize(0..4)] };
                    plan.node_faults.push((at, NodeFault::ClockSet(rng.i64(-max..=max))));
                }
                2 => fault_plan.external_fetches.push((at, ExternalFetch::Earlier)),
                _ => fault_plan.external_fetches.push((at, ExternalFetch::Now)),
            }
        }
        fault_plan.servers.push(plan);
    }
    // The last fetch of another program ends tokens five minutes later, and the next send within ten minutes finds that out.
    let calm = FAULTS_END + CALM_AFTER * 2;
    let lifetime = Duration::from_secs(7200);
    Scenario { endpoint, lifetime, has_store, fault_plan, busy, calm, end: calm + CALM_AFTER * 2 }
}

/// While the store is unavailable, requests to it or their responses are lost.
fn store_faults(rng: &mut Rng, faults: &[FaultWindow]) -> Vec<StoreFaultWindow> {
    let outages = faults.iter().filter(|window| window.fault == NetworkFault::StoreUnavailable);
    let lost = [StoreFault::RequestsLost, StoreFault::ResponsesLost];
    let outage = |FaultWindow { from, to, .. }: &FaultWindow| StoreFaultWindow {
        from: *from,
        to: *to,
        fault: lost[rng.usize(0..2)],
    };
    outages.map(outage).collect()
}
