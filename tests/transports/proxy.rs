//! Requests through the configured proxy.

use std::net::SocketAddr;

use wxsub_core::proto::BaseUrl;
use wxsub_core::proto::codec::{QueryPair, Request};
use wxsub_core::testing::faulty_server::{FaultyServer, ScriptStep, closed_port};
use wxsub_core::transport::{HttpRequest, RequestState, Transport, TransportError, TransportErrorKind};
use wxsub_reqwest::{BuildError, Roots};

use crate::{Build, Built};

over_both!(
    invalid_proxy_url_is_rejected_and_never_printed,
    plain_request_goes_to_proxy_with_absolute_uri,
    rejected_tunnel_means_not_sent,
    unreachable_proxy_is_reported_as_proxy_error,
    request_broken_by_proxy_is_sent_only_without_tunnel,
);

fn through(build: Build, proxy: SocketAddr) -> Built {
    build(&Roots::Bundled, Some(&format!("http://alice:PLANTED@{proxy}"))).unwrap()
}

fn token_call(base: &str) -> HttpRequest {
    let request = Request::get("/cgi-bin/token", vec![QueryPair::secret("secret", "PLANTED")]);
    HttpRequest::new(&BaseUrl::insecure(base).unwrap(), request).unwrap()
}

async fn failure(built: &Built, base: &str) -> TransportError {
    let error = built.transport.execute(token_call(base)).await.unwrap_err();
    let text = format!("{error} {error:?} {}", built.debug);
    // The second is user and password in base64, as in the header.
    for secret in ["PLANTED", "YWxpY2U6UExBTlRFRA==", "alice", "secret", "://"] {
        assert!(!text.contains(secret), "{text}");
    }
    error
}

async fn invalid_proxy_url_is_rejected_and_never_printed(build: Build) {
    for bad in [
        "",
        "PLANTED",
        "10.0.0.1:3128",
        "socks5://user:PLANTED@proxy:1080",
        "ftp://user:PLANTED@proxy",
        "http://",
        "http://:3128",
        "http://user:PLANTED@",
        "http://user:PLANTED@proxy/path",
        "http://user:PLANTED@proxy?x",
        "http://user:PLANTED@proxy#x",
        "http://user:PLANTED@proxy:port",
        "http://user:PLANTED@proxy:65536",
    ] {
        let error = build(&Roots::Bundled, Some(bad)).err().unwrap();
        assert_eq!(error, BuildError::InvalidProxyUrl, "{bad}");
        assert!(!format!("{error} {error:?}").contains("PLANTED"));
    }
    for good in [
        "http://proxy",
        "http://user:PLANTED@[::1]:3128/",
        "HTTP://user:PLANTED@proxy:8080",
        "https://user:PLANTED@proxy:8443",
    ] {
        assert!(!build(&Roots::Bundled, Some(good)).unwrap().debug.contains("PLANTED"), "{good}");
    }
}

async fn plain_request_goes_to_proxy_with_absolute_uri(build: Build) {
    let proxy = FaultyServer::responding(ScriptStep::response(200, "{}")).await;
    let response =
        through(build, proxy.address()).transport.execute(token_call("http://weixin.invalid")).await.unwrap();
    assert_eq!((response.status, &response.body[..]), (200, &b"{}"[..]));
    let request = proxy.requests().pop().unwrap();
    assert_eq!(request.line(), "GET http://weixin.invalid/cgi-bin/token?secret=PLANTED HTTP/1.1");
    assert_eq!(request.header("host"), ["weixin.invalid"]);
    assert_eq!(request.header("proxy-authorization"), ["Basic YWxpY2U6UExBTlRFRA=="]);
}

async fn rejected_tunnel_means_not_sent(build: Build) {
    for status_line in ["407 Proxy Authentication Required", "403 Forbidden", "502 Bad Gateway"] {
        let response = ScriptStep::write(format!("HTTP/1.1 {status_line}\r\ncontent-length: 0\r\n\r\n"));
        let proxy = FaultyServer::responding(response).await;
        let error = failure(&through(build, proxy.address()), "https://weixin.invalid").await;
        assert_eq!((error.request_state(), error.kind()), (RequestState::NotSent, TransportErrorKind::Proxy));
        let requests = proxy.requests();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].line(), "CONNECT weixin.invalid:443 HTTP/1.1");
    }
}

async fn unreachable_proxy_is_reported_as_proxy_error(build: Build) {
    let built = through(build, closed_port().await);
    for base in ["https://weixin.invalid", "http://weixin.invalid"] {
        let error = failure(&built, base).await;
        assert_eq!((error.request_state(), error.kind()), (RequestState::NotSent, TransportErrorKind::Proxy));
    }
}

/// The proxy reads a request, and then breaks the connection.
async fn request_broken_by_proxy_is_sent_only_without_tunnel(build: Build) {
    let connected = ScriptStep::write("HTTP/1.1 200 Connected\r\n\r\n");
    for (base, then, stage, kind) in [
        ("http://weixin.invalid", ScriptStep::Reset, RequestState::MaybeSent, TransportErrorKind::Broken),
        ("https://weixin.invalid", connected, RequestState::NotSent, TransportErrorKind::Proxy),
    ] {
        let proxy = FaultyServer::start([vec![ScriptStep::Read, then]]).await;
        let error = failure(&through(build, proxy.address()), base).await;
        assert_eq!((error.request_state(), error.kind()), (stage, kind), "{base}");
        assert_eq!(proxy.requests().len(), 1, "{base}");
    }
}
