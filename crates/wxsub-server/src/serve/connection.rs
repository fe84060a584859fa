//! Serves one connection: TLS handshake, then HTTP/1.1.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, TryStreamExt};
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;
use wxsub_core::clock::timeout_at;

use crate::api::LateResponse;
use crate::apps::{MAX_KEYLESS_REQUESTS, ServerState};
use crate::state::connections::{OpenConnection, OpenRequest};
use crate::state::limit::Limit;
use crate::state::pace::TooMany;

/// Maximum size of a request's head, in bytes.
pub(super) const MAX_HEADER_BYTES: usize = 32 * 1024;

/// How long an idle connection stays open after shutdown starts. A request may be on its way.
pub(super) const KEEP_ALIVE_GRACE: Duration = Duration::from_millis(500);

/// Maximum time that a response is late. It breaks a loop of requests without a pause. Half of it is the least for a caller that was
/// refused too often.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// How many bytes of a response without a known key count as one request more.
const TURN_BYTES: u64 = 8192;

/// Maximum size of what is written of a response before other tasks of the server run, in bytes.
const MAX_PIECE_BYTES: usize = 16 * 1024;

/// Serves a connection until it closes.
pub(super) async fn serve_connection(
    state: Arc<ServerState>,
    router: Router,
    stream: TcpStream,
    peer: SocketAddr,
    connection: OpenConnection,
) {
    let (state, connection) = (&state, &connection);
    // Responses are small, so Nagle's algorithm would only delay them.
    let _ = stream.set_nodelay(true);
    let Some(tls) = state.snapshot().tls.clone() else {
        return serve_http(state, router, stream, peer, connection).await;
    };
    let handshake = async {
        wait_for_handshake(state, peer.ip()).await.ok()?;
        let deadline = state.clock().now().mono + state.snapshot().limits.header;
        let handshake = TlsAcceptor::from(tls.config).accept(stream);
        timeout_at(&**state.clock(), deadline, handshake).await?.ok()
    };
    let stream = tokio::select! {
        stream = handshake => stream,
        () = connection.must_close() => None,
    };
    if let Some(stream) = stream {
        serve_http(state, router, stream, peer, connection).await;
    }
}

/// Waits until this address may begin a TLS handshake. A trusted proxy need not wait.
///
/// # Errors
/// [`TooMany`] if the wait is longer than `header_timeout_s`.
async fn wait_for_handshake(state: &ServerState, address: IpAddr) -> Result<(), TooMany> {
    let (wait, now) = {
        let (snapshot, now) = (state.snapshot(), state.clock().now().mono);
        let limits = &snapshot.limits;
        if snapshot.is_proxy(address) {
            return Ok(());
        }
        (state.handshakes.plan(address, 1, limits.handshakes_per_address, limits.header, now), now)
    };
    if wait != Ok(Duration::ZERO) {
        state.record_limit(Limit::HandshakesPerAddress, &address);
    }
    state.clock().sleep_until(now + wait?).await;
    Ok(())
}

