//! What happens to one server, whatever the weather: at a certain time, or in the middle of its next fetch.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::mpsc::UnboundedSender;

use super::node_clock::MachineClock;
use super::oracle::Witness;
use super::redis::Redis;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    /// As `kill -9`; started again after this long.
    Killed(Duration),
    /// As `kill -STOP`, and `kill -CONT` after this long.
    StandsStill(Duration),
    /// The wall clock is set by so many seconds.
    ClockSet(i64),
}

/// For whoever takes the lease next after `from`: it hits this much later.
#[derive(Debug, Clone)]
pub(crate) struct Ambush {
    pub(super) from: Duration,
    pub(super) delay: Duration,
    pub(super) blow: Blow,
}

/// What a blow hits.
pub(super) struct Target {
    pub(super) clock: Arc<MachineClock>,
    pub(super) kills: UnboundedSender<Duration>,
}

pub(super) struct Blows {
    pub(super) clock: Arc<MachineClock>,
    pub(super) witness: Arc<Witness>,
    pub(super) redis: Arc<Redis>,
    pub(super) targets: Vec<Target>,
    pub(super) ambushes: Mutex<Vec<Ambush>>,
    /// When a server was hit that had asked Weixin and not stored the token yet.
    pub(super) ambushed: Mutex<Vec<Duration>>,
    /// By then everybody is well again.
    pub(super) end: Duration,
}

impl Blow {
    pub(super) fn any(dice: &mut Rng) -> Self {
        match dice.u8(0..3) {
            0 => Self::Killed(Duration::from_millis(dice.u64(1..120_000))),
            1 => Self::pause(dice),
            _ => Self::ClockSet(dice.i64(-600..=600)),
        }
    }

    /// In the middle of a fetch a clock that is set does little.
    pub(super) fn in_a_fetch(dice: &mut Rng) -> Self {
        match dice.bool() {
            true => Self::Killed(Duration::from_millis(dice.u64(1..120_000))),
            false => Self::pause(dice),
        }
    }

    fn pause(dice: &mut Rng) -> Self {
        Self::StandsStill(Duration::from_millis(dice.u64(500..180_000)))
    }
}

impl Blows {
    pub(super) fn strike(&self, server: usize, blow: Blow) {
        let (now, target) = (self.clock.passed(), &self.targets[server]);
        self.witness.tell(|| format!("{server}: {blow:?}"));
        match blow {
            Blow::Killed(down) => target.kills.send(down.min(self.end.saturating_sub(now))).unwrap(),
            Blow::StandsStill(span) => target.clock.stand_still(now..self.end.min(now + span)),
            Blow::ClockSet(by) => target.clock.set(by),
        }
    }

    /// This server has just taken the lease.
    pub(super) fn leased(self: &Arc<Self>, server: usize) {
        let now = self.clock.passed();
        let mut ambushes = self.ambushes.lock().unwrap();
        let Some(waiting) = ambushes.iter().position(|ambush| ambush.from <= now && now < self.end) else {
            return;
        };
        let Ambush { delay, blow, .. } = ambushes.swap_remove(waiting);
        let blows = Arc::clone(self);
        tokio::spawn(async move {
            blows.clock.sleep(delay).await;
            if blows.redis.is_marked() && blows.redis.changed() <= now {
                blows.ambushed.lock().unwrap().push(blows.clock.passed());
            }
            blows.strike(server, blow);
        });
    }

    pub(super) fn ambushed(&self) -> Vec<Duration> {
        self.ambushed.lock().unwrap().clone()
    }
}
