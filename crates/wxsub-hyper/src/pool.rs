//! The connections that are kept, so that most requests need no new one.
//!
//! hyper's own pool can more than is needed here (HTTP/2, a race between a new connection and one that comes free) and
//! costs more per request than the connection itself. This one keeps what matters: a connection serves one request at a
//! time, the one used last is used first, none is used after its idle time or after the other side has closed it, and one
//! whose exchange was given up or went wrong is never used again, because only whoever had a whole reply gives it back.

mod connection;
mod destination;

pub(crate) use connection::{Connection, Unanswered};
pub(crate) use destination::Destination;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use hyper::rt::{Executor, Timer};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use wxsub_core::transport::TransportError;

use crate::connect::Connector;

/// Connections to any number of hosts.
pub(crate) struct Connections {
    connector: Connector,
    idle: Duration,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The one used last comes last.
    unused: Vec<(Box<Connection>, Instant)>,
    /// Whether a task is there that closes those which nobody uses.
    swept: bool,
}

impl Connections {
    pub(crate) fn new(connector: Connector, idle: Duration) -> Arc<Self> {
        Arc::new(Self { connector, idle, kept: Mutex::default() })
    }

    /// A connection to there: one that was kept, or a new one.
    pub(crate) async fn to(&self, to: &Destination) -> Result<Box<Connection>, TransportError> {
        match self.take(to) {
            Some(connection) => Ok(connection),
            // Boxed, so that requests that need no new connection do not carry around the room for making one.
            None => Box::pin(Connection::open(&self.connector, to)).await.map(Box::new),
        }
    }

    fn take(&self, to: &Destination) -> Option<Box<Connection>> {
        let now = TokioTimer::new().now();
        let mut kept = self.kept();
        let fits = |(connection, since): &(Box<Connection>, Instant)| {
            connection.leads_to(to) && connection.is_ready() && !self.is_over(*since, now)
        };
        if !kept.unused.last().is_some_and(fits) {
            self.sweep(&mut kept, now);
        }
        let place = kept.unused.iter().rposition(fits)?;
        Some(kept.unused.remove(place).0)
    }

    /// Takes back a connection that has brought a whole reply.
    pub(crate) fn keep(self: &Arc<Self>, mut connection: Box<Connection>) {
        if connection.is_closed() {
            return;
        }
        connection.used = true;
        let mut kept = self.kept();
        kept.unused.push((connection, TokioTimer::new().now()));
        if !std::mem::replace(&mut kept.swept, true) {
            TokioExecutor::new().execute(Sweeper(Arc::downgrade(self)).run(self.idle));
        }
    }

    fn sweep(&self, kept: &mut Kept, now: Instant) {
        kept.unused.retain(|(connection, since)| !connection.is_closed() && !self.is_over(*since, now));
    }

    fn is_over(&self, since: Instant, now: Instant) -> bool {
        now.saturating_duration_since(since) >= self.idle
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections that nobody uses, as long as there are any.
struct Sweeper(Weak<Connections>);

impl Sweeper {
    async fn run(self, every: Duration) {
        loop {
            TokioTimer::new().sleep(every).await;
            let Some(connections) = self.0.upgrade() else { return };
            let mut kept = connections.kept();
            connections.sweep(&mut kept, TokioTimer::new().now());
            if kept.unused.is_empty() {
                kept.swept = false;
                return;
            }
        }
    }
}

impl Drop for Sweeper {
    /// Its runtime may have ended before it: then the next one who keeps a connection starts another.
    fn drop(&mut self) {
        if let Some(connections) = self.0.upgrade() {
            connections.kept().swept = false;
        }
    }
}
