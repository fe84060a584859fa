//! Through a proxy that was named, and never through another.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use wxsub_core::proto::BaseUrl;
use wxsub_core::proto::codec::{QueryPair, Request};
use wxsub_core::testing::raw_server::{Act, RawServer, closed_port};
use wxsub_core::transport::{Outgoing, Stage, Transport, TransportError, TransportFault};
use wxsub_hyper::{HyperTransport, Roots};

fn through(proxy: SocketAddr) -> HyperTransport {
    let builder = HyperTransport::builder().roots(Roots::Bundled);
    builder.proxy(&format!("http://alice:PLANTED@{proxy}")).unwrap().build().unwrap()
}

fn token_call(base: &str) -> Outgoing {
    let request = Request::get("/cgi-bin/token", vec![QueryPair::secret("secret", "PLANTED")]);
    Outgoing::new(&BaseUrl::allowing_http(base).unwrap(), request).unwrap()
}

async fn failure(transport: &HyperTransport, base: &str) -> TransportError {
    let error = transport.exchange(token_call(base)).await.unwrap_err();
    let text = format!("{error} {error:?} {transport:?}");
    // The second is user and password as they travel.
    for secret in ["PLANTED", "YWxpY2U6UExBTlRFRA==", "alice", "secret", "://"] {
        assert!(!text.contains(secret), "{text}");
    }
    error
}

#[tokio::test]
async fn plain_calls_are_handed_to_the_proxy_whole() {
    let proxy = RawServer::replying(Act::reply(200, "{}")).await;
    let reply = through(proxy.address()).exchange(token_call("http://weixin.invalid")).await.unwrap();
    assert_eq!((reply.status, &reply.body[..]), (200, &b"{}"[..]));
    let request = proxy.requests().pop().unwrap();
    assert_eq!(request.line(), "GET http://weixin.invalid/cgi-bin/token?secret=PLANTED HTTP/1.1");
    assert_eq!(request.header("host"), ["weixin.invalid"]);
    assert_eq!(request.header("proxy-authorization"), ["Basic YWxpY2U6UExBTlRFRA=="]);
}

#[tokio::test]
async fn a_tunnel_that_is_refused_has_carried_nothing() {
    for refusal in ["407 Proxy Authentication Required", "403 Forbidden", "502 Bad Gateway"] {
        let reply = Act::write(format!("HTTP/1.1 {refusal}\r\ncontent-length: 0\r\n\r\n"));
        let proxy = RawServer::replying(reply).await;
        let error = failure(&through(proxy.address()), "https://weixin.invalid").await;
        assert_eq!((error.stage(), error.fault()), (Stage::BeforeSending, TransportFault::Proxy));
        let requests = proxy.requests();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].line(), "CONNECT weixin.invalid:443 HTTP/1.1");
    }
}

#[tokio::test]
async fn a_proxy_that_cannot_be_reached_is_named_as_such() {
    let transport = through(closed_port().await);
    for base in ["https://weixin.invalid", "http://weixin.invalid"] {
        let error = failure(&transport, base).await;
        assert_eq!((error.stage(), error.fault()), (Stage::BeforeSending, TransportFault::Proxy));
    }
}

#[tokio::test]
async fn a_call_that_the_proxy_took_may_have_arrived() {
    let proxy = RawServer::start([vec![Act::Read, Act::Reset]]).await;
    let error = failure(&through(proxy.address()), "http://weixin.invalid").await;
    assert_eq!((error.stage(), error.fault()), (Stage::MaybeSent, TransportFault::Broken));
    assert_eq!(proxy.requests().len(), 1);
}

#[tokio::test]
async fn a_tunnel_that_leads_nowhere_has_carried_nothing() {
    let connected = Act::write("HTTP/1.1 200 Connected\r\n\r\n");
    let proxy = RawServer::start([vec![Act::Read, connected]]).await;
    let error = failure(&through(proxy.address()), "https://weixin.invalid").await;
    assert_eq!((error.stage(), error.fault()), (Stage::BeforeSending, TransportFault::Proxy));
    assert_eq!(proxy.requests().len(), 1);
}
