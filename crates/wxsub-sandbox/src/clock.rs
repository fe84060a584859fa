//! Where the sandbox gets its time.

mod real;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use real::pause;

/// Tells the time: how long ago the Unix epoch was.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The clock of this machine.
pub(crate) fn system() -> Clock {
    Arc::new(real::now)
}
