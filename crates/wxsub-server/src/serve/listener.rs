//! Accepts connections and serves the routes on them, within the limits.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::yield_now;
use wxsub_core::clock::timeout_at;

use super::Server;
use super::connection::serve_connection;
use crate::api;
use crate::apps::ServerState;
use crate::state::connections::Connections;
use crate::state::limit::Limit;

/// Limit for the responses to requests that were cut.
const CUT_TIMEOUT: Duration = Duration::from_secs(1);

/// Limit for writing the queued audit lines at shutdown.
const AUDIT_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum number of connections to the listener of the console.
const MAX_CONSOLE_CONNECTIONS: usize = 64;

/// Maximum number of connections to the listener of `/metrics`.
const MAX_METRICS_CONNECTIONS: usize = 64;

/// Wait before accepting again, after an error or at the connection limit.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

impl Server {
    /// Serves until `shutdown` completes, then finishes requests under way, for at most `drain_s`. Then it cuts them.
    ///
    /// Returns how many messages were cut. Their outcome is maybe sent, in the response and in the audit.
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
    ) -> usize {
        self.state.warn_of_few_files();
        self.prefetch_tokens();
        self.run_worker();
        let main_acceptor = Acceptor {
            state: Arc::clone(&self.state),
            router: self.router(),
            connections: Arc::clone(self.state.connections()),
            max_connections: None,
        };
        // Separate limit, so a full main port cannot block /metrics.
        let metrics_acceptor = Acceptor {
            state: Arc::clone(&self.state),
            router: api::metrics_router(&self.state),
            connections: Arc::default(),
            max_connections: Some(MAX_METRICS_CONNECTIONS),
        };
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
            () = self.state.watch_certificate() => {}
        }
        // Close the listener before the connections, so that clients cannot connect again.
        main_acceptor.drain_backlog(listener);
        self.state.drain();
        let mut workers = self.state.take_workers();
        workers.stop_claiming();
        let deadline = self.state.clock().now().mono + self.state.snapshot().limits.drain;
        let is_idle = async {
            main_acceptor.wait_idle().await;
            self.state.sends_ended().await;
            workers.stop().await;
        };
        let is_cut = tokio::select! {
            biased;
            () = is_idle => false,
            () = self.state.deadline(deadline) => true,
        };
        if is_cut {
            self.state.cut();
            let deadline = self.state.clock().now().mono + CUT_TIMEOUT;
            // Connections that are still open after the deadline are dropped.
            let responded = async { tokio::join!(main_acceptor.wait_idle(), self.state.sends_ended()) };
            timeout_at(&**self.state.clock(), deadline, responded).await;
        }
        // What is still being posted is cut.
        drop(workers);
        let deadline = self.state.clock().now().mono + CUT_TIMEOUT;
        let cut_attempts = if is_cut { self.state.attempting_messages(deadline).await } else { 0 };
        // After the last request, which may have needed a new token.
        self.state.close_token_caches().await;
        let state = Arc::clone(&self.state);
        let flush = tokio::task::spawn_blocking(move || state.audit().flush());
        // A stalled reader of the audit must not delay shutdown.
        let deadline = self.state.clock().now().mono + AUDIT_FLUSH_TIMEOUT;
        timeout_at(&**self.state.clock(), deadline, flush).await;
        // With a ledger, the messages of requests are among its attempts.
        self.state.cut_messages().max(cut_attempts)
    }

    /// Serves the console until [`serve`](Self::serve) shuts down, then finishes its requests. Returns at once without `[console]`.
    ///
    /// # Cancel safety
    /// Dropping the future stops accepting. Requests under way go on.
    pub async fn serve_console(&self, listener: TcpListener) {
        let Some(router) = self.console_router() else { return };
        let acceptor = Acceptor {
            state: Arc::clone(&self.state),
            router,
            connections: Arc::default(),
            max_connections: Some(MAX_CONSOLE_CONNECTIONS),
        };
        tokio::select! {
            () = acceptor.accept_loop(&listener) => {}
            () = self.state.shutdown_started() => {}
        }
        drop(listener);
        let deadline = self.state.clock().now().mono + CUT_TIMEOUT;
        timeout_at(&**self.state.clock(), deadline, acceptor.wait_idle()).await;
    }

    /// Cuts the requests under way, as at the end of `drain_s`.
    pub fn cut(&self) {
        self.state.cut();
    }
}

/// Accepts the connections of one listener.
struct Acceptor {
    state: Arc<ServerState>,
    router: Router,
    connections: Arc<Connections>,
    /// The maximum number of connections. That of the configuration if `None`.
    max_connections: Option<usize>,
}

impl Acceptor {
    /// Accepts connections forever, up to the connection limit.
    async fn accept_loop(&self, listener: &TcpListener) {
        let mut open_count = self.connections.watch();
        loop {
            self.wait_for_capacity(&mut open_count).await;
            match listener.accept().await {
                Ok((stream, peer)) => {
                    self.spawn_connection(stream, peer);
                    // Requests on open connections come first. A backlog of new ones would delay them.
                    yield_now().await;
                }
                Err(error) if is_per_connection_error(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    let clock = self.state.clock();
                    clock.sleep_until(clock.now().mono + ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }

    /// Waits until the number of connections is below the limit. At the limit, a connection that waits for its client is closed.
    /// Checks repeatedly, because a reload may raise the limit.
    async fn wait_for_capacity(&self, open_count: &mut watch::Receiver<usize>) {
        let clock = self.state.clock();
        let max = || self.max_connections.unwrap_or_else(|| self.state.max_connections());
        while *open_count.borrow() >= max() {
            self.state.record_limit(Limit::Connections, &"all");
            self.connections.close_longest_waiting();
            let retry_at = clock.now().mono + ACCEPT_RETRY_DELAY;
            timeout_at(&**clock, retry_at, open_count.wait_for(|open| *open < max())).await;
        }
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
        let _ = self.connections.watch().wait_for(|open| *open == 0).await;
    }

    /// Serves a connection. Closes it at once if its address is at its limit of busy connections.
    fn spawn_connection(&self, stream: TcpStream, peer: SocketAddr) {
        let snapshot = self.state.snapshot();
        let max = (!snapshot.is_proxy(peer.ip())).then_some(snapshot.limits.connections_per_address);
        let opened = self.connections.open(peer.ip(), max);
        if !matches!(opened, Ok((_, false))) {
            self.state.record_limit(Limit::ConnectionsPerAddress, &peer.ip());
        }
        let Ok((connection, _)) = opened else { return };
        let (state, router) = (Arc::clone(&self.state), self.router.clone());
        tokio::spawn(async move { serve_connection(&state, router, stream, peer, &connection).await });
    }
}

/// Whether the error concerns one connection only, so that the next accept may succeed.
fn is_per_connection_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}
