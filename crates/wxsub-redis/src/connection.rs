//! The connection to Redis: opened on first use, and again after it broke. It also receives notifications of newer tokens.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::sentinel::SentinelClient;
use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, PushInfo, PushKind, RedisError, RedisResult,
    ScriptInvocation,
};
use tokio::sync::watch;
use wxsub_core::store::{StoreError, StoreErrorKind};
use wxsub_core::token::Generation;

use crate::error::to_store_error;
use crate::scripts;

/// Limit for opening a connection: TCP, TLS and the first response.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

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
type TargetSource = Arc<dyn Fn() -> RedisResult<Target> + Send + Sync>;

/// A connection that a task opens, so that it opens even if the caller that needed it gives up. `None` until it is open.
type Opening = watch::Receiver<Option<RedisResult<MultiplexedConnection>>>;

/// One multiplexed connection, shared by all calls.
pub(crate) struct RedisConnection {
    target: TargetSource,
    current: StdMutex<Option<Opening>>,
    /// The pattern of the channels to subscribe to.
    channel_pattern: String,
    pub(crate) notifications: Arc<ChangeNotifications>,
}

impl RedisConnection {
    pub(crate) fn new(target: TargetSource, channel_pattern: String) -> Self {
        Self { target, current: StdMutex::default(), channel_pattern, notifications: Arc::default() }
    }

    /// Runs a script once. A failed call is not repeated, because it may have taken effect.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let (opening, mut connection) = self.connection().await?;
        let response = script.invoke_async(&mut connection).await;
        response.map_err(|error| self.failed(&opening, &error))
    }

    /// Subscribes to the channels once more, to see whether that is allowed.
    pub(crate) async fn subscribe(&self) -> Result<(), StoreError> {
        let (opening, mut connection) = self.connection().await?;
        let response = connection.psubscribe(&self.channel_pattern).await;
        response.map_err(|error| self.failed(&opening, &error))
    }

    async fn connection(&self) -> Result<(Opening, MultiplexedConnection), StoreError> {
        let opening = self.current().get_or_insert_with(|| self.open()).clone();
        let opened = opening.clone().wait_for(Option::is_some).await.ok().and_then(|opened| opened.clone());
        match opened {
            Some(Ok(connection)) => Ok((opening, connection)),
            Some(Err(error)) => {
                self.forget(&opening);
                Err(to_store_error(&error))
            }
            // The runtime of the task has ended.
            None => {
                self.forget(&opening);
                Err(StoreError::new(StoreErrorKind::Unreachable, "the connection was not opened"))
            }
        }
    }

    /// Starts a task that opens a connection.
    fn open(&self) -> Opening {
        let (opened, opening) = watch::channel(None);
        let (target, pattern) = (Arc::clone(&self.target), self.channel_pattern.clone());
        let notifications = Arc::clone(&self.notifications);
        tokio::spawn(async move {
            opened.send_replace(Some(connect(&*target, &pattern, notifications).await));
        });
        opening
    }

    /// Converts an error, and opens a new connection next time if that may help.
    fn failed(&self, opening: &Opening, error: &RedisError) -> StoreError {
        if should_reconnect(error) {
            self.forget(opening);
        }
        to_store_error(error)
    }

    /// Forgets this connection, but no newer one.
    fn forget(&self, opening: &Opening) {
        self.current().take_if(|current| current.same_channel(opening));
    }

    fn current(&self) -> MutexGuard<'_, Option<Opening>> {
        // The lock guards one assignment.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a connection, subscribes, and loads the scripts.
async fn connect(
    target: &(dyn Fn() -> RedisResult<Target> + Send + Sync),
    channel_pattern: &str,
    notifications: Arc<ChangeNotifications>,
) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
        .set_push_sender(move |push| {
            notifications.on_push(push);
            Ok::<(), Infallible>(())
        });
    let connection = match target()? {
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
    let _ = tokio::join!(subscriber.psubscribe(channel_pattern), scripts.query_async::<()>(&mut loader));
    Ok(connection)
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
