//! A token store in Redis 6.2 or newer, for processes that share access tokens.
//!
//! Redis holds one record per app. Scripts change it by compare-and-set. A lease decides which process refreshes.
//!
//! ```no_run
//! use std::sync::Arc;
//! use wxsub_redis::RedisStore;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = RedisStore::builder("redis://127.0.0.1:6379/0").build()?;
//! // For a token cache: TokenCache::builder(…).store(Arc::new(store))
//! # let _: Arc<dyn wxsub_core::store::TokenStore> = Arc::new(store);
//! # Ok(())
//! # }
//! ```
//!
//! Reading a fresh token never calls Redis. If Redis is unavailable, current tokens stay valid:
//! [`TokenStore`](wxsub_core::store::TokenStore) describes what the token caches do then. `docs/redis-layout.md` describes
//! the record for readers in other languages.
//!
//! With `rediss://`, TLS is rustls with the crypto provider of this process. If there is none, rustls installs ring.

mod builder;
mod check;
mod connection;
mod encryption;
mod error;
mod keys;
mod record;
mod scripts;
mod store;

pub use builder::RedisStoreBuilder;
pub use encryption::EncryptionKey;
pub use error::RedisConfigError;
pub use store::RedisStore;
