//! One request on a new connection.

use std::io::{Read, Write};
use std::net::TcpStream;

/// Status, head and body of a response.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// A member of its JSON body.
    pub(crate) fn member(&self, name: &str) -> serde_json::Value {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        body[name].clone()
    }
}

pub(crate) fn get(base: &str, path: &str, key: &str) -> Answer {
    heard(send(base, "GET", path, key, ""))
}

/// Sends a request and waits for the response.
pub(crate) fn heard(mut stream: TcpStream) -> Answer {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Sends a request. The caller reads the response.
pub(crate) fn send(base: &str, method: &str, path: &str, key: &str, body: &str) -> TcpStream {
    let address = base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}
