//! HTTP/1.1 to a port of this machine, one connection a request: as much as the driver and the sandbox need.

use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Beyond this a reply is lost. The driver itself gives up long before.
const LONGEST: Duration = Duration::from_secs(60);

/// Sends one request and gives the body of its reply. The driver leaves its connections open, so the length counts.
pub(super) fn exchange(port: u16, method: &str, path: &str, body: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(LONGEST))?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut reply = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reply.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap();
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reply.read_exact(&mut body)?;
    Ok(String::from_utf8(body).unwrap())
}
