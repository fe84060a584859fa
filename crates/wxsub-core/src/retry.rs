//! Retrying, as pure questions: how soon does another attempt make sense, and how long is the pause.

mod backoff;
mod budget;

pub(crate) use backoff::backoff;
pub(crate) use budget::RetryBudget;

use std::time::Duration;

use crate::jitter::Jitter;
use crate::transport::{RequestState, TransportError};

/// How often a request is tried that certainly did not leave.
const MAX_ATTEMPTS: u32 = 3;

/// Whether a failed exchange may be tried again, and after which pause: only if nothing can have been sent, only if
/// waiting or another of these hosts can help, and not for long.
pub(crate) fn retry_delay(
    error: &TransportError,
    tries: u32,
    hosts: u32,
    jitter: &mut Jitter,
) -> Option<Duration> {
    let hopeful = error.stage() == RequestState::NotSent && (hosts > 1 || !error.is_config_error());
    (hopeful && tries < MAX_ATTEMPTS.max(hosts))
        .then(|| backoff(tries, Duration::from_millis(200), Duration::from_secs(1), jitter))
}

/// How soon another attempt makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryClass {
    /// It may work at any moment.
    Transient,
    /// Somebody must change something first.
    Persistent,
    /// Not before this.
    After(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::TransportErrorKind;

    #[test]
    fn only_what_certainly_did_not_leave_is_tried_again() {
        let before = |fault| TransportError::before_sending(fault, "");
        let mut jitter = Jitter::seeded(1);
        for (error, tries, hosts, repeated) in [
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
                retry_delay(&error, tries, hosts, &mut jitter).is_some(),
                repeated,
                "{error} after {tries}"
            );
        }
    }
}
