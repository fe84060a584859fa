use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{AGENT, written};
use crate::contender::sending::{Sender, check};

/// Prepared bytes on a socket: the lower bound.
pub(crate) struct Socket {
    stream: TcpStream,
    request: Vec<u8>,
}

impl Socket {
    pub(crate) async fn open(server: &str) -> Self {
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
