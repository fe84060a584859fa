//! Bounds how many token caches of a process make an attempt at once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::clock::{Clock, timeout_at};

/// How long an attempt keeps its place. An upstream that does not respond delays the next attempt by this time at most.
const MAX_HOLD: Duration = Duration::from_secs(1);

/// Bounds how many token caches make an attempt at once. Clones share the bound.
///
/// If many caches are due together, such as after an outage, a few connections serve them all one after the other. An
/// attempt that takes longer than 1 s gives its place to the next one and goes on.
#[derive(Debug, Clone)]
pub struct AttemptLimit(Arc<Semaphore>);

impl AttemptLimit {
    /// Allows `max` attempts at once, and at least one.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Semaphore::new(max.clamp(1, Semaphore::MAX_PERMITS))))
    }

    /// Runs an attempt when it has a place. Attempts get their places in the order in which they wait. An attempt is created
    /// when it has its place, so one that waits takes little memory.
    pub(super) async fn run<'a, T>(&self, clock: &dyn Clock, start: impl FnOnce() -> BoxFuture<'a, T>) -> T {
        // The semaphore is never closed.
        let place = self.0.acquire().await;
        let mut attempt = start();
        let deadline = clock.now().mono + MAX_HOLD;
        match timeout_at(clock, deadline, &mut attempt).await {
            Some(outcome) => outcome,
            None => {
                drop(place);
                attempt.await
            }
        }
    }
}
