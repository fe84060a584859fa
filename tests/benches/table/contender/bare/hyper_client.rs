use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{AGENT, LIMIT, base, written};
use crate::contender::by_hand::ByHand;
use crate::contender::sending::{Sender, check};

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
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    prepared: Prepared,
    host: HeaderValue,
}

impl Connection {
    pub(crate) async fn open(server: &str) -> Self {
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
pub(crate) struct Pool {
    client: Client<HttpConnector, Full<Bytes>>,
    prepared: Prepared,
}

impl Pool {
    pub(crate) fn new(server: &str) -> Self {
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

fn pooled() -> Client<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

/// The same, but it builds each request from the message, has a timeout, and parses the response.
#[derive(Clone)]
pub(crate) struct PoolByHand {
    client: Client<HttpConnector, Full<Bytes>>,
    by_hand: ByHand,
}

impl PoolByHand {
    pub(crate) fn new(server: &str) -> Self {
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
