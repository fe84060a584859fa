//! One connection, from its first byte to its last.

mod write_timeout;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, rt};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;
use wxsub_core::clock::timeout_at;

use self::write_timeout::WriteTimeout;
use crate::state::ServerState;

/// The most that is kept of a connection's head, in bytes.
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// How long a connection without a request is kept once the server stops: one may be on its way.
const KEEP_ALIVE_GRACE: Duration = Duration::from_millis(500);

/// Serves it to its end.
pub(super) async fn connection(
    house: &Arc<ServerState>,
    router: Router,
    stream: TcpStream,
    peer: SocketAddr,
) {
    // Answers are small, and waiting for more of them helps nobody.
    let _ = stream.set_nodelay(true);
    let (limits, tls) = {
        let snapshot = house.snapshot();
        (snapshot.limits, snapshot.tls.clone())
    };
    let Some(tls) = tls else { return exchange(house, router, TokioIo::new(stream), peer).await };
    let deadline = house.clock().now().mono.after(limits.header);
    let handshake = TlsAcceptor::from(tls.0).accept(stream);
    if let Some(Ok(stream)) = timeout_at(&**house.clock(), deadline, handshake).await {
        exchange(house, router, TokioIo::new(stream), peer).await;
    }
}

async fn exchange<I>(house: &Arc<ServerState>, router: Router, io: I, peer: SocketAddr)
where
    I: rt::Read + rt::Write + Unpin,
{
    let leaving = AtomicBool::new(false);
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let (answer, leaving) = (router.clone().call(request.map(Body::new)), &leaving);
        async move {
            let mut response = answer.await?;
            if leaving.load(Ordering::Relaxed) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let limits = house.snapshot().limits;
    let io = WriteTimeout::new(io, Arc::clone(house.clock()), limits.request);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    // How a connection ends is its caller's business.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = house.shutdown_started() => leaving.store(true, Ordering::Relaxed),
    }
    let deadline = house.clock().now().mono.after(KEEP_ALIVE_GRACE);
    if timeout_at(&**house.clock(), deadline, connection.as_mut()).await.is_none() {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}