async fn serve_http<I>(
    state: &Arc<ServerState>,
    router: Router,
    io: I,
    peer: SocketAddr,
    open: &OpenConnection,
) where
    I: AsyncRead + AsyncWrite,
{
    let closing = AtomicBool::new(false);
    let service = service_fn(|mut request: Request<Incoming>| {
        let open_request = open.begin_request();
        let is_valid = has_valid_host(&request);
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = is_valid.then(|| router.clone().call(request.map(Body::new)));
        let closing = &closing;
        async move {
            let mut response = match response {
                Some(response) => response.await?,
                None => invalid_host(),
            };
            let late = response.extensions_mut().remove::<LateResponse>();
            let wait = late.map_or(Duration::ZERO, |late| {
                pause_before(state, peer.ip(), open.number(), late, &response)
            });
            if !wait.is_zero() {
                open_request.begin_pause();
                pause(state, wait).await;
            }
            if closing.load(Ordering::Relaxed) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(in_pieces(open_request, response))
        }
    });
    let limits = state.snapshot().limits;
    // Closes the connection of a client that does not read responses.
    let mut io = TimeoutStream::new(io);
    io.set_write_timeout(Some(limits.request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(Box::pin(io)), service);
    let mut connection = pin!(connection);
    // Connection errors are the client's concern, so the result is ignored.
    let grace = tokio::select! {
        biased;
        // Before a request is read: one that begins now would not count to the limits.
        () = open.must_close() => match open.is_busy() {
            // Dropping the connection closes it.
            false => return,
            true => Duration::ZERO,
        },
        _ = connection.as_mut() => return,
        () = state.shutdown_started() => KEEP_ALIVE_GRACE,
    };
    closing.store(true, Ordering::Relaxed);
    let deadline = state.clock().now().mono + grace;
    if timeout_at(&**state.clock(), deadline, connection.as_mut()).await.is_none() {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

/// How long a response on the connection with this number has to wait. Proxies need not wait for the turn of their address.
fn pause_before(
    state: &ServerState,
    address: IpAddr,
    connection: u64,
    late: LateResponse,
    response: &Response,
) -> Duration {
    // Requests that came at once get their responses one after the other, and so do those that their clients send then.
    let longest = MAX_PAUSE - Duration::from_millis(connection % 500);
    if late == LateResponse::RefusedOften {
        return longest;
    }
    if state.snapshot().is_proxy(address) {
        return Duration::ZERO;
    }
    let now = state.clock().now().mono;
    // A long response takes as much time as many short ones.
    let turns = 1 + response.body().size_hint().lower() / TURN_BYTES;
    let wait = state.keyless_requests.plan(address, turns, MAX_KEYLESS_REQUESTS, MAX_PAUSE, now);
    if wait != Ok(Duration::ZERO) {
        state.record_limit(Limit::KeylessRequests, &address);
    }
    wait.unwrap_or(longest)
}

/// Lets a large response be written in pieces, and ends the request with the last one. All such responses of a listener take turns,
/// and the requests that are there come first.
fn in_pieces(request: OpenRequest, response: Response) -> Response {
    let Some(length) = response.body().size_hint().exact() else { return response };
    if length <= MAX_PIECE_BYTES as u64 {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.insert(CONTENT_LENGTH, length.into());
    let begin = (request, body.into_data_stream(), Bytes::new());
    let pieces = stream::try_unfold(begin, |(request, mut body, mut rest)| async move {
        if rest.is_empty() {
            let Some(more) = body.try_next().await? else { return Ok(None) };
            rest = more;
        }
        request.turn_of_piece().await;
        let piece = rest.split_to(rest.len().min(MAX_PIECE_BYTES));
        Ok::<_, axum::Error>(Some((piece, (request, body, rest))))
    });
    Response::from_parts(parts, Body::from_stream(pieces))
}

/// Waits before a response. The stop of the server ends the wait.
async fn pause(state: &ServerState, wait: Duration) {
    let end = state.clock().now().mono + wait;
    tokio::select! {
        () = state.clock().sleep_until(end) => {}
        () = state.shutdown_started() => {}
    }
}

/// Whether the request has exactly one `Host`, with a host and at most a port. HTTP/1.0 also allows none.
fn has_valid_host(request: &Request<Incoming>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => request.version() == Version::HTTP_10,
        (Some(host), None) => Authority::try_from(host.as_bytes())
            .is_ok_and(|authority| !authority.host().is_empty() && !authority.as_str().contains('@')),
        (Some(_), Some(_)) => false,
    }
}

/// The response to a request without exactly one valid `Host`. It closes the connection.
fn invalid_host() -> Response {
    let headers = [(CONNECTION, "close"), (CONTENT_TYPE, "text/plain; charset=utf-8")];
    let text = "the request has no Host header, more than one, or an invalid one; send one with the name of this server\n";
    (StatusCode::BAD_REQUEST, headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::state::connections::Connections;

    /// A connection on which a response is being written does not make room for another one.
    #[tokio::test]
    async fn request_ends_with_the_last_piece_of_its_response() {
        let connections = Arc::<Connections>::default();
        let (open, _) = connections.open(IpAddr::from([10, 0, 0, 1]), None).unwrap();
        let small = in_pieces(open.begin_request(), Response::new(Body::from("x")));
        assert!(!open.is_busy());
        drop(small);
        let text = "x".repeat(MAX_PIECE_BYTES * 2 + 1);
        let mut large = in_pieces(open.begin_request(), Response::new(Body::from(text.clone())));
        let mut read = Vec::new();
        while let Some(frame) = large.body_mut().frame().await {
            assert!(open.is_busy());
            read.extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
        assert_eq!((read.len(), open.is_busy()), (text.len(), false));
        drop(in_pieces(open.begin_request(), Response::new(Body::from(text))));
        assert!(!open.is_busy());
    }
}
