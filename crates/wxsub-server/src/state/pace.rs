//! The rate of TLS handshakes of each address: a handshake costs up to a millisecond of CPU time, before any key is known.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wxsub_core::clock::MonotonicInstant;

use super::connections::group;

/// From how many addresses on those that are no longer needed are removed.
const MIN_SWEEP: usize = 1024;

/// The handshakes of all addresses.
#[derive(Debug)]
pub(crate) struct Handshakes(Mutex<State>);

#[derive(Debug)]
struct State {
    /// When the handshakes of each address are over, if each takes its share of a second.
    busy_until: HashMap<IpAddr, MonotonicInstant>,
    /// The number of addresses at which they are swept.
    sweep_at: usize,
}

/// A handshake was refused, because too many of its address wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Default for Handshakes {
    fn default() -> Self {
        Self(Mutex::new(State { busy_until: HashMap::new(), sweep_at: MIN_SWEEP }))
    }
}

impl Handshakes {
    /// Plans a handshake. Returns how long it has to wait: those of one second begin at once.
    ///
    /// # Errors
    /// [`TooMany`] if that is longer than `max_wait`.
    pub(crate) fn plan(
        &self,
        address: IpAddr,
        per_second: usize,
        max_wait: Duration,
        now: MonotonicInstant,
    ) -> Result<Duration, TooMany> {
        let state = &mut *self.locked();
        if state.busy_until.len() >= state.sweep_at {
            state.busy_until.retain(|_, end| *end > now);
            state.sweep_at = (state.busy_until.len() * 2).max(MIN_SWEEP);
        }
        let end = state.busy_until.entry(group(address)).or_default();
        let wait = end.duration_since(now).saturating_sub(Duration::from_secs(1));
        if wait > max_wait {
            return Err(TooMany);
        }
        *end = (*end).max(now) + Duration::from_secs(1) / u32::try_from(per_second).unwrap_or(u32::MAX);
        Ok(wait)
    }

    /// The most handshakes of one address within the last second, with those that wait.
    pub(crate) fn used(&self, per_second: usize, now: MonotonicInstant) -> usize {
        let most = self.locked().busy_until.values().max().copied().unwrap_or_default();
        let parts = most.duration_since(now).as_nanos() * per_second as u128;
        usize::try_from(parts.div_ceil(Duration::from_secs(1).as_nanos())).unwrap_or(usize::MAX)
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        // Each change is complete before it could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn handshakes_of_one_second_begin_at_once_and_later_ones_wait() {
        let handshakes = Handshakes::default();
        let plan = |address: &str, millis| {
            let wait = handshakes.plan(address.parse().unwrap(), 10, MAX_WAIT, at(millis));
            wait.map(|wait| wait.as_millis())
        };
        for _ in 0..=10 {
            assert_eq!(plan("10.0.0.1", 5000), Ok(0));
        }
        let waits: Vec<_> = (0..100).map(|_| plan("10.0.0.1", 5000)).take_while(Result::is_ok).collect();
        assert_eq!((waits.len(), waits[0], waits[19]), (20, Ok(100), Ok(2000)));
        // One that is refused delays no other one.
        assert_eq!(plan("10.0.0.1", 5100), Ok(2000));
        assert_eq!(handshakes.used(10, at(5100)), 31);
        assert_eq!((plan("10.0.0.2", 5100), plan("10.0.0.1", 9000)), (Ok(0), Ok(0)));
        // An IPv6 client usually has a whole /64.
        for host in 0..=10 {
            assert_eq!(plan(&format!("2001:db8::{host}"), 9000), Ok(0));
        }
        assert_eq!(plan("2001:db8::ffff", 9000), Ok(100));
    }

    #[test]
    fn addresses_without_handshakes_take_no_memory() {
        let handshakes = Handshakes::default();
        for bits in 0..100_000_u32 {
            let planned = handshakes.plan(IpAddr::V4(bits.into()), 1000, MAX_WAIT, at(bits.into()));
            assert_eq!(planned, Ok(Duration::ZERO));
        }
        assert!(handshakes.locked().busy_until.len() <= MIN_SWEEP);
    }
}
