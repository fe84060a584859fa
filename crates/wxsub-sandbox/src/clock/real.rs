//! Reads the real clock and waits on it. No other module does.
#![expect(clippy::disallowed_methods, reason = "everything else takes its time from the sandbox's clock")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Waits for the delay of a response.
pub(crate) async fn pause(delay: Duration) {
    tokio::time::sleep(delay).await;
}
