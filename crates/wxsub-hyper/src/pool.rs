//! The connection pool.
//!
//! hyper's own pool supports more (HTTP/2, and a race between a new connection and a returned one). It costs more per
//! request than the connection itself. This pool follows four rules:
//!
//! - A connection serves one request at a time.
//! - The connection that was used last is used first.
//! - A connection is not used after its idle timeout, or after the server closed it.
//! - A connection returns to the pool only after a complete response. After an error or a cancelled request it is
//!   closed.

mod connection;
mod key;

pub(crate) use connection::{Connection, SendFailure};
pub(crate) use key::PoolKey;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use hyper::rt::{Executor, Timer};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use wxsub_core::transport::TransportError;

use crate::connect::Connector;

/// Idle connections to any number of hosts.
pub(crate) struct ConnectionPool {
    connector: Connector,
    idle_timeout: Duration,
    state: Mutex<PoolState>,
}

#[derive(Default)]
struct PoolState {
    /// Idle connections and the time each became idle, in the order of that time.
    idle: Vec<(Box<Connection>, Instant)>,
    /// Whether an [`IdleReaper`] task exists.
    reaper_running: bool,
}

impl ConnectionPool {
    pub(crate) fn new(connector: Connector, idle_timeout: Duration) -> Arc<Self> {
        Arc::new(Self { connector, idle_timeout, state: Mutex::default() })
    }

    /// Returns an idle connection to this host, or opens a new one.
    pub(crate) async fn checkout(&self, key: &PoolKey) -> Result<Box<Connection>, TransportError> {
        match self.take_idle(key) {
            Some(connection) => Ok(connection),
            // Boxed, so that the future of a request on an idle connection stays small.
            None => Box::pin(Connection::open(&self.connector, key)).await.map(Box::new),
        }
    }

    fn take_idle(&self, key: &PoolKey) -> Option<Box<Connection>> {
        let now = TokioTimer::new().now();
        let mut state = self.state();
        let is_usable = |(connection, idle_since): &(Box<Connection>, Instant)| {
            connection.matches(key) && connection.is_ready() && !self.is_expired(*idle_since, now)
        };
        if !state.idle.last().is_some_and(is_usable) {
            self.remove_expired(&mut state, now);
        }
        let index = state.idle.iter().rposition(is_usable)?;
        Some(state.idle.remove(index).0)
    }

    /// Returns a connection to the pool. The caller must have read a complete response from it.
    pub(crate) fn checkin(self: &Arc<Self>, mut connection: Box<Connection>) {
        if connection.is_closed() {
            return;
        }
        connection.has_served = true;
        let mut state = self.state();
        state.idle.push((connection, TokioTimer::new().now()));
        if !std::mem::replace(&mut state.reaper_running, true) {
            TokioExecutor::new().execute(IdleReaper(Arc::downgrade(self)).run(self.idle_timeout));
        }
    }

    fn remove_expired(&self, state: &mut PoolState, now: Instant) {
        state
            .idle
            .retain(|(connection, idle_since)| !connection.is_closed() && !self.is_expired(*idle_since, now));
    }

    fn is_expired(&self, idle_since: Instant, now: Instant) -> bool {
        now.saturating_duration_since(idle_since) >= self.idle_timeout
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that closes expired connections. It ends when no idle connection is left.
struct IdleReaper(Weak<ConnectionPool>);

impl IdleReaper {
    async fn run(self, interval: Duration) {
        loop {
            TokioTimer::new().sleep(interval).await;
            let Some(pool) = self.0.upgrade() else { return };
            let mut state = pool.state();
            pool.remove_expired(&mut state, TokioTimer::new().now());
            if state.idle.is_empty() {
                state.reaper_running = false;
                return;
            }
        }
    }
}

impl Drop for IdleReaper {
    /// Clears the flag. If the runtime shut down and dropped this task, the next [`ConnectionPool::checkin`] starts another.
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            pool.state().reaper_running = false;
        }
    }
}
