//! How many refreshes one key may cause for one app by reporting: 3 at most, one more every 60 s. Only refreshes that
//! really start take from it.

use std::collections::HashMap;
use std::time::Duration;

use wxsub_core::clock::MonotonicInstant;
use wxsub_core::token::Generation;

const MOST: u32 = 3;
const EVERY: Duration = Duration::from_secs(60);

/// The buckets of all keys for one app, and the report that is being looked into.
#[derive(Debug, Default)]
pub(crate) struct ReportLimiter {
    buckets: HashMap<String, Bucket>,
    /// Further reports of this token wait for the same refresh and cost nothing.
    under_way: Option<Generation>,
}

#[derive(Debug)]
struct Bucket {
    left: u32,
    counted: MonotonicInstant,
}

/// What becomes of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is the first of this token and has paid.
    Leader,
    /// It waits for the refresh that another has started.
    Follower,
}

impl ReportLimiter {
    /// A report by this client of this token, which is the current one. `refreshing`: a refresh is under way anyhow.
    pub(crate) fn admit(
        &mut self,
        client: &str,
        generation: Generation,
        refreshing: bool,
        now: MonotonicInstant,
    ) -> Result<Admission, Duration> {
        if refreshing || self.under_way == Some(generation) {
            return Ok(Admission::Follower);
        }
        let bucket = self.buckets.entry(client.to_owned()).or_insert(Bucket { left: MOST, counted: now });
        bucket.take(now)?;
        self.under_way = Some(generation);
        Ok(Admission::Leader)
    }

    /// The first report of this token has its answer. What started nothing costs nothing.
    pub(crate) fn end(&mut self, client: &str, generation: Generation, started: bool) {
        self.under_way.take_if(|under_way| *under_way == generation);
        if let Some(bucket) = self.buckets.get_mut(client).filter(|_| !started) {
            bucket.left = MOST.min(bucket.left + 1);
        }
    }
}

impl Bucket {
    fn take(&mut self, now: MonotonicInstant) -> Result<(), Duration> {
        while self.left < MOST && now.duration_since(self.counted) >= EVERY {
            self.left += 1;
            self.counted = self.counted.after(EVERY);
        }
        if self.left == MOST {
            self.counted = now;
        }
        let left =
            self.left.checked_sub(1).ok_or_else(|| EVERY.saturating_sub(now.duration_since(self.counted)))?;
        self.left = left;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonotonicInstant {
        MonotonicInstant::from_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn three_then_one_a_minute_for_each_key() {
        let mut rations = ReportLimiter::default();
        let mut report = |client: &str, number: u64, seconds: u64| {
            let generation = Generation::new(number);
            let admitted = rations.admit(client, generation, false, at(seconds));
            rations.end(client, generation, true);
            admitted
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
    fn the_same_token_is_paid_for_once_and_only_if_something_started() {
        let mut rations = ReportLimiter::default();
        let one = Generation::new(1);
        assert_eq!(rations.admit("a", one, false, at(1)), Ok(Admission::Leader));
        for _ in 0..300 {
            assert_eq!(rations.admit("b", one, false, at(1)), Ok(Admission::Follower));
        }
        rations.end("a", one, false);
        for number in 2..=4 {
            assert_eq!(rations.admit("a", Generation::new(number), false, at(1)), Ok(Admission::Leader));
        }
        assert_eq!(rations.admit("a", Generation::new(9), true, at(1)), Ok(Admission::Follower));
        assert!(rations.admit("a", Generation::new(9), false, at(1)).is_err());
    }
}
