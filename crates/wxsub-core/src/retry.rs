//! Retrying, as pure questions: how soon does another attempt make sense, and how long is the pause.

mod backoff;
mod budget;

pub(crate) use backoff::backoff;
pub(crate) use budget::Budget;

use std::time::Duration;

use crate::jitter::Jitter;
use crate::transport::{Stage, TransportError};

/// How often a request is tried that certainly did not leave.
const TRIES: u32 = 3;

/// Whether a failed exchange may be tried again, and after which pause: only if nothing can have been sent, only if
/// waiting can help, and not for long.
pub(crate) fn again(error: &TransportError, tries: u32, jitter: &mut Jitter) -> Option<Duration> {
    let hopeful = error.stage() == Stage::BeforeSending && !error.is_configuration();
    (hopeful && tries < TRIES)
        .then(|| backoff(tries, Duration::from_millis(200), Duration::from_secs(1), jitter))
}

/// How soon another attempt makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It may work at any moment.
    Soon,
    /// Somebody must change something first.
    Slow,
    /// Not before this.
    AtLeast(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::TransportFault;

    #[test]
    fn only_what_certainly_did_not_leave_is_tried_again() {
        let before = |fault| TransportError::before_sending(fault, "");
        let mut jitter = Jitter::seeded(1);
        for (error, tries, repeated) in [
            (before(TransportFault::Connect), 1, true),
            (before(TransportFault::Dns), 2, true),
            (before(TransportFault::Connect), 3, false),
            (before(TransportFault::Certificate), 1, false),
            (TransportError::maybe_sent(TransportFault::Connect, ""), 1, false),
            (TransportError::maybe_sent(TransportFault::Timeout, ""), 1, false),
        ] {
            assert_eq!(again(&error, tries, &mut jitter).is_some(), repeated, "{error} after {tries}");
        }
    }
}
