//! The connection to Redis: opened on first use, and again after it broke. It also receives notifications of newer tokens.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::sentinel::SentinelClient;
use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, PushInfo, PushKind, RedisError, RedisResult,
    ScriptInvocation,
};
use tokio::sync::{Mutex, watch};
use wxsub_core::store::StoreError;
use wxsub_core::token::Generation;

use crate::error::to_store_error;
use crate::scripts;

/// Limit for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);

/// Limit for one response.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(1500);

/// The server to connect to.
pub(crate) enum Target {
    /// One server.
    Server(Box<Client>),
    /// The server that the sentinels name as the master.
    Sentinel(Box<SentinelClient>),
}

/// Returns the target of a new connection.
type TargetSource = Box<dyn Fn() -> RedisResult<Target> + Send + Sync>;

/// One multiplexed connection, shared by all calls.
pub(crate) struct RedisConnection {
    target: TargetSource,
    current: Mutex<Option<MultiplexedConnection>>,
    /// The pattern of the channels to subscribe to.
    channel_pattern: String,
    pub(crate) notifications: Arc<ChangeNotifications>,
}

impl RedisConnection {
    pub(crate) fn new(target: TargetSource, channel_pattern: String) -> Self {
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
        let connection = match (self.target)()? {
            Target::Server(client) => client.get_multiplexed_async_connection_with_config(&config).await?,
            Target::Sentinel(mut sentinels) => sentinels.get_async_connection_with_config(&config).await?,
        };
        // Both at once, because Redis may be far away. Without the right to subscribe, the token cache learns of new
        // tokens by polling. A script that is not loaded is loaded when it runs.
        let (mut subscriber, mut loader) = (connection.clone(), connection.clone());
        let mut scripts = redis::pipe();
        for script in scripts::ALL {
            scripts.load_script(script).ignore();
        }
        let _ = tokio::join!(
            subscriber.psubscribe(&self.channel_pattern),
            scripts.query_async::<()>(&mut loader),
        );
        Ok(current.insert(connection).clone())
    }
}

/// Whether a new connection may help: this one is broken, its server is not the master any more, or the password has
/// changed.
fn should_reconnect(error: &RedisError) -> bool {
    let refused = ["READONLY", "LOADING", "MASTERDOWN", "NOAUTH", "WRONGPASS"];
    error.code().is_some_and(|code| refused.contains(&code))
        || error.is_io_error()
        || error.is_timeout()
        || error.is_unrecoverable_error()
}

impl fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisConnection")
    }
}

/// The newest generation published on each channel that has had a waiter.
#[derive(Debug, Default)]
pub(crate) struct ChangeNotifications(StdMutex<HashMap<String, watch::Sender<Generation>>>);

impl ChangeNotifications {
    /// Waits until a generation newer than `known` has been published on this channel, and returns it.
    pub(crate) async fn wait_for_newer(&self, channel: String, known: Generation) -> Generation {
        let mut newest = {
            let mut channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            channels.entry(channel).or_default().subscribe()
        };
        let newer = newest.wait_for(|newest| *newest > known).await.map(|newer| *newer);
        // The sender lives in the map, and channels are never removed, so the wait cannot fail.
        newer.unwrap_or(known)
    }

    /// Handles a push message of Redis. Ignores channels without a waiter and payloads that are no generation.
    pub(crate) fn on_push(&self, push: PushInfo) {
        let PushInfo { kind: PushKind::PMessage, data } = push else { return };
        let Ok([_, channel, generation]) = <[redis::Value; 3]>::try_from(data) else { return };
        let (Ok(channel), Ok(generation)) =
            (String::from_redis_value(channel), u64::from_redis_value(generation))
        else {
            return;
        };
        let channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newest) = channels.get(&channel) {
            let generation = Generation::new(generation);
            newest.send_if_modified(|newest| {
                let newer = generation > *newest;
                *newest = generation.max(*newest);
                newer
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;

    fn published(channel: &str, text: &str) -> PushInfo {
        let data = ["wxsub:*", channel, text].map(|part| Value::BulkString(part.into())).to_vec();
        PushInfo { kind: PushKind::PMessage, data }
    }

    #[tokio::test]
    async fn waiter_gets_every_newer_generation_and_no_older_one() {
        let notifications = ChangeNotifications::default();
        notifications.on_push(published("one", "5"));
        assert!(notifications.0.lock().unwrap().is_empty(), "there is no waiter yet");
        for (payload, newest) in [("7", 7), ("6", 7), ("soon", 7), ("-1", 7), ("8", 8)] {
            let known = Generation::new(newest - 1);
            let waiter = notifications.wait_for_newer("one".to_owned(), known);
            let push = async { notifications.on_push(published("one", payload)) };
            let (received, ()) = tokio::join!(waiter, push);
            assert_eq!(received.get(), newest);
        }
        notifications.on_push(published("two", "9"));
        notifications.on_push(PushInfo { kind: PushKind::Disconnection, data: Vec::new() });
        assert_eq!(notifications.0.lock().unwrap().len(), 1);
    }
}
