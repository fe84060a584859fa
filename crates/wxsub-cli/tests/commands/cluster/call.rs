//! One request on a new connection. The caller learns whether anything was sent.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Why there is no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// No connection. Nothing was sent.
    NotSent,
    /// The connection ended, or the caller gave up.
    MaybeSent,
}

/// How often the caller checks whether to give up.
const LOOK: Duration = Duration::from_millis(200);

/// The number of checks before the caller gives up: two minutes.
const LOOKS: usize = 600;

pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) key: &'a str,
    pub(super) body: &'a str,
}

impl Call<'_> {
    /// Sends a request to this address. Returns status and body.
    pub(super) fn at(&self, address: &str, given_up: impl Fn() -> bool) -> Result<(u16, String), NoAnswer> {
        let Self { method, path, key, body } = self;
        let mut stream = TcpStream::connect(address).map_err(|_| NoAnswer::NotSent)?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).map_err(|_| NoAnswer::MaybeSent)?;
        stream.set_read_timeout(Some(LOOK)).unwrap();
        let (mut answer, mut piece, mut looks) = (Vec::new(), [0; 16_384], 0);
        loop {
            match stream.read(&mut piece) {
                Ok(0) => return whole(&answer).ok_or(NoAnswer::MaybeSent),
                Ok(read) => answer.extend_from_slice(&piece[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    looks += 1;
                    if looks == LOOKS || given_up() {
                        return Err(NoAnswer::MaybeSent);
                    }
                }
                Err(_) => return Err(NoAnswer::MaybeSent),
            }
        }
    }
}

/// Status and body, if the response is complete.
fn whole(answer: &[u8]) -> Option<(u16, String)> {
    let (head, body) = std::str::from_utf8(answer).ok()?.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
    });
    (length == Some(body.len())).then_some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
