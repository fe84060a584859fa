//! The one place where the real clock is read and waited for.
#![expect(clippy::disallowed_methods, reason = "everything else takes its time from the sandbox's clock")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Waits as long as a delayed reply takes on the wire.
pub(crate) async fn pause(delay: Duration) {
    tokio::time::sleep(delay).await;
}
