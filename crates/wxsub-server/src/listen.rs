//! From sockets to the routes, within the limits.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, rt};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;
use wxsub_core::clock::until;

use crate::house::House;
use crate::server::Server;

/// How long requests under way may take once the server stops.
const DRAIN: Duration = Duration::from_secs(8);

/// How long the audit may take to be written to its end.
const FLUSH: Duration = Duration::from_secs(1);

/// How long to wait where no connection can be accepted, for want of file descriptors for example.
const BREATHER: Duration = Duration::from_millis(100);

/// The most that is kept of a connection's head, in bytes.
const MOST_HEAD: usize = 32 * 1024;

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
        let (open, mut closed) = watch::channel(0_usize);
        let open = Arc::new(open);
        let main = accept(&self.house, listener, self.router(), &open);
        let aside = async {
            match metrics {
                Some(listener) => accept(&self.house, listener, self.metrics_router(), &open).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = main => {}
            () = aside => {}
        }
        self.house.drain();
        let deadline = self.house.clock().now().mono.after(DRAIN);
        let all_closed = closed.wait_for(|open| *open == 0);
        // Whoever is not done by then is cut off.
        until(&**self.house.clock(), deadline, all_closed).await;
        let house = Arc::clone(&self.house);
        let flushed = tokio::task::spawn_blocking(move || house.audit().flush());
        // A reader of the audit that reads no more must not keep the server.
        let deadline = self.house.clock().now().mono.after(FLUSH);
        until(&**self.house.clock(), deadline, flushed).await;
    }
}

/// Accepts for ever, but never more than the limit at a time.
async fn accept(house: &Arc<House>, listener: TcpListener, router: Router, open: &Arc<watch::Sender<usize>>) {
    let mut count = open.subscribe();
    loop {
        // The sender is held here, so it cannot be gone.
        let _ = count.wait_for(|open| *open < house.snapshot().limits.connections).await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                open.send_modify(|open| *open += 1);
                let (house, router, open) = (Arc::clone(house), router.clone(), Open(Arc::clone(open)));
                tokio::spawn(async move {
                    connection(&house, router, stream, peer).await;
                    drop(open);
                });
            }
            Err(error) if of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                let clock = house.clock();
                clock.sleep_until(clock.now().mono.after(BREATHER)).await;
            }
        }
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

async fn connection(house: &Arc<House>, router: Router, stream: TcpStream, peer: SocketAddr) {
    // Answers are small, and waiting for more of them helps nobody.
    let _ = stream.set_nodelay(true);
    let (limits, tls) = {
        let snapshot = house.snapshot();
        (snapshot.limits, snapshot.tls.clone())
    };
    let Some(tls) = tls else { return exchange(house, router, TokioIo::new(stream), peer).await };
    let deadline = house.clock().now().mono.after(limits.header);
    let handshake = TlsAcceptor::from(tls.0).accept(stream);
    if let Some(Ok(stream)) = until(&**house.clock(), deadline, handshake).await {
        exchange(house, router, TokioIo::new(stream), peer).await;
    }
}

async fn exchange<I>(house: &Arc<House>, router: Router, io: I, peer: SocketAddr)
where
    I: rt::Read + rt::Write + Unpin,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let mut router = router.clone();
        async move { router.call(request.map(Body::new)).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(house.snapshot().limits.header)
        .max_buf_size(MOST_HEAD)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    tokio::select! {
        // How a connection ends is its caller's business.
        _ = connection.as_mut() => {}
        () = house.drained() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
