//! The rate of failed logins of each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wxsub_core::clock::MonotonicInstant;
use wxsub_core::rate_limit::TokenBucket;

use crate::state::connections::group;

/// So many failures of an address are not slowed.
const PROMPT_FAILURES: u32 = 5;

/// Then one attempt in each interval.
const FAILURE_INTERVAL: Duration = Duration::from_secs(10);

/// Maximum number of addresses that are known. All others share one limit.
const MAX_ADDRESSES: usize = 10_000;

/// The failed logins of all addresses.
#[derive(Debug, Default)]
pub(super) struct LoginLimiter(Mutex<HashMap<Option<IpAddr>, TokenBucket>>);

impl LoginLimiter {
    /// Begins a login. It counts as failed until [`succeeded`](Self::succeeded).
    ///
    /// # Errors
    /// How long to wait.
    pub(super) fn begin(&self, address: Option<IpAddr>, now: MonotonicInstant) -> Result<(), Duration> {
        let bucket = || TokenBucket::new(PROMPT_FAILURES, FAILURE_INTERVAL);
        let mut addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= MAX_ADDRESSES {
            addresses.retain(|_, bucket| bucket.wait(now) > Duration::ZERO);
        }
        let is_full = addresses.len() >= MAX_ADDRESSES;
        let key = address.map(group).filter(|address| !is_full || addresses.contains_key(&Some(*address)));
        addresses.entry(key).or_insert_with(bucket).try_acquire(now)
    }

    /// The login succeeded.
    pub(super) fn succeeded(&self, address: Option<IpAddr>) {
        let mut addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = addresses.get_mut(&address.map(group)) {
            bucket.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_of_an_address_are_prompt_and_then_one_in_ten_seconds() {
        let limiter = LoginLimiter::default();
        let at = |seconds: u64| MonotonicInstant::from_origin(Duration::from_secs(1_000 + seconds));
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| Some(text.parse().unwrap()));
        for _ in 0..5 {
            assert_eq!(limiter.begin(one, at(0)), Ok(()));
        }
        assert_eq!(limiter.begin(one, at(0)), Err(Duration::from_secs(10)));
        assert_eq!(limiter.begin(other, at(0)), Ok(()));
        assert_eq!(limiter.begin(one, at(10)), Ok(()));
        limiter.succeeded(one);
        assert_eq!(limiter.begin(one, at(10)), Ok(()));
        assert!(limiter.begin(one, at(10)).is_err());
    }
}
