//! Rules for retries: whether another attempt makes sense, and after which delay.

mod backoff;
mod budget;

pub(crate) use backoff::backoff;
pub(crate) use budget::RetryBudget;

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
    let may_succeed = error.stage() == RequestState::NotSent && (hosts > 1 || !error.is_config_error());
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
}
