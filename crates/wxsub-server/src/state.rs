//! What outlives a configuration: the metrics, the audit log, the token stores, and the load of the server.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) mod audit;
pub(crate) mod connections;
pub(crate) mod denial;
mod hourly;
pub(crate) mod limit;
pub(crate) mod metrics;
pub(crate) mod pace;
pub(crate) mod shared;
pub(crate) mod store;

/// Locks a value. After a panic it is as the last change left it: each change here is complete before it could panic.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
