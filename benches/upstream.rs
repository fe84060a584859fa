//! The server that all contenders call. It gives the same response to every message at minimal cost.

use std::io::Read;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

use crate::subject::TOKEN;

const SENT: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n\
    Connection: keep-alive\r\nContent-Length: 27\r\n\r\n{\"errcode\":0,\"errmsg\":\"ok\"}";

/// Serves until the parent process ends.
pub fn run() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(serve(stream));
        }
    });
}

async fn serve(mut stream: TcpStream) -> Option<()> {
    let token = token();
    let mut buffer = vec![0; 64 * 1024];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await.ok().filter(|read| *read > 0)?;
        filled += read;
        if let Some(length) = whole_request(&buffer[..filled]) {
            // No contender sends a second request before the response to the first.
            assert_eq!(length, filled, "requests are pipelined");
            let response = if buffer.starts_with(b"POST /cgi-bin/message/") { SENT } else { &token };
            stream.write_all(response.as_bytes()).await.ok()?;
            filled = 0;
        }
    }
}

/// The length of the request, once it is complete.
fn whole_request(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).unwrap();
    let field =
        text.lines().find(|line| line.len() > 15 && line[..15].eq_ignore_ascii_case("content-length:"));
    let body: usize = field.map_or(0, |field| field[15..].trim().parse().unwrap());
    (bytes.len() >= head + body).then_some(head + body)
}

fn token() -> String {
    let body = format!(r#"{{"access_token":"{}","expires_in":7200}}"#, TOKEN);
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
