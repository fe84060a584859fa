//! From sockets to the routes, within the limits.

mod connection;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use wxsub_core::clock::until;

use self::connection::connection;
use crate::house::House;
use crate::server::Server;

/// How long requests under way may take once the server stops.
const DRAIN: Duration = Duration::from_secs(8);

/// How long the audit may take to be written to its end.
const FLUSH: Duration = Duration::from_secs(1);

/// How long to wait where no connection can be accepted, for want of room or of file descriptors.
const BREATHER: Duration = Duration::from_millis(100);

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
        self.warm();
        let main = Hall::new(&self.house, self.router());
        // Of its own, so that whoever crowds the other does not hide that it is crowded.
        let aside = Hall::new(&self.house, self.metrics_router());
        let watched = async {
            match &metrics {
                Some(listener) => aside.admit(listener).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = main.admit(&listener) => {}
            () = watched => {}
        }
        // First, so that whoever is sent away finds the door shut.
        main.shut(listener);
        self.house.drain();
        let deadline = self.house.clock().now().mono.after(DRAIN);
        // Whoever is not done by then is cut off.
        until(&**self.house.clock(), deadline, main.empty()).await;
        let house = Arc::clone(&self.house);
        let flushed = tokio::task::spawn_blocking(move || house.audit().flush());
        // A reader of the audit that reads no more must not keep the server.
        let deadline = self.house.clock().now().mono.after(FLUSH);
        until(&**self.house.clock(), deadline, flushed).await;
    }
}

/// Where those are who came in through one listener.
struct Hall {
    house: Arc<House>,
    router: Router,
    /// How many connections are open.
    open: Arc<watch::Sender<usize>>,
}

impl Hall {
    fn new(house: &Arc<House>, router: Router) -> Self {
        Self { house: Arc::clone(house), router, open: Arc::default() }
    }

    /// Lets in whoever comes, for ever, but never more than the limit at a time.
    async fn admit(&self, listener: &TcpListener) {
        let mut count = self.open.subscribe();
        loop {
            self.room(&mut count).await;
            match listener.accept().await {
                Ok((stream, peer)) => self.let_in(stream, peer),
                Err(error) if of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted");
                    let clock = self.house.clock();
                    clock.sleep_until(clock.now().mono.after(BREATHER)).await;
                }
            }
        }
    }

    /// Waits until there is room for one more. A reload makes some without anybody leaving, so it is looked for again and
    /// again.
    async fn room(&self, count: &mut watch::Receiver<usize>) {
        let clock = self.house.clock();
        let has_room = |open: &usize| *open < self.house.snapshot().limits.connections;
        let look = || clock.now().mono.after(BREATHER);
        while until(&**clock, look(), count.wait_for(has_room)).await.is_none() {}
    }

    /// Lets in whoever stands at the door and may have sent a request already; nobody after them.
    fn shut(&self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        // It does not wait for anybody: an error says that nobody stands there.
        while let Ok((stream, peer)) = listener.accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.let_in(stream, peer);
            }
        }
    }

    /// Waits until all have left.
    async fn empty(&self) {
        // The sender is held here, so it cannot be gone.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    fn let_in(&self, stream: TcpStream, peer: SocketAddr) {
        self.open.send_modify(|open| *open += 1);
        let (house, router) = (Arc::clone(&self.house), self.router.clone());
        let open = Open(Arc::clone(&self.open));
        tokio::spawn(async move {
            connection(&house, router, stream, peer).await;
            drop(open);
        });
    }
}

/// One connection more, until dropped.
struct Open(Arc<watch::Sender<usize>>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// The next connection may be better.
fn of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}
