//! Limits per minute and per day.

use std::time::Duration;

/// A fixed-window rate limiter. The caller numbers the windows.
#[derive(Clone, Copy, Default)]
pub(super) struct FixedWindow {
    window: u64,
    used: u64,
}

impl FixedWindow {
    /// The number of calls that were counted in this window.
    pub(super) fn used(&self, window: u64) -> u64 {
        if self.window == window { self.used } else { 0 }
    }

    /// Counts one call and returns `true`, unless the window has reached `limit`. A new window starts at 0.
    pub(super) fn try_acquire(&mut self, window: u64, limit: u64) -> bool {
        if self.window != window {
            *self = Self { window, used: 0 };
        }
        let is_free = self.used < limit;
        self.used += u64::from(is_free);
        is_free
    }
}

/// The number of the minute since the Unix epoch.
pub(super) fn minute_index(now: Duration) -> u64 {
    now.as_secs() / 60
}

/// The number of the day in Beijing time. Daily limits are assumed to reset at midnight there.
pub(super) fn beijing_day_index(now: Duration) -> u64 {
    (now.as_secs() + 8 * 3600) / 86_400
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_applies_per_window() {
        let mut quota = FixedWindow::default();
        let acquired: Vec<_> = [7, 7, 7, 8, 8].map(|window| quota.try_acquire(window, 2)).into();
        assert_eq!(acquired, [true, true, false, true, true]);
        assert_eq!((quota.used(8), quota.used(9)), (2, 0));
        assert!(!quota.try_acquire(9, 0));
    }

    #[test]
    fn beijing_day_starts_at_16_utc() {
        let midnight = Duration::from_secs(1_700_000_000 / 86_400 * 86_400 + 16 * 3600);
        assert_eq!(beijing_day_index(midnight), beijing_day_index(midnight - Duration::from_secs(1)) + 1);
    }
}
