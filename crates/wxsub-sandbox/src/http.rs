//! The sandbox over HTTP/1.1.

mod fault_stream;

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request, State};
use axum::handler::Handler;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response as HttpResponse;
use httpdate::HttpDate;
use tokio::net::TcpListener;
use tokio::sync::watch;
use wxsub_proto::BaseUrl;

use crate::clock::pause;
use crate::exchange::{ConnectionFault, Response};
use crate::request::{Caller, MAX_BODY_BYTES};
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
    let Some(Ok(body)) = state.wait(read_limited(body, MAX_BODY_BYTES)).await else {
        client.cut.reset();
        return HttpResponse::default();
    };
    let sandbox = &state.sandbox;
    let caller = caller_from_headers(client.address.ip(), &head.headers);
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

/// The end of the year 9999: the latest date that HTTP can express.
const MAX_HTTP_DATE: Duration = Duration::from_secs(253_402_300_799);

/// The `Date` header with the time of the sandbox, not of this machine.
fn date_header(now: Duration) -> Option<(HeaderName, HeaderValue)> {
    let date = HttpDate::from(SystemTime::UNIX_EPOCH + now.min(MAX_HTTP_DATE));
    HeaderValue::try_from(date.to_string()).ok().map(|date| (header::DATE, date))
}

/// Reads the body and keeps at most `max` + 1 bytes. The rest is read and dropped, so that the client gets its response.
async fn read_limited(mut body: Body, max: usize) -> Result<Vec<u8>, axum::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            let remaining = (max + 1).saturating_sub(bytes.len());
            bytes.extend(data.iter().take(remaining));
        }
    }
    Ok(bytes)
}

/// The caller with this address and these headers.
fn caller_from_headers(address: IpAddr, headers: &HeaderMap) -> Caller {
    let caller = Caller::from(address);
    let base =
        header_text(headers, header::HOST.as_str()).map(|host| BaseUrl::insecure(&format!("http://{host}")));
    let caller = match base {
        Some(Ok(base)) => caller.with_base_url(base),
        _ => caller,
    };
    if is_cross_site(headers) { caller.cross_site() } else { caller }
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
