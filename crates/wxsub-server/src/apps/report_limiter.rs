//! Limits the refreshes that a client causes by reports: per app 3 at once, then one every 60 s.
//!
//! Only a refresh that starts takes a permit.

use std::collections::HashMap;
use std::time::Duration;

use wxsub_core::clock::MonotonicInstant;
use wxsub_core::rate_limit::TokenBucket;
use wxsub_core::token::Generation;

const REPORT_CAPACITY: u32 = 3;
const REFILL_INTERVAL: Duration = Duration::from_secs(60);

/// The token buckets of all clients for one app, and the report that is being handled.
#[derive(Debug, Default)]
pub(crate) struct ReportLimiter {
    buckets: HashMap<String, TokenBucket>,
    /// The generation whose report started a refresh. Further reports of it wait for the same refresh and take no permit.
    refreshing_generation: Option<Generation>,
}

/// How a report is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is the first report of this token. It took a permit and starts the refresh.
    Leader,
    /// It waits for a refresh that is under way.
    Follower,
}

impl ReportLimiter {
    /// Admits a client's report of the current token. `is_refreshing` says whether a refresh is under way already.
    ///
    /// # Errors
    /// The time until the next permit, if the client has none left.
    pub(crate) fn admit(
        &mut self,
        client: &str,
        generation: Generation,
        is_refreshing: bool,
        now: MonotonicInstant,
    ) -> Result<Admission, Duration> {
        if is_refreshing || self.refreshing_generation == Some(generation) {
            return Ok(Admission::Follower);
        }
        let bucket = self
            .buckets
            .entry(client.to_owned())
            .or_insert_with(|| TokenBucket::new(REPORT_CAPACITY, REFILL_INTERVAL));
        bucket.try_acquire(now)?;
        self.refreshing_generation = Some(generation);
        Ok(Admission::Leader)
    }

    /// Ends the report of a leader. If no refresh started, the permit is returned.
    pub(crate) fn finish(&mut self, client: &str, generation: Generation, started: bool) {
        self.refreshing_generation.take_if(|refreshing_generation| *refreshing_generation == generation);
        if let Some(bucket) = self.buckets.get_mut(client).filter(|_| !started) {
            bucket.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonotonicInstant {
        MonotonicInstant::from_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn each_client_gets_three_refreshes_then_one_per_minute() {
        let mut limiter = ReportLimiter::default();
        let mut report = |client: &str, number: u64, seconds: u64| {
            let generation = Generation::new(number);
            let admission = limiter.admit(client, generation, false, at(seconds));
            limiter.finish(client, generation, true);
            admission
        };
        for number in 1..=3 {
            assert_eq!(report("a", number, 100), Ok(Admission::Leader));
        }
        assert_eq!(report("a", 4, 110), Err(Duration::from_secs(50)));
        assert_eq!(report("b", 4, 110), Ok(Admission::Leader));
        assert_eq!(report("a", 5, 160), Ok(Admission::Leader));
        assert_eq!(report("a", 6, 161), Err(Duration::from_secs(59)));
    }

    #[test]
    fn reports_of_one_token_take_one_permit_and_only_if_a_refresh_started() {
        let mut limiter = ReportLimiter::default();
        let one = Generation::new(1);
        assert_eq!(limiter.admit("a", one, false, at(1)), Ok(Admission::Leader));
        for _ in 0..300 {
            assert_eq!(limiter.admit("b", one, false, at(1)), Ok(Admission::Follower));
        }
        limiter.finish("a", one, false);
        for number in 2..=4 {
            assert_eq!(limiter.admit("a", Generation::new(number), false, at(1)), Ok(Admission::Leader));
        }
        assert_eq!(limiter.admit("a", Generation::new(9), true, at(1)), Ok(Admission::Follower));
        assert!(limiter.admit("a", Generation::new(9), false, at(1)).is_err());
    }
}
