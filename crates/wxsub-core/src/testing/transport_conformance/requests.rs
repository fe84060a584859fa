//! The server receives exactly the request that was given.

use wxsub_proto::codec::{QueryPair, Request};

use super::{Factory, get, outgoing, post, succeeds};
use crate::testing::faulty_server::{FaultyServer, RawRequest, ScriptStep};
use crate::transport::{HttpRequest, Transport, TransportLimits};

#[expect(clippy::expect_used, reason = "test support: a broken rule must fail")]
async fn written(transport: &dyn Transport, server: &FaultyServer, request: HttpRequest) -> RawRequest {
    assert_eq!(succeeds(transport, request).await.status, 200);
    let mut requests = server.requests();
    assert_eq!(requests.len(), 1, "one exchange, one request");
    let request = requests.pop().expect("one request");
    let one_agent = request.header("user-agent");
    assert!(matches!(*one_agent, [agent] if agent.starts_with("wxsub/")), "{request:?}");
    assert_eq!(request.header("host"), [server.address().to_string()]);
    for unwanted in [
        "accept-encoding",
        "authorization",
        "cookie",
        "expect",
        "proxy-authorization",
        "referer",
        "transfer-encoding",
        "upgrade",
    ] {
        assert!(request.header(unwanted).is_empty(), "{unwanted} in {request:?}");
    }
    request
}

/// A GET has its path and query, one `host`, our `user-agent` and no body.
pub async fn get_arrives_byte_for_byte(factory: Factory<'_>) {
    let server = FaultyServer::responding(ScriptStep::response(200, "{}")).await;
    let transport = factory(TransportLimits::default());
    let request = written(&*transport, &server, get(&server.base_url(""))).await;
    assert_eq!(
        request.line(),
        "GET /cgi-bin/token?grant_type=client_credential&secret=PLANTED-SECRET HTTP/1.1"
    );
    assert!(request.body().is_empty());
    let length = request.header("content-length");
    assert!(length.is_empty() || length == ["0"], "{request:?}");
}

/// A POST has its body unchanged, its `content-length` and its `content-type`.
pub async fn post_arrives_byte_for_byte(factory: Factory<'_>) {
    let body = "{\"content\":\"\u{4f60}\u{597d}\\n\u{1f4e6}\",\"url\":\"https://a/?b=%20\"}";
    let server = FaultyServer::responding(ScriptStep::response(200, "{}")).await;
    let transport = factory(TransportLimits::default());
    let request = written(&*transport, &server, post(&server.base_url(""), body)).await;
    assert_eq!(request.line(), "POST /cgi-bin/send?access_token=PLANTED-SECRET HTTP/1.1");
    assert_eq!(request.body(), body);
    assert_eq!(request.header("content-length"), [body.len().to_string()]);
    assert_eq!(request.header("content-type"), ["application/json"]);
}

/// Percent-encoding is unchanged, and a path prefix is kept.
pub async fn paths_and_queries_arrive_untouched(factory: Factory<'_>) {
    let server = FaultyServer::responding(ScriptStep::response(200, "{}")).await;
    let base = server.base_url("/v1//p~'(x)!*;=:,+$&");
    let value = "a b+c%20d'e\"f/?#&=\u{4f60}~";
    let request = Request::get("/cgi-bin/token", vec![QueryPair::secret("secret", value)]);
    let transport = factory(TransportLimits::default());
    let request = written(&*transport, &server, outgoing(&base, request)).await;
    assert_eq!(
        request.line(),
        "GET /v1//p~'(x)!*;=:,+$&/cgi-bin/token?secret=a%20b%2Bc%2520d%27e%22f%2F%3F%23%26%3D%E4%BD%A0~ HTTP/1.1"
    );
}
