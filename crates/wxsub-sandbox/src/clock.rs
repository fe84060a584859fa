//! The clock of the sandbox.

mod real;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use real::pause;

/// Returns the current time as the duration since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The clock of this machine.
pub(crate) fn system() -> Clock {
    Arc::new(real::now)
}
