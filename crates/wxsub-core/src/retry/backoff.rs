use std::time::Duration;

use crate::jitter::Jitter;

/// Returns the delay after this number of failures in a row. It doubles from `first` up to `max`. Jitter subtracts
/// up to a quarter, so that processes that failed together do not retry together.
pub(crate) fn backoff(failures: u32, first: Duration, max: Duration, jitter: &mut Jitter) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    let delay = first.saturating_mul(1 << doublings).min(max);
    delay - jitter.uniform_below(delay / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn delay_doubles_up_to_max(seed: u64, failures in 0_u32..200) {
            let (first, max) = (Duration::from_secs(1), Duration::from_secs(15));
            let delay = backoff(failures, first, max, &mut Jitter::seeded(seed));
            let ideal = first.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(max);
            assert!(delay <= ideal && delay >= ideal / 4 * 3, "{failures}: {delay:?}");
        }
    }
}
