use std::time::Duration;

use crate::jitter::Jitter;

/// The pause after so many failures in a row: doubling from `first` up to `most`, less up to a quarter, so that those who
/// failed together do not come back together.
pub(crate) fn backoff(failures: u32, first: Duration, most: Duration, jitter: &mut Jitter) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    let pause = first.saturating_mul(1 << doublings).min(most);
    pause - jitter.uniform_below(pause / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn it_doubles_up_to_its_bound(seed: u64, failures in 0_u32..200) {
            let (first, most) = (Duration::from_secs(1), Duration::from_secs(15));
            let pause = backoff(failures, first, most, &mut Jitter::seeded(seed));
            let ideal = first.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(most);
            assert!(pause <= ideal && pause >= ideal / 4 * 3, "{failures}: {pause:?}");
        }
    }
}
