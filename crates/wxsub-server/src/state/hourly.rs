//! What happened in each of the last 24 hours, for the plots of the console. It is in memory, and begins with the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use wxsub_console::{DayView, HourView};
use wxsub_core::clock::{Clock, UnixMillis};

use crate::state::locked;

/// How many hours are kept, the current one included.
const HOURS: u64 = 24;

const HOUR_MS: u64 = 3_600_000;

/// The counts of the last hours, by the number of the hour since 1970. An hour in which nothing happened has none.
pub(crate) struct HourlyCounts {
    clock: Arc<dyn Clock>,
    since: UnixMillis,
    hours: Mutex<BTreeMap<u64, HourView>>,
}

impl HourlyCounts {
    pub(super) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self { clock: Arc::clone(clock), since: clock.now().wall, hours: Mutex::default() }
    }

    /// Counts what happens now.
    pub(super) fn count(&self, change: impl FnOnce(&mut HourView)) {
        let number = self.clock.now().wall.get() / HOUR_MS;
        // Each change is complete before it could panic.
        let mut hours = locked(&self.hours);
        hours.retain(|hour, _| hour + HOURS > number);
        change(hours.entry(number).or_default());
    }

    /// Counts a message by its outcome. Other names are no outcome of a send.
    pub(crate) fn count_send(&self, outcome: &str) {
        self.count(|hour| match outcome {
            "sent" => hour.sent += 1,
            "maybe_sent" => hour.maybe_sent += 1,
            "refused" => hour.refused += 1,
            "not_sent" => hour.not_sent += 1,
            _ => {}
        });
    }

    /// The last 24 hours.
    pub(crate) fn day(&self) -> DayView {
        let current = self.clock.now().wall.get() / HOUR_MS;
        let hours = locked(&self.hours);
        let hour = |number: u64| HourView {
            begins_at: UnixMillis::new(number * HOUR_MS),
            ..hours.get(&number).copied().unwrap_or_default()
        };
        DayView {
            since: self.since,
            hours: (0..HOURS).rev().map(|ago| hour(current.saturating_sub(ago))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wxsub_core::testing::ManualClock;

    use super::*;

    #[test]
    fn an_hour_is_counted_for_a_day() {
        let clock = Arc::new(ManualClock::new());
        let shared: Arc<dyn Clock> = clock.clone();
        let counts = HourlyCounts::new(&shared);
        let sent = || counts.day().hours.iter().map(|hour| hour.sent).collect::<Vec<_>>();
        let days = |ago: usize| (0..24).rev().map(|hour| u64::from(hour == ago)).collect::<Vec<_>>();
        counts.count_send("sent");
        counts.count_send("invalid");
        assert_eq!(sent(), days(0), "the current hour is the last");
        for ago in [1, 23] {
            clock.advance(Duration::from_millis(HOUR_MS * if ago == 1 { 1 } else { 22 }));
            counts.count(|hour| hour.fetched += 1);
            assert_eq!(sent(), days(ago));
        }
        clock.advance(Duration::from_millis(HOUR_MS));
        counts.count(|hour| hour.fetched += 1);
        let day = counts.day();
        assert_eq!((day.hours.len(), sent()), (24, vec![0; 24]));
        assert_eq!(counts.hours.lock().unwrap().len(), 3, "older hours are forgotten");
        assert!(day.hours.windows(2).all(|pair| pair[0].begins_at < pair[1].begins_at));
    }
}
