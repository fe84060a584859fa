//! The one connection to Redis, made when it is needed and again when it has broken.

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

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long one answer may take.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(1500);

/// What is connected to.
pub(crate) enum Target {
    /// One server.
    Server(Box<Client>),
    /// Whichever server the sentinels call the master.
    Sentinel(Box<Mutex<SentinelClient>>),
}

pub(crate) struct RedisConnection {
    to: Target,
    current: Mutex<Option<MultiplexedConnection>>,
    /// The channels to listen to.
    channels: String,
    pub(crate) hints: Arc<ChangeNotifications>,
}

impl RedisConnection {
    pub(crate) fn new(to: Target, channels: String) -> Self {
        Self { to, current: Mutex::new(None), channels, hints: Arc::default() }
    }

    /// Runs a script once, whatever comes of it.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let mut connection = self.connection().await.map_err(|error| to_store_error(&error))?;
        let answer = script.invoke_async(&mut connection).await;
        if answer.as_ref().is_err_and(should_reconnect) {
            *self.current.lock().await = None;
        }
        answer.map_err(|error| to_store_error(&error))
    }

    async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &*current {
            return Ok(connection.clone());
        }
        let hints = Arc::clone(&self.hints);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            .set_push_sender(move |push| {
                hints.on_push(push);
                Ok::<(), Infallible>(())
            });
        let mut connection = match &self.to {
            Target::Server(client) => client.get_multiplexed_async_connection_with_config(&config).await?,
            Target::Sentinel(sentinels) => {
                sentinels.lock().await.get_async_connection_with_config(&config).await?
            }
        };
        // A user who may not listen reads every record a little later.
        let _ = connection.psubscribe(&self.channels).await;
        Ok(current.insert(connection).clone())
    }
}

/// Whether another connection may fare better: this one is broken, or its server is no longer the master.
fn should_reconnect(error: &RedisError) -> bool {
    let demoted = matches!(error.code(), Some("READONLY" | "LOADING" | "MASTERDOWN"));
    demoted || error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error()
}

impl fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.to {
            Target::Server(_) => "Link(server)",
            Target::Sentinel(_) => "Link(sentinels)",
        })
    }
}
