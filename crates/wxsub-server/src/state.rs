//! What outlives a configuration and knows no app: the metrics, the audit log and the token stores.

pub(crate) mod audit;
pub(crate) mod connections;
pub(crate) mod denial;
mod hourly;
pub(crate) mod limit;
pub(crate) mod metrics;
pub(crate) mod pace;
pub(crate) mod shared;
pub(crate) mod store;
