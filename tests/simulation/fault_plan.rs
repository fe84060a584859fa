//! All faults and events of one cluster, drawn from the random number generator.

use std::time::Duration;

use fastrand::Rng;
use strum::VariantArray;

use super::fault_window::{FaultWindow, draw_windows};
use super::faults::{ExternalFetch, NetworkFault};
use super::invariants::{SETTLE_TIME, SETTLE_TIME_AFTER_REFUSAL};
use super::node_faults::{FetchFault, NodeFault};
use super::store_faults::{StoreFault, draw_store_fault};

/// How long a token stays valid after another fetch has replaced it. Faults end early enough for that.
const OVERLAP: Duration = Duration::from_secs(300);

/// The longest delay of a request.
const MAX_REQUEST_DELAY: Duration = Duration::from_secs(90);

#[derive(Debug, Default)]
pub(crate) struct FaultPlan {
    pub(crate) redis: Vec<(FaultWindow<StoreFault>, RedisReturn)>,
    pub(crate) external_fetches: Vec<(Duration, ExternalFetch)>,
    pub(crate) fetch_faults: Vec<FetchFault>,
    /// When all leases become leases without end.
    pub(crate) endless_leases: Vec<Duration>,
    /// When the records of all apps break, and whether their generations are lost.
    pub(crate) broken_records: Vec<(Duration, bool)>,
    /// Whether a server with another upstream uses the same Redis and prefix.
    pub(crate) has_other_upstream: bool,
    pub(crate) servers: Vec<ServerPlan>,
}

/// The state of Redis when it is reachable again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RedisReturn {
    Unchanged,
    Empty,
    /// As it was this long ago.
    Older(Duration),
}

/// The faults and events of one server.
#[derive(Debug, Default)]
pub(crate) struct ServerPlan {
    /// The offset of its wall clock, in seconds.
    pub(crate) skew: i64,
    /// Between the server and Weixin.
    pub(crate) faults: Vec<FaultWindow<NetworkFault>>,
    /// Between the server and Redis, and of Redis itself.
    pub(crate) store_faults: Vec<FaultWindow<StoreFault>>,
    pub(crate) node_faults: Vec<(Duration, NodeFault)>,
    /// When a client reports the token as invalid.
    pub(crate) reports: Vec<Duration>,
}

/// Draws the plan of a cluster. Each kind of fault is left out of half of the plans, so that each also happens alone.
pub(super) fn draw_fault_plan(rng: &mut Rng, servers: usize, end: Duration) -> FaultPlan {
    let mut fault_plan = FaultPlan::default();
    let some = |rng: &mut Rng, max: u8| if rng.bool() { rng.u8(0..=max) } else { 0 };
    fault_plan.redis = (0..some(rng, 3)).map(|_| (draw_store_fault(rng, end), redis_return(rng))).collect();
    // Outages follow one another, so that each starts from the state that the one before left.
    fault_plan.redis.sort_by_key(|(window, _)| window.from);
    fault_plan.redis.dedup_by(|later, earlier| later.0.from < earlier.0.to);
    let latest = end - OVERLAP;
    fault_plan.external_fetches =
        (0..some(rng, 3)).map(|_| (moment(rng, latest), external_fetch(rng))).collect();
    fault_plan.fetch_faults = (0..some(rng, 4)).map(|_| fetch_fault(rng, end)).collect();
    fault_plan.endless_leases = (0..some(rng, 2)).map(|_| moment(rng, end)).collect();
    // Early enough that a planned refresh follows.
    fault_plan.broken_records = (0..some(rng, 2)).map(|_| (moment(rng, end / 4), rng.bool())).collect();
    fault_plan.has_other_upstream = rng.bool();
    let all = if rng.bool() { draw_faults(rng, end) } else { Vec::new() };
    let (own_faults, own_store, node_faults) = (rng.bool(), rng.bool(), rng.bool());
    for _ in 0..servers {
        let mut plan = ServerPlan { skew: rng.i64(-600..=600), faults: all.clone(), ..ServerPlan::default() };
        plan.store_faults = fault_plan.redis.iter().map(|(window, _)| window.clone()).collect();
        if own_faults && rng.u8(0..4) == 0 {
            plan.faults.extend(draw_faults(rng, end));
        }
        if own_store && rng.u8(0..4) == 0 {
            plan.store_faults.push(draw_store_fault(rng, end));
        }
        if node_faults {
            plan.node_faults = (0..rng.u8(0..3)).map(|_| (moment(rng, end), NodeFault::draw(rng))).collect();
        }
        fault_plan.servers.push(plan);
    }
    for _ in 0..some(rng, 5) {
        let at = moment(rng, end);
        fault_plan.servers[rng.usize(0..servers)].reports.push(at);
    }
    fault_plan
}

/// A late request invalidates the token like an external fetch, so late requests end earlier.
fn draw_faults(rng: &mut Rng, end: Duration) -> Vec<FaultWindow<NetworkFault>> {
    let mut faults = draw_windows(rng, end, 4, NetworkFault::VARIANTS);
    for window in faults.iter_mut().filter(|window| window.fault == NetworkFault::ArrivesLate) {
        window.to = window.to.min(end - OVERLAP - MAX_REQUEST_DELAY);
    }
    faults
}

fn moment(rng: &mut Rng, end: Duration) -> Duration {
    Duration::from_millis(rng.u64(0..u64::try_from(end.as_millis()).unwrap()))
}

fn redis_return(rng: &mut Rng) -> RedisReturn {
    match rng.u8(0..4) {
        0 => RedisReturn::Empty,
        1 => RedisReturn::Older(Duration::from_millis(rng.u64(1..1_000_000))),
        _ => RedisReturn::Unchanged,
    }
}

fn external_fetch(rng: &mut Rng) -> ExternalFetch {
    if rng.bool() { ExternalFetch::Earlier } else { ExternalFetch::Now }
}

fn fetch_fault(rng: &mut Rng, end: Duration) -> FetchFault {
    let (from, delay) = (moment(rng, end), Duration::from_millis(rng.u64(0..200)));
    FetchFault { from, delay, fault: NodeFault::draw_during_fetch(rng) }
}

impl FaultPlan {
    /// How long recovery may take after the last fault. The token cache treats a refusal by Weixin as persistent.
    pub(super) fn settle_time(&self) -> Duration {
        let refuses = |window: &FaultWindow<NetworkFault>| {
            matches!(window.fault, NetworkFault::Quota | NetworkFault::AddressRefused | NetworkFault::Frozen)
        };
        let is_refused = self.servers.iter().any(|plan| plan.faults.iter().any(refuses));
        if is_refused { SETTLE_TIME_AFTER_REFUSAL } else { SETTLE_TIME }
    }
}
