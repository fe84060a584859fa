//! So many a minute, so many a day.

use std::time::Duration;

/// What was taken from a ration within the current window of time.
#[derive(Default)]
pub(super) struct Ration {
    window: u64,
    used: u64,
}

impl Ration {
    /// How much was taken within this window.
    pub(super) fn used(&self, window: u64) -> u64 {
        if self.window == window { self.used } else { 0 }
    }

    /// Takes one, if the limit allows; a new window starts afresh.
    pub(super) fn take(&mut self, window: u64, limit: u64) -> bool {
        if self.window != window {
            *self = Self { window, used: 0 };
        }
        let free = self.used < limit;
        self.used += u64::from(free);
        free
    }
}

/// The number of the minute.
pub(super) fn minute(now: Duration) -> u64 {
    now.as_secs() / 60
}

/// The number of the day in Beijing, at whose midnight daily limits are assumed to start afresh.
pub(super) fn beijing_day(now: Duration) -> u64 {
    (now.as_secs() + 8 * 3600) / 86_400
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_its_limit_and_the_next_starts_afresh() {
        let mut ration = Ration::default();
        let taken: Vec<_> = [7, 7, 7, 8, 8].map(|window| ration.take(window, 2)).into();
        assert_eq!(taken, [true, true, false, true, true]);
        assert_eq!((ration.used(8), ration.used(9)), (2, 0));
        assert!(!ration.take(9, 0));
    }

    #[test]
    fn the_day_ends_at_four_in_the_afternoon_utc() {
        let midnight = Duration::from_secs(1_700_000_000 / 86_400 * 86_400 + 16 * 3600);
        assert_eq!(beijing_day(midnight), beijing_day(midnight - Duration::from_secs(1)) + 1);
    }
}
