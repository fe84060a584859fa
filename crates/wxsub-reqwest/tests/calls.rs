//! The token request and the send request, against a mock HTTP server.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use mockito::{Matcher, Server};
use wxsub_core::proto::BaseUrl;
use wxsub_core::proto::codec::{QueryPair, Request};
use wxsub_core::transport::{HttpRequest, Transport};
use wxsub_reqwest::{ReqwestTransport, Roots};

fn transport() -> ReqwestTransport {
    ReqwestTransport::builder().roots(Roots::Bundled).build().unwrap()
}

#[tokio::test]
async fn token_request_returns_response() {
    let mut server = Server::new_async().await;
    let body = r#"{"access_token":"TOKEN","expires_in":7200}"#;
    let mock = server
        .mock("GET", "/cgi-bin/token")
        .match_query(Matcher::AllOf(vec![
            Matcher::UrlEncoded("grant_type".to_owned(), "client_credential".to_owned()),
            Matcher::UrlEncoded("secret".to_owned(), "s3cr+t".to_owned()),
        ]))
        .with_body(body)
        .create_async()
        .await;
    let query =
        vec![QueryPair::public("grant_type", "client_credential"), QueryPair::secret("secret", "s3cr+t")];
    let request = Request::get("/cgi-bin/token", query);
    let base = BaseUrl::new(&server.url()).unwrap();
    let response = transport().execute(HttpRequest::new(&base, request).unwrap()).await.unwrap();
    assert_eq!((response.status, &response.body[..]), (200, body.as_bytes()));
    mock.assert_async().await;
}

#[tokio::test]
async fn send_request_returns_response() {
    let mut server = Server::new_async().await;
    let body = r#"{"touser":"OPENID","template_id":"ID","scene":"1000","title":"你好"}"#;
    let mock = server
        .mock("POST", "/cgi-bin/message/template/subscribe?access_token=TOKEN")
        .match_header("content-type", "application/json")
        .match_body(body)
        .with_body(r#"{"errcode":43101,"errmsg":"user refuse"}"#)
        .create_async()
        .await;
    let query = vec![QueryPair::secret("access_token", "TOKEN")];
    let request = Request::post("/cgi-bin/message/template/subscribe", query, body.as_bytes().to_vec());
    let base = BaseUrl::new(&server.url()).unwrap();
    let response = transport().execute(HttpRequest::new(&base, request).unwrap()).await.unwrap();
    assert_eq!(response.status, 200);
    assert!(response.body.starts_with(br#"{"errcode":43101"#));
    mock.assert_async().await;
}
