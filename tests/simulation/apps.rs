//! A hundred token caches of about sixty apps, each app with faults of its own. Most have one cache, and no store.

use std::time::Duration;

use fastrand::Rng;
use strum::VariantArray;
use wxsub_core::token::TokenEndpoint;

use super::cluster::{Scenario, run_scenario};
use super::fault_plan::{FaultPlan, ServerPlan};
use super::fault_window::{FaultWindow, draw_windows};
use super::faults::{ExternalFetch, NetworkFault};
use super::node_faults::NodeFault;
use super::oracle::Summary;
use super::store_faults::StoreFault;

const CACHES: usize = 100;

/// All faults end before this.
const FAULTS_END: Duration = Duration::from_secs(5 * 3600);

/// After this time without a fault, everything works.
const CALM_AFTER: Duration = Duration::from_secs(600);

/// The same after a crash.
const CALM_AFTER_CRASH: Duration = Duration::from_secs(180);

/// Runs one seed. `verbose` prints a trace.
pub(crate) fn run_apps(seed: u64, verbose: bool) -> Summary {
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
    let faults = draw_windows(rng, FAULTS_END, 4, NetworkFault::VARIANTS);
    let mut busy: Vec<_> = faults.iter().map(|window| window.from..window.to + CALM_AFTER).collect();
    let mut fault_plan = FaultPlan::default();
    for _ in 0..size {
        let store_faults = store_faults(rng, &faults);
        let mut plan = ServerPlan { faults: faults.clone(), store_faults, ..ServerPlan::default() };
        for _ in 0..rng.u8(0..6) {
            let at = Duration::from_secs(rng.u64(1..FAULTS_END.as_secs()));
            match rng.u8(0..4) {
                0 => {
                    let crash = NodeFault::Killed(Duration::from_millis(rng.u64(1..120_000)));
                    busy.push(at..at + CALM_AFTER_CRASH);
                    plan.node_faults.push((at, crash));
                }
                1 => {
                    let max = [30, 600, 3_600, 9_000][rng.usize(0..4)];
                    plan.node_faults.push((at, NodeFault::ClockSet(rng.i64(-max..=max))));
                }
                number => {
                    let fetch = if number == 2 { ExternalFetch::Earlier } else { ExternalFetch::Now };
                    fault_plan.external_fetches.push((at, fetch));
                    // A send fails whose second token is rejected, too.
                    busy.push(at..at);
                }
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
fn store_faults(rng: &mut Rng, faults: &[FaultWindow<NetworkFault>]) -> Vec<FaultWindow<StoreFault>> {
    let outages = faults.iter().filter(|window| window.fault == NetworkFault::StoreUnavailable);
    let lost = [StoreFault::RequestsLost, StoreFault::ResponsesLost];
    let mut fault = || lost[rng.usize(0..2)];
    outages
        .map(|outage| FaultWindow { from: outage.from, to: outage.to, fault: fault(), percent: 100 })
        .collect()
}
