//! Rules for retries: whether another attempt makes sense, and after which delay.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::jitter::Jitter;
use crate::transport::{RequestState, TransportError};

/// Maximum number of attempts for a request that was certainly not sent.
const MAX_ATTEMPTS: u32 = 3;

/// Returns the delay before the next attempt, or `None` if there is none.
///
/// A retry needs a request that was certainly not sent, and an error that waiting or another host can resolve.
pub(crate) fn retry_delay(
    error: &TransportError,
    attempts: u32,
    hosts: u32,
    jitter: &mut Jitter,
) -> Option<Duration> {
    let may_succeed =
        error.request_state() == RequestState::NotSent && (hosts > 1 || !error.is_config_error());
    (may_succeed && attempts < MAX_ATTEMPTS.max(hosts))
        .then(|| backoff(attempts, Duration::from_millis(200), Duration::from_secs(1), jitter))
}

/// How soon another attempt makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryClass {
    /// At any time.
    Transient,
    /// Only after an operator changed something.
    Persistent,
    /// Not before this delay.
    After(Duration),
}

/// Returns the delay after this number of failures in a row. It doubles from `first` up to `max`. Jitter subtracts
/// up to a quarter, so that processes that failed together do not retry together.
pub(crate) fn backoff(failures: u32, first: Duration, max: Duration, jitter: &mut Jitter) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    let delay = first.saturating_mul(1 << doublings).min(max);
    delay - jitter.uniform_below(delay / 4)
}

/// The retries that all sends of a client share: 10, and one more for every 10 successful exchanges. During an
/// outage, retries add almost no load.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    /// In tenths of a retry.
    balance: AtomicU32,
}

impl RetryBudget {
    const RETRY_COST: u32 = 10;
    const CAPACITY: u32 = 10 * Self::RETRY_COST;

    pub(crate) fn new() -> Self {
        Self { balance: AtomicU32::new(Self::CAPACITY) }
    }

    /// Takes one retry, if there is one.
    pub(crate) fn withdraw(&self) -> bool {
        let less = |balance: u32| balance.checked_sub(Self::RETRY_COST);
        self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// Records a successful exchange.
    pub(crate) fn deposit(&self) {
        // The budget is full most of the time. A load is cheaper than a write that threads contend for.
        if self.balance.load(Ordering::Relaxed) < Self::CAPACITY {
            self.balance.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::TransportErrorKind;

    #[test]
    fn only_unsent_requests_are_retried() {
        let before = |fault| TransportError::before_sending(fault, "");
        let mut jitter = Jitter::seeded(1);
        for (error, attempts, hosts, repeated) in [
            (before(TransportErrorKind::Connect), 1, 1, true),
            (before(TransportErrorKind::Dns), 2, 1, true),
            (before(TransportErrorKind::Connect), 3, 1, false),
            (before(TransportErrorKind::Connect), 3, 4, true),
            (before(TransportErrorKind::Connect), 4, 4, false),
            (before(TransportErrorKind::Certificate), 1, 1, false),
            (before(TransportErrorKind::Certificate), 1, 2, true),
            (TransportError::maybe_sent(TransportErrorKind::Connect, ""), 1, 2, false),
            (TransportError::maybe_sent(TransportErrorKind::Timeout, ""), 1, 2, false),
        ] {
            assert_eq!(
                retry_delay(&error, attempts, hosts, &mut jitter).is_some(),
                repeated,
                "{error} after {attempts}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn delay_doubles_up_to_max(seed: u64, failures in 0_u32..200) {
            let (first, max) = (Duration::from_secs(1), Duration::from_secs(15));
            let delay = backoff(failures, first, max, &mut Jitter::seeded(seed));
            let ideal = first.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(max);
            assert!(delay <= ideal && delay >= ideal / 4 * 3, "{failures}: {delay:?}");
        }
    }

    #[test]
    fn budget_is_ten_retries_and_one_for_ten_successes() {
        let budget = RetryBudget::new();
        assert_eq!((0..20).filter(|_| budget.withdraw()).count(), 10);
        (0..9).for_each(|_| budget.deposit());
        assert!(!budget.withdraw());
        budget.deposit();
        assert!(budget.withdraw() && !budget.withdraw());
        (0..10_000).for_each(|_| budget.deposit());
        assert_eq!((0..20).filter(|_| budget.withdraw()).count(), 10);
        (0..9).for_each(|_| budget.deposit());
        assert!(!budget.withdraw(), "it was full, not more than full");
    }
}
