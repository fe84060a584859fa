//! Events that happen to one node or app at a set time.

use std::time::Duration;

use fastrand::Rng;

use super::faults::ExternalFetch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScheduledEvent {
    /// The process is killed, and restarted after this time.
    Crash(Duration),
    /// The wall clock is changed by this many seconds.
    ClockSet(i64),
    ExternalFetch(ExternalFetch),
}

/// Draws up to five events before `end`, in order.
pub(super) fn draw_schedule(rng: &mut Rng, end: Duration) -> Vec<(Duration, ScheduledEvent)> {
    let mut events: Vec<_> = (0..rng.u8(0..6))
        .map(|_| {
            let at = Duration::from_secs(rng.u64(1..end.as_secs()));
            (at, draw_event(rng))
        })
        .collect();
    events.sort_by_key(|(at, _)| *at);
    events
}

fn draw_event(rng: &mut Rng) -> ScheduledEvent {
    match rng.u8(0..4) {
        0 => ScheduledEvent::Crash(Duration::from_millis(rng.u64(1..120_000))),
        1 => {
            let max = [30, 600, 3_600, 9_000][rng.usize(0..4)];
            ScheduledEvent::ClockSet(rng.i64(-max..=max))
        }
        2 => ScheduledEvent::ExternalFetch(ExternalFetch::Earlier),
        _ => ScheduledEvent::ExternalFetch(ExternalFetch::Now),
    }
}
