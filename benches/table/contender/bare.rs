//! The libraries alone. They write the same bytes and read the whole response. Prepared contenders only copy the request.
//! Contenders "by hand" do what an application without wxsub has to do for every message.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::client::legacy::Client as PooledClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest::{Body, IntoUrl, Url};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wxsub_benches::subject;
use wxsub_core::proto::endpoint::subscribe;
use wxsub_core::proto::{BaseUrl, Message};
use wxsub_tls::{Roots, client_config};

const AGENT: &str = "wxsub/0.1.0";

/// The same limits as ours.
const LIMIT: Duration = Duration::from_secs(15);

/// URL and body of the message.
fn written(server: &str) -> (String, Vec<u8>) {
    subject::written(&base(server))
}

fn base(server: &str) -> BaseUrl {
    BaseUrl::new(&format!("http://{server}")).unwrap()
}

/// The check that every bare client makes.
fn check(status: u16, body: &Bytes) {
    assert!(status == 200 && body.starts_with(b"{\"errcode\":0"), "{status}");
}

/// Prepared bytes on a socket: the lower bound.
pub(super) async fn socket(server: &str) -> impl AsyncFnMut() + 'static {
    let (url, body) = written(server);
    let path = url.strip_prefix(&format!("http://{server}")).unwrap();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\ncontent-type: application/json\r\nuser-agent: {AGENT}\r\nhost: {server}\r\n\
         content-length: {length}\r\n\r\n"
    );
    let request = [head.into_bytes(), body].concat();
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.set_nodelay(true).unwrap();
    async move || {
        stream.write_all(&request).await.unwrap();
        let mut reply = [0; 4096];
        // The server writes its response in one piece.
        let read = stream.read(&mut reply).await.unwrap();
        let body = reply[..read].windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        check(200, &Bytes::copy_from_slice(&reply[body..read]));
    }
}

/// The request without the host.
fn request(uri: Uri, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
    request
}

async fn check_response(response: Response<Incoming>) {
    let status = response.status().as_u16();
    check(status, &response.into_body().collect().await.unwrap().to_bytes());
}

/// One hyper connection, without a pool.
pub(super) async fn connection(server: &str) -> impl AsyncFnMut() + 'static {
    let (url, body) = written(server);
    let path: Uri = url.strip_prefix(&format!("http://{server}")).unwrap().parse().unwrap();
    let (body, host) = (Bytes::from(body), HeaderValue::from_str(server).unwrap());
    let stream = TcpStream::connect(server).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    async move || {
        let mut request = request(path.clone(), body.clone());
        request.headers_mut().insert(HOST, host.clone());
        sender.ready().await.unwrap();
        check_response(sender.send_request(request).await.unwrap()).await;
    }
}

fn pooled() -> PooledClient<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    PooledClient::builder(TokioExecutor::new()).build(connector)
}

/// The pooled client of hyper-util with default settings.
pub(super) fn pool(server: &str) -> impl AsyncFnMut() + Clone + 'static {
    let (url, body) = written(server);
    let (client, url, body): (_, Uri, _) = (pooled(), url.parse().unwrap(), Bytes::from(body));
    async move || check_response(client.request(request(url.clone(), body.clone())).await.unwrap()).await
}

/// The same, but it builds each request from the message, has a timeout, and parses the response.
pub(super) fn pool_by_hand(server: &str) -> impl AsyncFnMut() + Clone + 'static {
    let (client, by_hand) = (pooled(), ByHand::to(&base(server)));
    async move || {
        let request = request(by_hand.url().try_into().unwrap(), by_hand.body().into());
        let exchange = async {
            let response = client.request(request).await.unwrap();
            assert_eq!(response.status().as_u16(), 200);
            response.into_body().collect().await.unwrap().to_bytes()
        };
        ByHand::read(&timeout(LIMIT, exchange).await.unwrap());
    }
}

fn reqwest_builder() -> reqwest::ClientBuilder {
    let tls = client_config(&Roots::Bundled).unwrap();
    reqwest::Client::builder().http1_only().no_proxy().tls_backend_preconfigured(tls)
}

async fn post(client: &reqwest::Client, url: impl IntoUrl, body: impl Into<Body>) -> reqwest::Response {
    let request = client.post(url).header(CONTENT_TYPE, "application/json").header(USER_AGENT, AGENT);
    request.body(body).send().await.unwrap()
}

/// reqwest with default settings and our trust roots.
pub(super) fn reqwest(server: &str) -> impl AsyncFnMut() + Clone + 'static {
    let (url, body) = written(server);
    let client = reqwest_builder().build().unwrap();
    let (url, body): (Url, _) = (url.parse().unwrap(), Bytes::from(body));
    async move || {
        let response = post(&client, url.clone(), body.clone()).await;
        let status = response.status().as_u16();
        check(status, &response.bytes().await.unwrap());
    }
}

/// The same, but it builds each request from the message, has a timeout, and parses the response.
pub(super) fn reqwest_by_hand(server: &str) -> impl AsyncFnMut() + Clone + 'static {
    let client = reqwest_builder().timeout(LIMIT).build().unwrap();
    let by_hand = ByHand::to(&base(server));
    async move || {
        let response = post(&client, by_hand.url(), by_hand.body()).await;
        assert_eq!(response.status().as_u16(), 200);
        ByHand::read(&response.bytes().await.unwrap());
    }
}

/// The same message with serde_json and format!, as an application would write it without wxsub: no checks, no token cache, no
/// retry rules.
#[derive(Serialize)]
struct MessageBody<'a> {
    touser: &'a str,
    template_id: &'a str,
    scene: &'a str,
    title: &'a str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    content: Content<'a>,
}

#[derive(Serialize)]
struct Content<'a> {
    value: &'a str,
}

#[derive(Deserialize)]
struct SendResponse {
    errcode: i64,
    errmsg: String,
}

/// The message, built anew every time.
#[derive(Clone)]
pub(super) struct ByHand {
    base: String,
    message: Message,
}

impl ByHand {
    pub(super) fn to(base: &BaseUrl) -> Self {
        Self { base: base.as_str().to_owned(), message: subject::message() }
    }

    pub(super) fn url(&self) -> String {
        format!("{}{}?access_token={}", self.base, subscribe::PATH, subject::TOKEN)
    }

    pub(super) fn body(&self) -> Vec<u8> {
        let grant = self.message.grant();
        let body = MessageBody {
            touser: grant.openid().as_str(),
            template_id: grant.template_id().as_str(),
            scene: &grant.scene().get().to_string(),
            title: self.message.title().as_str(),
            data: Data { content: Content { value: self.message.content().as_str() } },
        };
        serde_json::to_vec(&body).unwrap()
    }

    pub(super) fn read(response: &[u8]) {
        let response: SendResponse = serde_json::from_slice(response).unwrap();
        assert_eq!(response.errcode, 0, "{}", response.errmsg);
    }
}
