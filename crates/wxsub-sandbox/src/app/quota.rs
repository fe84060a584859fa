//! So many a minute, so many a day.

use std::time::Duration;

/// What was taken from a quota within the current window of time.
#[derive(Default)]
pub(super) struct FixedWindow {
    window: u64,
    used: u64,
}

impl FixedWindow {
    /// How much was taken within this window.
    pub(super) fn used(&self, window: u64) -> u64 {
        if self.window == window { self.used } else { 0 }
    }

    /// Takes one, if the limit allows; a new window starts afresh.
    pub(super) fn try_acquire(&mut self, window: u64, limit: u64) -> bool {
        if self.window != window {
            *self = Self { window, used: 0 };
        }
        let is_free = self.used < limit;
        self.used += u64::from(is_free);
        is_free
    }
}

/// The number of the minute.
pub(super) fn minute_index(now: Duration) -> u64 {
    now.as_secs() / 60
}

/// The number of the day in Beijing, at whose midnight daily limits are assumed to start afresh.
pub(super) fn beijing_day_index(now: Duration) -> u64 {
    (now.as_secs() + 8 * 3600) / 86_400
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_its_limit_and_the_next_starts_afresh() {
        let mut quota = FixedWindow::default();
        let acquired: Vec<_> = [7, 7, 7, 8, 8].map(|window| quota.try_acquire(window, 2)).into();
        assert_eq!(acquired, [true, true, false, true, true]);
        assert_eq!((quota.used(8), quota.used(9)), (2, 0));
        assert!(!quota.try_acquire(9, 0));
    }

    #[test]
    fn the_day_ends_at_four_in_the_afternoon_utc() {
        let midnight = Duration::from_secs(1_700_000_000 / 86_400 * 86_400 + 16 * 3600);
        assert_eq!(beijing_day_index(midnight), beijing_day_index(midnight - Duration::from_secs(1)) + 1);
    }
}
