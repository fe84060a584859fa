//! A sandbox on its own port, and a raw HTTP client.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wxsub_proto::{AppId, AppSecret};
use wxsub_sandbox::{Sandbox, http};

pub(crate) const FETCH: &str = "/cgi-bin/token?grant_type=client_credential&appid=wx1&secret=test-secret";

pub(crate) struct Server {
    pub(crate) sandbox: Sandbox,
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

pub(crate) fn appid() -> AppId {
    "wx1".parse().unwrap()
}

impl Server {
    pub(crate) async fn start() -> Self {
        let sandbox = Sandbox::new();
        let secret = AppSecret::new("test-secret").unwrap();
        sandbox.add_app(appid(), secret, ["T".parse().unwrap()]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(http::serve(listener, sandbox.clone(), shutdown));
        Self { sandbox, address, stop, task }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

pub(crate) struct Client(pub(crate) TcpStream);

/// One response: the head as text, and the part of the body that arrived.
pub(crate) struct Response {
    pub(crate) head: String,
    pub(crate) body: String,
    /// The announced length of the body.
    pub(crate) announced: usize,
}

impl Client {
    pub(crate) async fn write(&mut self, method: &str, target: &str, body: &str) {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        self.0.write_all((head + body).as_bytes()).await.unwrap();
    }

    pub(crate) async fn ask(&mut self, method: &str, target: &str, body: &str) -> Response {
        self.write(method, target, body).await;
        self.read().await.unwrap()
    }

    /// Reads one response, or the part that arrives. Fails if the connection is reset.
    pub(crate) async fn read(&mut self) -> io::Result<Response> {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let head = head.to_lowercase();
                let length = head.split("content-length: ").nth(1).unwrap();
                let announced = length.lines().next().unwrap().parse().unwrap();
                if body.len() >= announced {
                    let (head, body) = (head.clone(), body.to_owned());
                    return Ok(Response { head, body, announced });
                }
            }
            let mut buffer = [0; 4096];
            let read = self.0.read(&mut buffer).await?;
            if read == 0 {
                return Ok(partial_response(&bytes));
            }
            bytes.extend_from_slice(&buffer[..read]);
        }
    }
}

fn partial_response(bytes: &[u8]) -> Response {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    let head = head.to_lowercase();
    let announced = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
    Response { body: body.to_owned(), announced: announced.unwrap_or_default(), head }
}
