//! The connection to Redis: opened on first use, and again after it broke. It also receives notifications of newer tokens.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::sentinel::SentinelClient;
use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, PushInfo, PushKind, RedisError, RedisResult,
    ScriptInvocation,
};
use tokio::sync::watch;
use wxsub_core::proto::AppId;
use wxsub_core::store::{ChangeWatcher, StoreError, StoreErrorKind};

use crate::error::to_store_error;
use crate::keys::Keys;
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
type Opening = watch::Receiver<Option<RedisResult<(u64, MultiplexedConnection)>>>;

/// One multiplexed connection, shared by all calls.
#[derive(derive_more::Debug)]
#[debug("RedisConnection")]
pub(crate) struct RedisConnection {
    target: TargetSource,
    current: Mutex<Option<Opening>>,
    /// How many connections were opened.
    opened: AtomicU64,
    keys: Keys,
    /// Gets the notifications of newer tokens.
    watcher: Arc<ChangeWatcher>,
}

impl RedisConnection {
    pub(crate) fn new(target: TargetSource, keys: Keys, watcher: Arc<ChangeWatcher>) -> Self {
        Self { target, current: Mutex::default(), opened: AtomicU64::default(), keys, watcher }
    }

    /// Runs a script once. A failed call is not repeated, because it may have taken effect.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        self.run_numbered(script).await.map(|(_, response)| response)
    }

    /// Runs a script once. Also returns the number of the connection that it used.
    pub(crate) async fn run_numbered<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<(u64, T), StoreError> {
        let (opening, (number, mut connection)) = self.connection().await?;
        let response = script.invoke_async(&mut connection).await;
        response.map(|response| (number, response)).map_err(|error| self.failed(&opening, &error))
    }

    /// Subscribes to the channels once more, to see whether that is allowed.
    pub(crate) async fn subscribe(&self) -> Result<(), StoreError> {
        let (opening, (_, mut connection)) = self.connection().await?;
        let response = connection.psubscribe(self.keys.channel_pattern()).await;
        response.map_err(|error| self.failed(&opening, &error))
    }

    /// The current connection, with its number.
    async fn connection(&self) -> Result<(Opening, (u64, MultiplexedConnection)), StoreError> {
        let opening = self.current.lock().get_or_insert_with(|| self.open()).clone();
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
        let (target, keys, watcher) =
            (Arc::clone(&self.target), self.keys.clone(), Arc::clone(&self.watcher));
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let connection = connect(&*target, keys, watcher).await;
            opened.send_replace(Some(connection.map(|connection| (number, connection))));
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
        self.current.lock().take_if(|current| current.same_channel(opening));
    }
}

/// Opens a connection, subscribes, and loads the scripts.
async fn connect(
    target: &(dyn Fn() -> RedisResult<Target> + Send + Sync),
    keys: Keys,
    watcher: Arc<ChangeWatcher>,
) -> RedisResult<MultiplexedConnection> {
    let channel_pattern = keys.channel_pattern();
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
        .set_push_sender(move |push| {
            if let Some(app) = app_of_push(push, &keys) {
                watcher.notify(&app);
            }
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
    use StoreErrorKind::{ReadOnly, Unreachable, WrongCredentials};
    error.is_io_error() || matches!(to_store_error(error).kind(), ReadOnly | Unreachable | WrongCredentials)
}

/// The app of a notification. `None` for another push message.
fn app_of_push(push: PushInfo, keys: &Keys) -> Option<AppId> {
    let PushInfo { kind: PushKind::PMessage, data } = push else { return None };
    let [_, channel, _] = <[redis::Value; 3]>::try_from(data).ok()?;
    keys.app_of_channel(&String::from_redis_value(channel).ok()?)
}

#[cfg(test)]
mod tests {
    use redis::{Value, make_extension_error};

    use super::*;

    #[test]
    fn connection_to_a_server_that_is_not_the_master_any_more_is_replaced() {
        for (code, detail, expected) in [
            ("READONLY", "You can't write against a read only replica.", true),
            // Redis 6.2, in a script.
            ("ERR", "Error running script (call to f_1): @user_script:33: -READONLY You can't write", true),
            ("LOADING", "Redis is loading the dataset in memory", true),
            ("WRONGPASS", "invalid username-password pair", true),
            ("OOM", "command not allowed when used memory > 'maxmemory'.", false),
            ("NOPERM", "this user has no permissions to run the 'hgetall' command", false),
            ("ERR", "unknown command", false),
        ] {
            let error = make_extension_error(code.to_owned(), Some(detail.to_owned()));
            assert_eq!(should_reconnect(&error), expected, "{code} {detail}");
        }
    }

    #[test]
    fn notification_names_its_app_and_other_pushes_none() {
        let keys = Keys::with_prefix("wxsub").unwrap();
        let published = |channel: &str| {
            let data = ["wxsub:*", channel, "5"].map(|part| Value::BulkString(part.into())).to_vec();
            PushInfo { kind: PushKind::PMessage, data }
        };
        let app = |push| app_of_push(push, &keys);
        assert_eq!(app(published("wxsub:{wx1}:changes")), Some("wx1".parse().unwrap()));
        assert_eq!(app(published("wxsub:changes")), None);
        assert_eq!(app(PushInfo { kind: PushKind::Disconnection, data: Vec::new() }), None);
    }
}
