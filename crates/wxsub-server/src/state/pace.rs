//! Paces: requests and handshakes beyond a rate wait for their turn.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use wxsub_core::clock::MonotonicInstant;

use super::connections::group;
use crate::state::locked;

/// Minimum number of addresses at which those without a wait are removed.
const MIN_SWEEP: usize = 1024;

/// Whole seconds for `Retry-After`, at least 1. Zero would invite an immediate retry.
pub(crate) fn retry_after_s(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX)
}

/// The pace of one caller.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// The end of the last planned turn. Each turn takes its share of a second.
    busy_until: MonotonicInstant,
}

/// The request or handshake was refused, because too many of its caller wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Pace {
    /// Plans a request that takes this many turns. Returns how long it has to wait: the turns of one second begin at once.
    ///
    /// # Errors
    /// [`TooMany`] if that is longer than `max_wait`.
    pub(crate) fn plan(
        &mut self,
        turns: u64,
        per_second: usize,
        max_wait: Duration,
        now: MonotonicInstant,
    ) -> Result<Duration, TooMany> {
        let wait = self.busy_until.duration_since(now).saturating_sub(Duration::from_secs(1));
        if wait > max_wait {
            return Err(TooMany);
        }
        let turn = Duration::from_secs(1) / u32::try_from(per_second).unwrap_or(u32::MAX);
        let turns = u32::try_from(turns).unwrap_or(u32::MAX);
        self.busy_until = self.busy_until.max(now) + turn.saturating_mul(turns);
        Ok(wait)
    }

    /// The number of turns that were planned within the last second, with those that wait.
    pub(crate) fn used(self, per_second: usize, now: MonotonicInstant) -> usize {
        let parts = self.busy_until.duration_since(now).as_nanos() * per_second as u128;
        usize::try_from(parts.div_ceil(Duration::from_secs(1).as_nanos())).unwrap_or(usize::MAX)
    }
}

/// The paces of all addresses.
pub(crate) struct AddressPaces(Mutex<State>);

struct State {
    paces: HashMap<IpAddr, Pace>,
    /// The number of addresses at which they are swept.
    sweep_at: usize,
}

impl Default for AddressPaces {
    fn default() -> Self {
        Self(Mutex::new(State { paces: HashMap::new(), sweep_at: MIN_SWEEP }))
    }
}

impl AddressPaces {
    /// As [`Pace::plan`], for a request of this address.
    pub(crate) fn plan(
        &self,
        address: IpAddr,
        turns: u64,
        per_second: usize,
        max_wait: Duration,
        now: MonotonicInstant,
    ) -> Result<Duration, TooMany> {
        let state = &mut *locked(&self.0);
        if state.paces.len() >= state.sweep_at {
            state.paces.retain(|_, pace| pace.busy_until > now);
            state.sweep_at = (state.paces.len() * 2).max(MIN_SWEEP);
        }
        state.paces.entry(group(address)).or_default().plan(turns, per_second, max_wait, now)
    }

    /// As [`Pace::used`], for the address with the most turns.
    pub(crate) fn used(&self, per_second: usize, now: MonotonicInstant) -> usize {
        let state = locked(&self.0);
        let most = state.paces.values().max_by_key(|pace| pace.busy_until);
        most.map_or(0, |pace| pace.used(per_second, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_WAIT: Duration = Duration::from_secs(2);

    fn at(millis: u64) -> MonotonicInstant {
        MonotonicInstant::from_origin(Duration::from_millis(millis))
    }

    #[test]
    fn those_of_one_second_begin_at_once_and_later_ones_wait() {
        let paces = AddressPaces::default();
        let plan = |address: &str, millis| {
            let wait = paces.plan(address.parse().unwrap(), 1, 10, MAX_WAIT, at(millis));
            wait.map(|wait| wait.as_millis())
        };
        for _ in 0..=10 {
            assert_eq!(plan("10.0.0.1", 5000), Ok(0));
        }
        let waits: Vec<_> = (0..100).map(|_| plan("10.0.0.1", 5000)).take_while(Result::is_ok).collect();
        assert_eq!((waits.len(), waits[0], waits[19]), (20, Ok(100), Ok(2000)));
        // One that is refused delays no other one.
        assert_eq!(plan("10.0.0.1", 5100), Ok(2000));
        assert_eq!(paces.used(10, at(5100)), 31);
        assert_eq!((plan("10.0.0.2", 5100), plan("10.0.0.1", 9000)), (Ok(0), Ok(0)));
        // One that takes twenty turns.
        let long = paces.plan("10.0.0.3".parse().unwrap(), 20, 10, MAX_WAIT, at(9000));
        assert_eq!((long, plan("10.0.0.3", 9000)), (Ok(Duration::ZERO), Ok(1000)));
        // An IPv6 client usually has a whole /64.
        for host in 0..=10 {
            assert_eq!(plan(&format!("2001:db8::{host}"), 9000), Ok(0));
        }
        assert_eq!(plan("2001:db8::ffff", 9000), Ok(100));
    }

    #[test]
    fn retry_after_is_rounded_up_to_whole_seconds() {
        for (millis, expected) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (60_000, 60)] {
            assert_eq!(retry_after_s(Duration::from_millis(millis)), expected, "{millis}");
        }
    }

    #[test]
    fn addresses_that_are_done_take_no_memory() {
        let paces = AddressPaces::default();
        for bits in 0..100_000_u32 {
            let planned = paces.plan(IpAddr::V4(bits.into()), 1, 1000, MAX_WAIT, at(bits.into()));
            assert_eq!(planned, Ok(Duration::ZERO));
        }
        assert!(locked(&paces.0).paces.len() <= MIN_SWEEP);
    }
}
