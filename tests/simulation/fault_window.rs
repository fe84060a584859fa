//! Faults that happen in a span of time.

use std::time::Duration;

use fastrand::Rng;

/// A span in which calls meet a fault.
#[derive(Debug, Clone)]
pub(crate) struct FaultWindow<T> {
    pub(super) from: Duration,
    pub(super) to: Duration,
    pub(super) fault: T,
    /// The share of calls that meet it, in percent.
    pub(super) percent: u8,
}

impl<T> FaultWindow<T> {
    pub(super) fn covers(&self, elapsed: Duration) -> bool {
        (self.from..self.to).contains(&elapsed)
    }
}

/// Draws up to `max` windows before `end` with one of these faults each.
pub(super) fn draw_windows<T: Copy>(
    rng: &mut Rng,
    end: Duration,
    max: u8,
    faults: &[T],
) -> Vec<FaultWindow<T>> {
    let window = |rng: &mut Rng| {
        let from = Duration::from_secs(rng.u64(0..end.as_secs() - 60));
        let length = Duration::from_secs(if rng.u8(0..3) == 0 { rng.u64(60..7200) } else { rng.u64(5..600) });
        let fault = faults[rng.usize(0..faults.len())];
        let percent = [20, 50, 90, 100][rng.usize(0..4)];
        FaultWindow { from, to: end.min(from + length), fault, percent }
    };
    (0..rng.u8(0..=max)).map(|_| window(rng)).collect()
}

/// The fault that a call meets now.
pub(super) fn fault_at<T: Copy>(windows: &[FaultWindow<T>], elapsed: Duration, rng: &mut Rng) -> Option<T> {
    let covering = windows.iter().filter(|window| window.covers(elapsed));
    covering.into_iter().find(|window| rng.u8(0..100) < window.percent).map(|window| window.fault)
}
