//! Accepts connections and serves the routes on them, within the limits.

use std::io::{self, ErrorKind};
use std::iter::once;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt;
use futures_util::future::select_all;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, yield_now};
use wxsub_core::clock::timeout_at;

use super::Server;
use super::connection::{Serving, serve_accepted};
use super::start_queue::Turns;
use crate::api;
use crate::apps::ServerState;
use crate::config::MAX_SIDE_CONNECTIONS;
use crate::state::connections::Connections;
use crate::state::limit::Limit;

/// Limit for the responses to requests that were cut.
const CUT_TIMEOUT: Duration = Duration::from_secs(1);

/// Limit for writing the queued audit lines at shutdown.
const AUDIT_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum number of connections that are accepted before other tasks of the server run.
const MAX_ACCEPTED_AT_ONCE: usize = 32;

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
        let connections = &self.state.connections;
        let limits = (Limit::Connections, Limit::ConnectionsPerAddress);
        let main = Acceptor::new(&self.state, self.router(), connections, limits);
        // Separate limit, so a full main port cannot block /metrics.
        let metrics = metrics.map(|listener| {
            let router = api::metrics_router(&self.state);
            let limits = (Limit::MetricsConnections, Limit::MetricsConnectionsPerAddress);
            Acceptor::new(&self.state, router, &self.state.metrics_connections, limits).start(listener)
        });
        let mut accepting: Vec<_> = once(main.start(listener)).chain(metrics).collect();
        tokio::select! {
            () = shutdown => {}
            _ = select_all(accepting.iter_mut().map(|one| &mut one.task)) => {}
            () = self.state.watch_expiry() => {}
        }
        // Close the listener before the connections, so that clients cannot connect again.
        for one in accepting {
            one.stop().await;
        }
        self.state.drain();
        let mut workers = self.state.take_workers();
        workers.stop_claiming();
        let deadline = self.state.clock().now().mono + self.state.snapshot().limits.drain;
        let is_idle = async {
            connections.wait_idle().await;
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
            let responded = async { tokio::join!(connections.wait_idle(), self.state.sends_ended()) };
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
        let connections = &self.state.console_connections;
        let limits = (Limit::ConsoleConnections, Limit::ConsoleConnectionsPerAddress);
        let accepting = Acceptor::new(&self.state, router, connections, limits).start(listener);
        self.state.shutdown_started().await;
        accepting.stop().await;
        let deadline = self.state.clock().now().mono + CUT_TIMEOUT;
        timeout_at(&**self.state.clock(), deadline, connections.wait_idle()).await;
    }

    /// Cuts the requests under way, as at the end of `drain_s`.
    pub fn cut(&self) {
        self.state.cut();
    }
}

/// Accepts the connections of one listener.
struct Acceptor {
    serving: Arc<Serving>,
    connections: Arc<Connections>,
    /// Of all connections, and of those of one address.
    limits: (Limit, Limit),
    /// A connection beyond the limit. It waits until another one has made room for it.
    held: Option<(TcpStream, SocketAddr)>,
}

impl Acceptor {
    fn new(
        state: &Arc<ServerState>,
        router: Router,
        connections: &Arc<Connections>,
        limits: (Limit, Limit),
    ) -> Self {
        let serving = Serving { state: Arc::clone(state), router, turns: Turns::start() };
        Self { serving: Arc::new(serving), connections: Arc::clone(connections), limits, held: None }
    }

    /// Accepts in a task of its own. So the runtime runs all tasks with requests before it accepts again: the future that it blocks
    /// on may have a thread of its own, which would compete with them.
    fn start(mut self, listener: TcpListener) -> Accepting {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            tokio::select! {
                biased;
                // Also if the sender is dropped.
                _ = stopped => {}
                () = self.accept_loop(&listener) => {}
            }
            self.drain_backlog(listener);
        });
        Accepting { stop, task }
    }

    /// Accepts connections forever, up to the connection limit.
    async fn accept_loop(&mut self, listener: &TcpListener) {
        let mut open_count = self.connections.watch();
        loop {
            match listener.accept().await {
                Ok(accepted) => {
                    self.held = Some(accepted);
                    self.wait_for_capacity(&mut open_count).await;
                    self.open_held();
                }
                Err(error) => self.wait_after(error).await,
            }
            for _ in 1..MAX_ACCEPTED_AT_ONCE {
                if self.is_full() {
                    break;
                }
                let Some(Ok((stream, peer))) = listener.accept().now_or_never() else { break };
                self.open(stream, peer);
            }
            // Requests on open connections come first. New ones would delay them.
            yield_now().await;
        }
    }

    fn max(&self) -> usize {
        match self.limits.0 {
            Limit::Connections => self.serving.state.max_connections(),
            _ => MAX_SIDE_CONNECTIONS,
        }
    }

    fn is_full(&self) -> bool {
        self.connections.count() >= self.max()
    }

    /// Waits until the number of connections is below the limit. At the limit, a connection that waits for its client is closed.
    /// Checks repeatedly, because a reload may raise the limit.
    async fn wait_for_capacity(&self, open_count: &mut watch::Receiver<usize>) {
        while self.is_full() {
            self.serving.state.record_limit(self.limits.0, &"all");
            self.connections.close_longest_waiting();
            let clock = self.serving.state.clock();
            let retry_at = clock.now().mono + ACCEPT_RETRY_DELAY;
            timeout_at(&**clock, retry_at, open_count.wait_for(|open| *open < self.max())).await;
        }
    }

    /// Waits after an error that concerns all connections.
    async fn wait_after(&self, error: io::Error) {
        if !is_per_connection_error(&error) {
            tracing::warn!(%error, "accepting a connection failed");
            let clock = self.serving.state.clock();
            clock.sleep_until(clock.now().mono + ACCEPT_RETRY_DELAY).await;
        }
    }

    fn open_held(&mut self) {
        if let Some((stream, peer)) = self.held.take() {
            self.open(stream, peer);
        }
    }

    /// Serves an accepted connection. Closes it at once if its address is at its limit of busy connections.
    fn open(&self, stream: TcpStream, peer: SocketAddr) {
        let snapshot = self.serving.state.snapshot();
        let (_, per_address) = self.limits;
        let max = match per_address {
            Limit::ConnectionsPerAddress => snapshot.limits.connections_per_address,
            _ => snapshot.limits.side_connections_per_address(),
        };
        let max = (!snapshot.is_proxy(peer.ip())).then_some(max);
        let opened = self.connections.open(peer.ip(), max);
        if !matches!(opened, Ok((_, false))) {
            self.serving.state.record_limit(per_address, &peer.ip());
        }
        if let Ok((connection, _)) = opened {
            tokio::spawn(serve_accepted(Arc::clone(&self.serving), stream, peer, connection));
        }
    }

    /// Accepts the remaining backlog, whose clients may have sent a request already, then closes the listener.
    fn drain_backlog(&mut self, listener: TcpListener) {
        self.open_held();
        if let Ok(listener) = listener.into_std() {
            // The listener does not block: an error means that the backlog is empty.
            while let Ok((stream, peer)) = listener.accept() {
                let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                if let Ok(stream) = stream {
                    self.open(stream, peer);
                }
            }
        }
    }
}

/// The task of an [`Acceptor`]. Dropping this stops it.
struct Accepting {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Accepting {
    /// Waits until the remaining backlog is accepted, and the listener closed.
    async fn stop(self) {
        drop(self.stop);
        if !self.task.is_finished() {
            // It fails only if the runtime ends.
            let _ = self.task.await;
        }
    }
}

/// Whether the error concerns one connection only, so that the next accept may succeed.
fn is_per_connection_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}
