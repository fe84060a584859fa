//! Retrying, as pure questions: how soon does another attempt make sense, and how long is the pause.

mod backoff;

pub(crate) use backoff::backoff;

use std::time::Duration;

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
