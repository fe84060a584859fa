//! The connections that are kept, so that most requests need no new one.
//!
//! hyper's own pool can more than is needed here (HTTP/2, a race between a new connection and one that comes free) and
//! costs more per request than the connection itself. This one keeps what matters: a connection serves one request at a
//! time, the one used last is used first, none is used after its idle time or after the other side has closed it, and one
//! whose exchange was given up or went wrong is never used again, because only whoever had a whole reply gives it back.

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

/// ConnectionPool to any number of hosts.
pub(crate) struct ConnectionPool {
    connector: Connector,
    idle_timeout: Duration,
    state: Mutex<PoolState>,
}

#[derive(Default)]
struct PoolState {
    /// The one used last comes last.
    idle: Vec<(Box<Connection>, Instant)>,
    /// Whether a task is there that closes those which nobody uses.
    reaper_running: bool,
}

impl ConnectionPool {
    pub(crate) fn new(connector: Connector, idle_timeout: Duration) -> Arc<Self> {
        Arc::new(Self { connector, idle_timeout, state: Mutex::default() })
    }

    /// A connection to there: one that was kept, or a new one.
    pub(crate) async fn checkout(&self, key: &PoolKey) -> Result<Box<Connection>, TransportError> {
        match self.take_idle(key) {
            Some(connection) => Ok(connection),
            // Boxed, so that requests that need no new connection do not carry around the room for making one.
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

    /// Takes back a connection that has brought a whole reply.
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

/// Closes connections that nobody uses, as long as there are any.
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
    /// Its runtime may have ended before it: then the next one who keeps a connection starts another.
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            pool.state().reaper_running = false;
        }
    }
}
