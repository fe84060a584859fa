//! The scenario of a seed: fifty servers and their faults.

use std::time::Duration;

use fastrand::Rng;
use wxsub_core::token::TokenEndpoint;

use super::cluster::{Outcome, Scenario, run_scenario};
use super::fault_plan::draw_fault_plan;
use super::request_bound::RequestBound;

const SERVERS: usize = 50;

/// All faults end before this.
const FAULTS_END: Duration = Duration::from_secs(1_800);

/// The end of the run. Before it, everything must work again.
const END: Duration = Duration::from_secs(2_400);

/// Runs one seed. `verbose` prints a trace.
pub(crate) fn run_cluster(seed: u64, verbose: bool) -> Outcome {
    let mut rng = Rng::with_seed(seed);
    let endpoint = match rng.u8(0..3) {
        0 => TokenEndpoint::StableToken,
        _ => TokenEndpoint::Token,
    };
    let lifetime = Duration::from_secs([900, 1_200, 1_800][rng.usize(0..3)]);
    let fault_plan = draw_fault_plan(&mut rng, SERVERS, FAULTS_END);
    let settled = FAULTS_END + fault_plan.settle_time();
    let busy = vec![Duration::ZERO..settled];
    let (has_store, calm, end) = (true, FAULTS_END, END);
    let scenario = Scenario { endpoint, lifetime, has_store, fault_plan, busy, calm, end };
    let bound = RequestBound::new(&scenario);
    let mut outcome = run_scenario(scenario, rng, verbose);
    let (requests, max) =
        (outcome.summary.arrived_token_requests, bound.max_requests(outcome.summary.rejections));
    if requests > max {
        let violation = format!("{requests} token requests arrived, at most {max} are explained");
        outcome.summary.violations.push(violation);
    }
    outcome
}
