//! The clock of the sandbox.
//!
//! No other file reads the clock of this machine or waits on it.
#![expect(clippy::disallowed_methods, reason = "everything else takes its time from the sandbox's clock")]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the current time as the duration since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The end of the year 9999: the latest time of the sandbox, and the latest date that HTTP can express.
pub(crate) const MAX_TIME: Duration = Duration::from_secs(253_402_300_799);

/// The clock of this machine.
pub(crate) fn system() -> Clock {
    Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Waits for the delay of a response.
#[cfg(feature = "http")]
pub(crate) async fn pause(delay: Duration) {
    tokio::time::sleep(delay).await;
}
