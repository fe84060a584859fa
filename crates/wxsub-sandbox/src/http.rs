//! The sandbox over HTTP/1.1.

mod body;
mod date;
mod origin;
mod wire;

use std::io;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::handler::Handler;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::call::MAX_BODY;
use crate::clock::pause;
use crate::{Broken, Reply, Sandbox};
use wire::{Door, Peer};

/// Serves the sandbox until `shutdown` is over; requests whose head has come are answered first, and nobody is made to
/// wait any longer by a fault.
///
/// Faults are real here: a reset is a TCP reset, a reply that breaks off has promised its whole length, a request that
/// hangs hangs until its caller goes away.
///
/// # Errors
/// Where the listener cannot be used.
///
/// # Cancel safety
/// Dropping it stops accepting; connections that are open live on until their callers close them.
pub async fn serve<F>(listener: TcpListener, sandbox: Sandbox, shutdown: F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (stop, stopping) = watch::channel(());
    let front = exchange.with_state(Front { sandbox, stopping });
    axum::serve(Door(listener), front.into_make_service_with_connect_info::<Peer>())
        .with_graceful_shutdown(async move {
            shutdown.await;
            drop(stop);
        })
        .await
}

/// What every request needs.
#[derive(Clone)]
struct Front {
    sandbox: Sandbox,
    /// Closed once the sandbox shuts down.
    stopping: watch::Receiver<()>,
}

impl Front {
    /// Waits for something, but not beyond the end of the sandbox.
    async fn wait<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            biased;
            done = what => Some(done),
            _ = stopping.changed() => None,
        }
    }
}

async fn exchange(
    State(front): State<Front>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let Some(Ok(body)) = front.wait(body::read(body, MAX_BODY)).await else {
        peer.cut.reset();
        return Response::default();
    };
    let sandbox = &front.sandbox;
    let caller = origin::caller(peer.address.ip(), &head.headers);
    let handled = sandbox.handle_from(caller, head.method.as_str(), target, &body);
    if !handled.delay.is_zero() {
        front.wait(pause(handled.delay)).await;
    }
    match handled.outcome {
        Ok(reply) => written(reply, sandbox),
        Err(Broken::Truncated(reply)) => {
            peer.cut.leave_out(reply.body.len().div_ceil(2));
            written(reply, sandbox)
        }
        Err(Broken::Hang) => {
            front.wait(std::future::pending::<()>()).await;
            peer.cut.reset();
            Response::default()
        }
        Err(Broken::ResetBeforeApply | Broken::ResetAfterApply) => {
            peer.cut.reset();
            Response::default()
        }
    }
}

fn written(reply: Reply, sandbox: &Sandbox) -> Response {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    headers.extend(date::header(sandbox.now()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let location = reply.location.map(|location| (header::LOCATION.as_str(), location));
    for (name, value) in location.into_iter().chain(reply.headers) {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}
