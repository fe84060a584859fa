//! The sandbox over HTTP/1.1.

mod fault_stream;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::{Duration, SystemTime};

use http_body_util::{BodyExt, Full};
use httpdate::HttpDate;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use wxsub_proto::BaseUrl;

use crate::clock::pause;
use crate::exchange::{ConnectionFault, Response};
use crate::request::{Caller, MAX_BODY_BYTES};
use crate::sandbox::Sandbox;
use fault_stream::{CutHandle, FaultStream};

type HttpResponse = hyper::Response<Full<Bytes>>;

/// How long a client may take for the head of a request, and how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may take for the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause after a connection that could not be accepted, for example because too many files are open.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Serves the sandbox over HTTP/1.1 until `shutdown` completes.
///
/// On shutdown, requests whose head has arrived are answered first. Delays and hangs end at once.
///
/// A request with an unknown name in `Host` is rejected, see [`Sandbox::allow_host`]. The connection closes if a head or a
/// body takes more than 30 s, or if the next request does not start within 30 s.
///
/// Faults apply to the TCP connection. A reset is a TCP reset. A truncated response announces its full length. A hanging
/// request hangs until its client disconnects.
///
/// # Cancel safety
/// Dropping the future shuts down, and does not wait for requests in progress.
pub async fn serve(listener: TcpListener, sandbox: Sandbox, shutdown: impl Future<Output = ()>) {
    let (stop, stopping) = watch::channel(());
    let state = HttpState { sandbox, stopping };
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = shutdown.as_mut() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => drop(tokio::spawn(serve_connection(state.clone(), stream, address))),
                Err(_) => pause(ACCEPT_RETRY_INTERVAL).await,
            }
        }
    }
    drop(listener);
    drop(state);
    stop.send_replace(());
    stop.closed().await;
}

