//! The connection to Redis: opened on first use, and again after it broke.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::sentinel::SentinelClient;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisError, RedisResult, ScriptInvocation};
use tokio::sync::Mutex;
use wxsub_core::store::StoreError;

use crate::error::to_store_error;
use crate::pubsub::ChangeNotifications;

/// Limit for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Limit for one response.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(1500);

/// The server to connect to.
pub(crate) enum Target {
    /// One server.
    Server(Box<Client>),
    /// The server that the sentinels name as the master.
    Sentinel(Box<Mutex<SentinelClient>>),
}

/// One multiplexed connection, shared by all calls.
pub(crate) struct RedisConnection {
    target: Target,
    current: Mutex<Option<MultiplexedConnection>>,
    /// The pattern of the channels to subscribe to.
    channel_pattern: String,
    pub(crate) notifications: Arc<ChangeNotifications>,
}

impl RedisConnection {
    pub(crate) fn new(target: Target, channel_pattern: String) -> Self {
        Self { target, current: Mutex::new(None), channel_pattern, notifications: Arc::default() }
    }

    /// Runs a script once. A failed call is not repeated, because it may have taken effect.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let mut connection = self.connection().await.map_err(|error| to_store_error(&error))?;
        let response = script.invoke_async(&mut connection).await;
        if response.as_ref().is_err_and(should_reconnect) {
            *self.current.lock().await = None;
        }
        response.map_err(|error| to_store_error(&error))
    }

    async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &*current {
            return Ok(connection.clone());
        }
        let notifications = Arc::clone(&self.notifications);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            .set_push_sender(move |push| {
                notifications.on_push(push);
                Ok::<(), Infallible>(())
            });
        let mut connection = match &self.target {
            Target::Server(client) => client.get_multiplexed_async_connection_with_config(&config).await?,
            Target::Sentinel(sentinels) => {
                sentinels.lock().await.get_async_connection_with_config(&config).await?
            }
        };
        // Without the right to subscribe, the token cache learns of new tokens by polling.
        let _ = connection.psubscribe(&self.channel_pattern).await;
        Ok(current.insert(connection).clone())
    }
}

/// Whether a new connection may help: this one is broken, or its server is not the master any more.
fn should_reconnect(error: &RedisError) -> bool {
    let demoted = matches!(error.code(), Some("READONLY" | "LOADING" | "MASTERDOWN"));
    demoted || error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error()
}

impl fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.target {
            Target::Server(_) => "RedisConnection(server)",
            Target::Sentinel(_) => "RedisConnection(sentinels)",
        })
    }
}
