//! From sockets to the routes, within the limits.

mod connection;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use wxsub_core::clock::timeout_at;

use self::connection::connection;
use crate::server::Server;
use crate::state::ServerState;

/// How long requests under way may take once the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// How long the audit may take to be written to its end.
const FLUSH: Duration = Duration::from_secs(1);

/// How long to wait where no connection can be accepted, for want of room or of file descriptors.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

impl Server {
    /// Serves until `shutdown` is over; then finishes what is under way, for 8 s at most. `metrics` is where `/metrics` is
    /// served if the configuration moves it elsewhere. Tokens are fetched ahead of the first request.
    ///
    /// # Cancel safety
    /// Dropping it stops accepting; requests under way go on.
    pub async fn serve(
        &self,
        listener: TcpListener,
        metrics: Option<TcpListener>,
        shutdown: impl Future<Output = ()>,
    ) {
        self.prefetch_tokens();
        let main = Acceptor::new(&self.house, self.router());
        // Of its own, so that whoever crowds the other does not hide that it is crowded.
        let aside = Acceptor::new(&self.house, self.metrics_router());
        let watched = async {
            match &metrics {
                Some(listener) => aside.accept_loop(listener).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = main.accept_loop(&listener) => {}
            () = watched => {}
        }
        // First, so that whoever is sent away finds the door shut.
        main.drain_backlog(listener);
        self.house.drain();
        let deadline = self.house.clock().now().mono.after(DRAIN_TIMEOUT);
        // Whoever is not done by then is cut off.
        timeout_at(&**self.house.clock(), deadline, main.wait_idle()).await;
        let house = Arc::clone(&self.house);
        let flushed = tokio::task::spawn_blocking(move || house.audit().flush());
        // A reader of the audit that reads no more must not keep the server.
        let deadline = self.house.clock().now().mono.after(FLUSH);
        timeout_at(&**self.house.clock(), deadline, flushed).await;
    }
}

/// Where those are who came in through one listener.
struct Acceptor {
    house: Arc<ServerState>,
    router: Router,
    /// How many connections are open.
    open: Arc<watch::Sender<usize>>,
}

impl Acceptor {
    fn new(house: &Arc<ServerState>, router: Router) -> Self {
        Self { house: Arc::clone(house), router, open: Arc::default() }
    }

    /// Lets in whoever comes, for ever, but never more than the limit at a time.
    async fn accept_loop(&self, listener: &TcpListener) {
        let mut count = self.open.subscribe();
        loop {
            self.wait_for_capacity(&mut count).await;
            match listener.accept().await {
                Ok((stream, peer)) => self.spawn_connection(stream, peer),
                Err(error) if is_per_connection_error(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted");
                    let clock = self.house.clock();
                    clock.sleep_until(clock.now().mono.after(ACCEPT_RETRY_DELAY)).await;
                }
            }
        }
    }

    /// Waits until there is room for one more. A reload makes some without anybody leaving, so it is looked for again and
    /// again.
    async fn wait_for_capacity(&self, count: &mut watch::Receiver<usize>) {
        let clock = self.house.clock();
        let has_room = |open: &usize| *open < self.house.snapshot().limits.connections;
        let look = || clock.now().mono.after(ACCEPT_RETRY_DELAY);
        while timeout_at(&**clock, look(), count.wait_for(has_room)).await.is_none() {}
    }

    /// Lets in whoever stands at the door and may have sent a request already; nobody after them.
    fn drain_backlog(&self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        // It does not wait for anybody: an error says that nobody stands there.
        while let Ok((stream, peer)) = listener.accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.spawn_connection(stream, peer);
            }
        }
    }

    /// Waits until all have left.
    async fn wait_idle(&self) {
        // The sender is held here, so it cannot be gone.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    fn spawn_connection(&self, stream: TcpStream, peer: SocketAddr) {
        self.open.send_modify(|open| *open += 1);
        let (house, router) = (Arc::clone(&self.house), self.router.clone());
        let open = ConnectionGuard(Arc::clone(&self.open));
        tokio::spawn(async move {
            connection(&house, router, stream, peer).await;
            drop(open);
        });
    }
}

/// One connection more, until dropped.
struct ConnectionGuard(Arc<watch::Sender<usize>>);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// The next connection may be better.
fn is_per_connection_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}