async fn serve_connection(state: HttpState, stream: TcpStream, address: SocketAddr) {
    let cut = CutHandle::default();
    let io = TokioIo::new(FaultStream { stream, cut: cut.clone() });
    let service = service_fn(async |request| {
        let response = handle(&state, address.ip(), &cut, request).await;
        Ok::<_, Infallible>(response)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    // Connection errors are the client's concern, so the result is ignored.
    if state.wait(connection.as_mut()).await.is_none() {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

/// The state that every request handler shares.
#[derive(Clone)]
struct HttpState {
    sandbox: Sandbox,
    /// Changes when the sandbox shuts down.
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
    state: &HttpState,
    address: IpAddr,
    cut: &CutHandle,
    request: Request<Incoming>,
) -> HttpResponse {
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let body = async {
        tokio::select! {
            body = read_limited(body, MAX_BODY_BYTES) => body.ok(),
            () = pause(BODY_TIMEOUT) => None,
        }
    };
    let Some(Some(body)) = state.wait(body).await else {
        cut.reset();
        return HttpResponse::default();
    };
    let sandbox = &state.sandbox;
    let caller = caller_from_headers(address, &head.headers);
    if let Some(response) = reject_host(sandbox, caller.base_url.as_ref()) {
        return to_http_response(response, sandbox);
    }
    let exchange = sandbox.handle_from(caller, head.method.as_str(), target, &body);
    if !exchange.delay.is_zero() {
        state.wait(pause(exchange.delay)).await;
    }
    match exchange.outcome {
        Ok(response) => to_http_response(response, sandbox),
        Err(ConnectionFault::Truncated(response)) => {
            cut.drop_last(response.body.len().div_ceil(2));
            to_http_response(response, sandbox)
        }
        Err(ConnectionFault::Hang) => {
            state.wait(std::future::pending::<()>()).await;
            cut.reset();
            HttpResponse::default()
        }
        Err(ConnectionFault::ResetBeforeApply | ConnectionFault::ResetAfterApply) => {
            cut.reset();
            HttpResponse::default()
        }
    }
}

/// The response to a request whose `Host` is not allowed. `base` is absent without a valid `Host`.
fn reject_host(sandbox: &Sandbox, base: Option<&BaseUrl>) -> Option<Response> {
    let host = base.map_or("a name", BaseUrl::host);
    if base.is_some() && sandbox.is_allowed_host(host) {
        return None;
    }
    let error = format!(
        "host: must be localhost, a name below localhost or an IP address; start the sandbox with --allow-host to allow {host}\n"
    );
    Some(Response::new(403, "text/plain; charset=utf-8", error))
}

fn to_http_response(response: Response, sandbox: &Sandbox) -> HttpResponse {
    let mut http = HttpResponse::new(response.body.into());
    *http.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = http.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(response.content_type));
    headers.extend(date_header(sandbox.now()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let location = response.location.map(|location| (header::LOCATION.as_str(), location));
    for (name, value) in location.into_iter().chain(response.headers) {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    http
}

/// The `Date` header with the time of the sandbox, not of this machine.
fn date_header(now: Duration) -> Option<(HeaderName, HeaderValue)> {
    let date = HttpDate::from(SystemTime::UNIX_EPOCH + now);
    HeaderValue::try_from(date.to_string()).ok().map(|date| (header::DATE, date))
}

/// Reads the body and keeps at most `max` + 1 bytes. The rest is read and dropped, so that the client gets its response.
async fn read_limited(mut body: Incoming, max: usize) -> hyper::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            let remaining = (max + 1).saturating_sub(bytes.len());
            bytes.extend(data.iter().take(remaining));
        }
    }
    Ok(bytes)
}

/// The caller with this address and these headers.
fn caller_from_headers(address: IpAddr, headers: &HeaderMap) -> Caller {
    let host = header_text(headers, header::HOST.as_str());
    let base_url = host.and_then(|host| BaseUrl::insecure(&format!("http://{host}")).ok());
    Caller { address, base_url, is_cross_site: is_cross_site(headers) }
}

/// Whether a browser reports that a page of another site sent the request. Clients that are no browsers report nothing.
fn is_cross_site(headers: &HeaderMap) -> bool {
    if let Some(site) = header_text(headers, "sec-fetch-site") {
        return !["same-origin", "none"].contains(&site);
    }
    // Browsers omit Sec-Fetch-Site over plain HTTP unless the host is loopback.
    let Some(origin) = header_text(headers, header::ORIGIN.as_str()) else {
        return false;
    };
    let site = origin.split_once("://").map(|(_, host)| host);
    site.is_none() || site != header_text(headers, header::HOST.as_str())
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller_with(pairs: &[(&'static str, &'static str)]) -> Caller {
        let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        caller_from_headers([127, 0, 0, 1].into(), &headers.collect())
    }

    #[test]
    fn cross_site_requests_are_detected_by_headers() {
        let host = ("host", "10.0.0.1:8459");
        for (header, is_cross_site) in [
            (("sec-fetch-site", "same-origin"), false),
            (("sec-fetch-site", "none"), false),
            (("sec-fetch-site", "same-site"), true),
            (("sec-fetch-site", "cross-site"), true),
            (("origin", "http://10.0.0.1:8459"), false),
            (("origin", "https://10.0.0.1:8459"), false),
            (("origin", "http://10.0.0.1"), true),
            (("origin", "https://evil.example"), true),
            (("origin", "null"), true),
            (("user-agent", "curl"), false),
        ] {
            assert_eq!(caller_with(&[host, header]).is_cross_site, is_cross_site, "{header:?}");
        }
        // Sec-Fetch-Site takes precedence over Origin.
        assert!(
            caller_with(&[host, ("origin", "http://10.0.0.1:8459"), ("sec-fetch-site", "cross-site")])
                .is_cross_site
        );
        assert!(caller_with(&[("origin", "https://evil.example")]).is_cross_site);
    }

    #[test]
    fn base_url_comes_from_valid_host_header() {
        let base = |host| caller_with(&[("host", host)]).base_url.map(|base| base.as_str().to_owned());
        assert_eq!(base("localhost:1").as_deref(), Some("http://localhost:1"));
        for bad in ["a b", "u@h", "a?b", ""] {
            assert_eq!(base(bad), None, "{bad}");
        }
    }
}
