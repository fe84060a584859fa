//! The sandbox over HTTP/1.1.

mod body;
mod caller;
mod date;
mod fault_stream;

use std::io;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::handler::Handler;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response as HttpResponse;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::clock::pause;
use crate::exchange::{ConnectionFault, Response};
use crate::request::MAX_BODY_BYTES;
use crate::sandbox::Sandbox;
use fault_stream::{ClientConnection, FaultListener};

/// Serves the sandbox over HTTP/1.1 until `shutdown` completes.
///
/// On shutdown, requests whose head has arrived are answered first. Delays and hangs end at once.
///
/// Faults apply to the TCP connection. A reset is a TCP reset. A truncated response announces its full length. A hanging
/// request hangs until its client disconnects.
///
/// # Errors
/// Returns the error of the listener if it cannot be used.
///
/// # Cancel safety
/// Dropping the future stops accepting connections. Open connections continue until their clients close them.
pub async fn serve<F>(listener: TcpListener, sandbox: Sandbox, shutdown: F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (stop, stopping) = watch::channel(());
    let handler = handle.with_state(HttpState { sandbox, stopping });
    axum::serve(FaultListener(listener), handler.into_make_service_with_connect_info::<ClientConnection>())
        .with_graceful_shutdown(async move {
            shutdown.await;
            drop(stop);
        })
        .await
}

/// The state that every request handler shares.
#[derive(Clone)]
struct HttpState {
    sandbox: Sandbox,
    /// Closed when the sandbox shuts down.
    stopping: watch::Receiver<()>,
}

impl HttpState {
    /// Waits for `work`. Returns `None` if the sandbox shuts down first.
    async fn wait<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            biased;
            output = work => Some(output),
            _ = stopping.changed() => None,
        }
    }
}

async fn handle(
    State(state): State<HttpState>,
    ConnectInfo(client): ConnectInfo<ClientConnection>,
    request: Request,
) -> HttpResponse {
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let Some(Ok(body)) = state.wait(body::read_limited(body, MAX_BODY_BYTES)).await else {
        client.cut.reset();
        return HttpResponse::default();
    };
    let sandbox = &state.sandbox;
    let caller = caller::from_headers(client.address.ip(), &head.headers);
    let exchange = sandbox.handle_from(caller, head.method.as_str(), target, &body);
    if !exchange.delay.is_zero() {
        state.wait(pause(exchange.delay)).await;
    }
    match exchange.outcome {
        Ok(response) => to_http_response(response, sandbox),
        Err(ConnectionFault::Truncated(response)) => {
            client.cut.drop_last(response.body.len().div_ceil(2));
            to_http_response(response, sandbox)
        }
        Err(ConnectionFault::Hang) => {
            state.wait(std::future::pending::<()>()).await;
            client.cut.reset();
            HttpResponse::default()
        }
        Err(ConnectionFault::ResetBeforeApply | ConnectionFault::ResetAfterApply) => {
            client.cut.reset();
            HttpResponse::default()
        }
    }
}

fn to_http_response(response: Response, sandbox: &Sandbox) -> HttpResponse {
    let mut http = HttpResponse::new(Body::from(response.body));
    *http.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = http.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(response.content_type));
    headers.extend(date::date_header(sandbox.now()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let location = response.location.map(|location| (header::LOCATION.as_str(), location));
    for (name, value) in location.into_iter().chain(response.headers) {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    http
}
