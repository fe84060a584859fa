//! Accepts connections and serves the routes on them, within the limits.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use wxsub_core::clock::timeout_at;

use super::Server;
use super::connection::serve_connection;
use crate::api;
use crate::apps::ServerState;

/// Limit for requests under way after shutdown starts.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// Limit for writing the queued audit lines at shutdown.
const AUDIT_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Wait before accepting again, after an error or at the connection limit.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

impl Server {
    /// Serves until `shutdown` completes, then finishes requests under way, for at most 8 s.
    ///
    /// `metrics` is the listener for `/metrics`, if the configuration sets `metrics_listen`. Tokens are fetched before the
    /// first request needs them.
    ///
    /// # Cancel safety
    /// Dropping the future stops accepting. Requests under way go on.
    pub async fn serve(
        &self,
        listener: TcpListener,
        metrics: Option<TcpListener>,
        shutdown: impl Future<Output = ()>,
    ) {
        self.prefetch_tokens();
        let main_acceptor = Acceptor::new(&self.state, self.router());
        // Separate limit, so a full main port cannot block /metrics.
        let metrics_acceptor = Acceptor::new(&self.state, api::metrics_router(&self.state));
        let serve_metrics = async {
            match &metrics {
                Some(listener) => metrics_acceptor.accept_loop(listener).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = main_acceptor.accept_loop(&listener) => {}
            () = serve_metrics => {}
            () = self.state.watch_keys() => {}
        }
        // Close the listener before the connections, so that clients cannot connect again.
        main_acceptor.drain_backlog(listener);
        self.state.drain();
        let deadline = self.state.clock().now().mono + DRAIN_TIMEOUT;
        // Connections that are still open after the deadline are dropped.
        timeout_at(&**self.state.clock(), deadline, main_acceptor.wait_idle()).await;
        let state = Arc::clone(&self.state);
        let flush = tokio::task::spawn_blocking(move || state.audit().flush());
        // A stalled reader of the audit must not delay shutdown.
        let deadline = self.state.clock().now().mono + AUDIT_FLUSH_TIMEOUT;
        timeout_at(&**self.state.clock(), deadline, flush).await;
    }
}

/// Accepts and counts the connections of one listener.
struct Acceptor {
    state: Arc<ServerState>,
    router: Router,
    /// Number of open connections.
    open_connections: Arc<watch::Sender<usize>>,
}

impl Acceptor {
    fn new(state: &Arc<ServerState>, router: Router) -> Self {
        Self { state: Arc::clone(state), router, open_connections: Arc::default() }
    }

    /// Accepts connections forever, up to the connection limit.
    async fn accept_loop(&self, listener: &TcpListener) {
        let mut open_count = self.open_connections.subscribe();
        loop {
            self.wait_for_capacity(&mut open_count).await;
            match listener.accept().await {
                Ok((stream, peer)) => self.spawn_connection(stream, peer),
                Err(error) if is_per_connection_error(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    let clock = self.state.clock();
                    clock.sleep_until(clock.now().mono + ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }

    /// Waits until the number of connections is below the limit. Checks repeatedly, because a reload may raise the limit.
    async fn wait_for_capacity(&self, open_count: &mut watch::Receiver<usize>) {
        let clock = self.state.clock();
        let has_capacity = |open: &usize| *open < self.state.snapshot().limits.connections;
        let retry_at = || clock.now().mono + ACCEPT_RETRY_DELAY;
        while timeout_at(&**clock, retry_at(), open_count.wait_for(has_capacity)).await.is_none() {}
    }

    /// Accepts the remaining backlog, whose clients may have sent a request already, then closes the listener.
    fn drain_backlog(&self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        // The listener does not block: an error means that the backlog is empty.
        while let Ok((stream, peer)) = listener.accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.spawn_connection(stream, peer);
            }
        }
    }

    /// Waits until all connections are closed.
    async fn wait_idle(&self) {
        // `self` holds the sender, so the wait cannot fail.
        let _ = self.open_connections.subscribe().wait_for(|open| *open == 0).await;
    }

    fn spawn_connection(&self, stream: TcpStream, peer: SocketAddr) {
        self.open_connections.send_modify(|open| *open += 1);
        let (state, router) = (Arc::clone(&self.state), self.router.clone());
        let guard = ConnectionGuard(Arc::clone(&self.open_connections));
        tokio::spawn(async move {
            serve_connection(&state, router, stream, peer).await;
            drop(guard);
        });
    }
}

/// Counts one connection until it is dropped.
struct ConnectionGuard(Arc<watch::Sender<usize>>);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// Whether the error concerns one connection only, so that the next accept may succeed.
fn is_per_connection_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}
