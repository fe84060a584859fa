//! A minimal HTTP/1.1 client for loopback ports, one connection per request.

use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The longest wait for a response. The driver gives up earlier.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Sends a request and returns the body of the response. The driver keeps connections open, so the length decides.
pub(super) fn exchange(port: u16, method: &str, path: &str, body: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut response = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        response.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap();
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    response.read_exact(&mut body)?;
    Ok(String::from_utf8(body).unwrap())
}
