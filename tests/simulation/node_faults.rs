//! Faults of one server: at a set time, or during its next fetch.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::mpsc::UnboundedSender;

use super::node_clock::NodeClock;
use super::oracle::Oracle;
use super::redis::Redis;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeFault {
    /// As `kill -9`. The server restarts after this time.
    Killed(Duration),
    /// As `kill -STOP`, with `kill -CONT` after this time.
    Suspended(Duration),
    /// The wall clock is changed by this many seconds.
    ClockSet(i64),
}

/// A fault of the server that takes the lease next after `from`. It happens `delay` later.
#[derive(Debug, Clone)]
pub(crate) struct FetchFault {
    pub(super) from: Duration,
    pub(super) delay: Duration,
    pub(super) fault: NodeFault,
}

/// How a fault reaches its server.
pub(super) struct Target {
    pub(super) clock: Arc<NodeClock>,
    pub(super) kills: UnboundedSender<Duration>,
}

pub(super) struct NodeFaults {
    pub(super) clock: Arc<NodeClock>,
    pub(super) oracle: Arc<Oracle>,
    pub(super) redis: Arc<Redis>,
    pub(super) targets: Vec<Target>,
    pub(super) fetch_faults: Mutex<Vec<FetchFault>>,
    /// When a fault hit a server between its call to Weixin and the storing of the token.
    pub(super) hits: Mutex<Vec<Duration>>,
    /// Until this time all faults are over.
    pub(super) end: Duration,
}

impl NodeFault {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        match rng.u8(0..3) {
            0 => Self::Killed(Duration::from_millis(rng.u64(1..120_000))),
            1 => Self::draw_suspension(rng),
            _ => Self::ClockSet(rng.i64(-600..=600)),
        }
    }

    /// A fault during a fetch. A changed clock has little effect there.
    pub(super) fn draw_during_fetch(rng: &mut Rng) -> Self {
        match rng.bool() {
            true => Self::Killed(Duration::from_millis(rng.u64(1..120_000))),
            false => Self::draw_suspension(rng),
        }
    }

    fn draw_suspension(rng: &mut Rng) -> Self {
        Self::Suspended(Duration::from_millis(rng.u64(500..180_000)))
    }
}

impl NodeFaults {
    pub(super) fn inject(&self, server: usize, fault: NodeFault) {
        let (now, target) = (self.clock.elapsed(), &self.targets[server]);
        self.oracle.trace(|| format!("{server}: {fault:?}"));
        match fault {
            NodeFault::Killed(down) => target.kills.send(down.min(self.end.saturating_sub(now))).unwrap(),
            NodeFault::Suspended(span) => target.clock.suspend(now..self.end.min(now + span)),
            NodeFault::ClockSet(by) => target.clock.set(by),
        }
    }

    /// This server has just taken or renewed the lease.
    pub(super) fn on_lease(self: &Arc<Self>, server: usize, could_read: bool) {
        if !could_read {
            self.oracle.report_violation(&format!("{server}: takes the lease, but cannot read the record"));
        }
        let now = self.clock.elapsed();
        let mut fetch_faults = self.fetch_faults.lock().unwrap();
        let Some(next) = fetch_faults.iter().position(|fault| fault.from <= now && now < self.end) else {
            return;
        };
        let FetchFault { delay, fault, .. } = fetch_faults.swap_remove(next);
        let node_faults = Arc::clone(self);
        tokio::spawn(async move {
            node_faults.clock.sleep(delay).await;
            if node_faults.redis.is_in_doubt() && node_faults.redis.state().last_change <= now {
                node_faults.hits.lock().unwrap().push(node_faults.clock.elapsed());
            }
            node_faults.inject(server, fault);
        });
    }
}
