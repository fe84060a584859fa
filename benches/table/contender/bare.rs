//! The libraries alone. They write the same bytes and read the whole response. Prepared contenders only copy the request.
//! Contenders "by hand" do what an application without wxsub has to do for every message.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::client::legacy::Client as PooledClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wxsub_benches::subject;
use wxsub_core::proto::endpoint::subscribe;
use wxsub_core::proto::{BaseUrl, Message};
use wxsub_tls::{Roots, client_config};

use super::sending::Sender;

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
pub(super) struct Socket {
    stream: TcpStream,
    request: Vec<u8>,
}

impl Socket {
    pub(super) async fn open(server: &str) -> Self {
        let (url, body) = written(server);
        let path = url.strip_prefix(&format!("http://{server}")).unwrap();
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\ncontent-type: application/json\r\nuser-agent: {AGENT}\r\nhost: {server}\r\n\
             content-length: {length}\r\n\r\n"
        );
        let stream = TcpStream::connect(server).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, request: [head.into_bytes(), body].concat() }
    }
}

impl Sender for Socket {
    async fn send(&mut self) {
        self.stream.write_all(&self.request).await.unwrap();
        let mut reply = [0; 4096];
        // The server writes its response in one piece.
        let read = self.stream.read(&mut reply).await.unwrap();
        let body = reply[..read].windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        check(200, &Bytes::copy_from_slice(&reply[body..read]));
    }
}

/// The request without the host.
#[derive(Clone)]
struct Prepared {
    uri: Uri,
    body: Bytes,
}

impl Prepared {
    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        request
    }
}

/// One hyper connection, without a pool.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    prepared: Prepared,
    host: HeaderValue,
}

impl Connection {
    pub(super) async fn open(server: &str) -> Self {
        let (url, body) = written(server);
        let path = url.strip_prefix(&format!("http://{server}")).unwrap();
        let stream = TcpStream::connect(server).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let prepared = Prepared { uri: path.parse().unwrap(), body: body.into() };
        Self { sender, prepared, host: HeaderValue::from_str(server).unwrap() }
    }
}

impl Sender for Connection {
    async fn send(&mut self) {
        let mut request = self.prepared.request();
        request.headers_mut().insert(HOST, self.host.clone());
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        check(status, &response.into_body().collect().await.unwrap().to_bytes());
    }
}

/// The pooled client of hyper-util with default settings.
#[derive(Clone)]
pub(super) struct Pool {
    client: PooledClient<HttpConnector, Full<Bytes>>,
    prepared: Prepared,
}

impl Pool {
    pub(super) fn new(server: &str) -> Self {
        let (url, body) = written(server);
        Self { client: pooled(), prepared: Prepared { uri: url.parse().unwrap(), body: body.into() } }
    }
}

impl Sender for Pool {
    async fn send(&mut self) {
        let response = self.client.request(self.prepared.request()).await.unwrap();
        let status = response.status().as_u16();
        check(status, &response.into_body().collect().await.unwrap().to_bytes());
    }
}

fn pooled() -> PooledClient<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    PooledClient::builder(TokioExecutor::new()).build(connector)
}

/// The same, but it builds each request from the message, has a timeout, and parses the response.
#[derive(Clone)]
pub(super) struct PoolByHand {
    client: PooledClient<HttpConnector, Full<Bytes>>,
    by_hand: ByHand,
}

impl PoolByHand {
    pub(super) fn new(server: &str) -> Self {
        Self { client: pooled(), by_hand: ByHand::to(&base(server)) }
    }
}

impl Sender for PoolByHand {
    async fn send(&mut self) {
        let prepared =
            Prepared { uri: self.by_hand.url().try_into().unwrap(), body: self.by_hand.body().into() };
        let exchange = async {
            let response = self.client.request(prepared.request()).await.unwrap();
            assert_eq!(response.status().as_u16(), 200);
            response.into_body().collect().await.unwrap().to_bytes()
        };
        ByHand::read(&timeout(LIMIT, exchange).await.unwrap());
    }
}

/// reqwest with default settings and our trust roots.
#[derive(Clone)]
pub(super) struct Reqwest {
    client: reqwest::Client,
    url: Url,
    body: Bytes,
}

impl Reqwest {
    pub(super) fn new(server: &str) -> Self {
        let (url, body) = written(server);
        Self { client: reqwest_builder().build().unwrap(), url: url.parse().unwrap(), body: body.into() }
    }
}

impl Sender for Reqwest {
    async fn send(&mut self) {
        let request = self.client.post(self.url.clone());
        let request = request.header(CONTENT_TYPE, "application/json").header(USER_AGENT, AGENT);
        let response = request.body(self.body.clone()).send().await.unwrap();
        let status = response.status().as_u16();
        check(status, &response.bytes().await.unwrap());
    }
}

fn reqwest_builder() -> reqwest::ClientBuilder {
    let tls = client_config(&Roots::Bundled).unwrap();
    reqwest::Client::builder().http1_only().no_proxy().tls_backend_preconfigured(tls)
}

/// The same, but it builds each request from the message, has a timeout, and parses the response.
#[derive(Clone)]
pub(super) struct ReqwestByHand {
    client: reqwest::Client,
    by_hand: ByHand,
}

impl ReqwestByHand {
    pub(super) fn new(server: &str) -> Self {
        let client = reqwest_builder().timeout(LIMIT).build().unwrap();
        Self { client, by_hand: ByHand::to(&base(server)) }
    }
}

impl Sender for ReqwestByHand {
    async fn send(&mut self) {
        let request = self.client.post(self.by_hand.url());
        let request = request.header(CONTENT_TYPE, "application/json").header(USER_AGENT, AGENT);
        let response = request.body(self.by_hand.body()).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        ByHand::read(&response.bytes().await.unwrap());
    }
}

/// The same message with serde_json and format!, as an application would write it without wxsub: no checks, no token cache, no
/// retry rules.
#[derive(Serialize)]
struct Body<'a> {
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
        let body = Body {
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
