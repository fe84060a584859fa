//! Two rations that keep reports from becoming a flood of calls to Weixin.

use std::time::Duration;

use crate::clock::{Mono, UnixMillis};

/// Refreshes on report: 5 at most, one more every 60 s. Only refreshes that really start take from it.
#[derive(Debug, Clone)]
pub(super) struct ReportRation {
    left: u32,
    counted: Mono,
}

impl ReportRation {
    const MOST: u32 = 5;
    const EVERY: Duration = Duration::from_secs(60);

    pub(super) fn new() -> Self {
        Self { left: Self::MOST, counted: Mono::default() }
    }

    /// Takes one, or says how long until there is one.
    pub(super) fn take(&mut self, now: Mono) -> Result<(), Duration> {
        while self.left < Self::MOST && now.since(self.counted) >= Self::EVERY {
            self.left += 1;
            self.counted = self.counted.after(Self::EVERY);
        }
        if self.left == Self::MOST {
            self.counted = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Self::EVERY.saturating_sub(now.since(self.counted))),
        }
    }
}

/// When `force_refresh` was used: at most once in 10 minutes and 6 times in a day. Weixin allows 20 a day; the rest is left
/// to people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForceLog(Vec<UnixMillis>);

impl ForceLog {
    const PER_DAY: usize = 6;
    const GAP: Duration = Duration::from_secs(600);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// A log as it was stored, in any order.
    #[must_use]
    pub fn new(used: Vec<UnixMillis>) -> Self {
        Self(used)
    }

    /// When it was used, within the last day.
    #[must_use]
    pub fn used(&self) -> &[UnixMillis] {
        &self.0
    }

    /// Takes one at `now`; `false` if the ration does not allow it.
    pub fn take(&mut self, now: UnixMillis) -> bool {
        self.0.retain(|used| now.since(*used) < Self::DAY);
        let recent = self.0.iter().any(|used| now.since(*used) < Self::GAP);
        if recent || self.0.len() >= Self::PER_DAY {
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
    fn five_reports_then_one_a_minute() {
        let mut ration = ReportRation::new();
        let at = |seconds| Mono::from_origin(Duration::from_secs(seconds));
        for _ in 0..5 {
            assert_eq!(ration.take(at(1000)), Ok(()));
        }
        assert_eq!(ration.take(at(1000)), Err(Duration::from_secs(60)));
        assert_eq!(ration.take(at(1030)), Err(Duration::from_secs(30)));
        assert_eq!(ration.take(at(1060)), Ok(()));
        assert_eq!(ration.take(at(1061)), Err(Duration::from_secs(59)));
        // A long quiet time fills it up to five, not more.
        for _ in 0..5 {
            assert_eq!(ration.take(at(100_000)), Ok(()));
        }
        assert!(ration.take(at(100_000)).is_err());
    }

    #[test]
    fn forces_are_ten_minutes_apart_and_six_a_day() {
        let mut log = ForceLog::default();
        let at = |minutes: u64| UnixMillis::new(1_000_000_000_000).after(Duration::from_secs(60 * minutes));
        let taken = (0..24 * 60).filter(|minute| log.take(at(*minute))).collect::<Vec<_>>();
        assert_eq!(taken, [0, 10, 20, 30, 40, 50]);
        assert!(log.take(at(24 * 60)));
        assert_eq!(log.used(), [10, 20, 30, 40, 50, 24 * 60].map(at));
    }
}
