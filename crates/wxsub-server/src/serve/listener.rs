//! The life of a running server: from its first connection to its stop.

use std::iter::once;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::net::TcpListener;
use wxsub_core::clock::timeout_at;

use super::Server;
use super::acceptor::Acceptor;
use crate::api;
use crate::state::limit::Limit;

/// Limit for the responses to requests that were cut.
const CUT_TIMEOUT: Duration = Duration::from_secs(1);

/// Limit for writing the queued audit lines at shutdown.
const AUDIT_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

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
        let main = Acceptor::start(&self.state, self.router(), connections, limits, listener);
        // Separate limit, so a full main port cannot block /metrics.
        let metrics = metrics.map(|listener| {
            let router = api::metrics_router(&self.state);
            let limits = (Limit::MetricsConnections, Limit::MetricsConnectionsPerAddress);
            Acceptor::start(&self.state, router, &self.state.metrics_connections, limits, listener)
        });
        let mut accepting: Vec<_> = once(main).chain(metrics).collect();
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
            self.state.tasks_ended().await;
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
            let responded = async { tokio::join!(connections.wait_idle(), self.state.tasks_ended()) };
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
        let accepting = Acceptor::start(&self.state, router, connections, limits, listener);
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
