use std::time::Duration;

use crate::clock::{MAX_CLOCK_SKEW, UnixMillis};

/// The times of forced refreshes: at most one in 10 minutes and 6 a day.
///
/// Weixin allows 20 a day. The others remain for manual use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForceRefreshLog(Vec<UnixMillis>);

impl ForceRefreshLog {
    const MAX_PER_DAY: usize = 6;
    const MIN_INTERVAL: Duration = Duration::from_secs(600);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// Creates a log from stored times, in any order.
    pub fn new(used: Vec<UnixMillis>) -> Self {
        Self(used)
    }

    /// Returns the times within the last day.
    pub fn used(&self) -> &[UnixMillis] {
        &self.0
    }

    /// Records a forced refresh at `now`. Returns `false` if the limit does not allow it.
    ///
    /// Times more than 60 s in the future do not count: a wrong clock wrote them.
    pub fn try_acquire(&mut self, now: UnixMillis) -> bool {
        let future = now + MAX_CLOCK_SKEW;
        self.0.retain(|used| *used <= future && now.since(*used) < Self::DAY);
        let recent = self.0.iter().any(|used| now.since(*used) < Self::MIN_INTERVAL);
        if recent || self.0.len() >= Self::MAX_PER_DAY {
            return false;
        }
        self.0.push(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forced_refreshes_are_ten_minutes_apart_and_six_a_day() {
        let mut log = ForceRefreshLog::default();
        let at = |minutes: u64| UnixMillis::new(1_000_000_000_000) + Duration::from_secs(60 * minutes);
        let taken = (0..24 * 60).filter(|minute| log.try_acquire(at(*minute))).collect::<Vec<_>>();
        assert_eq!(taken, [0, 10, 20, 30, 40, 50]);
        assert!(log.try_acquire(at(24 * 60)));
        assert_eq!(log.used(), [10, 20, 30, 40, 50, 24 * 60].map(at));
    }

    #[test]
    fn forced_refreshes_in_the_future_do_not_count() {
        let now = UnixMillis::new(1_000_000_000_000);
        let ahead = |seconds| now + Duration::from_secs(seconds);
        let mut log = ForceRefreshLog::new([61, 3_600, u64::MAX].map(ahead).to_vec());
        assert!(log.try_acquire(now));
        assert_eq!(log.used(), [now]);
        assert!(!ForceRefreshLog::new(vec![ahead(60)]).try_acquire(now));
    }
}
