//! Shares access tokens between processes through Redis 6.2 or newer: one record per app, changed only by scripts that
//! compare before they write, and a lease that decides who refreshes.
//!
//! ```no_run
//! use std::sync::Arc;
//! use wxsub_redis::RedisStore;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = RedisStore::builder("redis://127.0.0.1:6379/0").build()?;
//! // For a keeper: Keeper::builder(…).store(Arc::new(store))
//! # let _: Arc<dyn wxsub_core::store::TokenStore> = Arc::new(store);
//! # Ok(())
//! # }
//! ```
//!
//! A token that is read while it is fresh never touches Redis, and a Redis that is away ends no token: see
//! [`TokenStore`](wxsub_core::store::TokenStore) for what keepers do then. The record is laid out for readers in other
//! languages, too: `docs/redis-layout.md`.
//!
//! With `rediss://`, TLS is rustls with the provider of this process; where there is none, rustls makes ring that.

mod address;
mod builder;
mod connection;
mod encryption;
mod error;
mod keys;
mod pubsub;
mod record;
mod store;

pub use builder::{RedisStore, RedisStoreBuilder};
pub use encryption::EncryptionKey;
pub use error::RedisConfigError;
