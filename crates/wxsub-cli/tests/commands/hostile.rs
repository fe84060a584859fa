//! Wrong and hostile input over sockets: it is cut off, and disturbs nobody.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::interrupt::signal;
use super::served::{ALL, Served, client, config};
use super::weixin::{APPID, CLASSIC_TOKEN, STABLE_TOKEN, Weixin};

/// Nothing here takes longer; but a test that waits for ever tells nobody why.
const LONG: Duration = Duration::from_secs(60);

fn route(what: &str) -> String {
    format!("/v1/apps/{APPID}/{what}")
}

fn connect(server: &Served, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

/// What comes until the server closes the connection.
fn until_closed(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => text.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("it was not closed: {error}"),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn who_sends_no_request_is_cut_off() {
    let weixin = Weixin::start();
    let (key, lines) = client("orders", ALL);
    let limits = "[limits]\nheader_s = 1\nrequest_s = 2\n";
    let server = Served::start(&config("slow.toml", &weixin.base, &(lines + limits)));
    let half_open: Vec<_> = (0..500).map(|_| connect(&server, b"GET / HTTP/1.1\r\nX: ")).collect();
    server.token(&key);
    for stream in half_open {
        assert_eq!(until_closed(stream), "");
    }
    // A body that does not come is waited for as long as a request may take.
    for (path, answer) in [
        (route("messages"), "\"kind\":\"incomplete\""),
        (route("access_token/report"), "\"kind\":\"incomplete\""),
        (STABLE_TOKEN.to_owned(), "\"errcode\":47001"),
    ] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\nContent-Length: 100\r\n\r\n{{"
        );
        let answered = until_closed(connect(&server, head.as_bytes()));
        assert!(answered.contains(answer), "{path}: {answered}");
    }
    assert_eq!(weixin.seen_any(), 1);
}

/// Requests without end, and not one answer read: there is room for one connection, and it is taken back.
#[test]
fn who_reads_no_answer_is_cut_off() {
    let weixin = Weixin::start();
    let (key, lines) = client("orders", ALL);
    let limits = "[limits]\nconnections = 1\nrequest_s = 1\n";
    let server = Served::start(&config("unread.toml", &weixin.base, &(lines + limits)));
    let mut greedy = connect(&server, b"");
    let requests = "GET /openapi.json HTTP/1.1\r\nHost: h\r\n\r\n".repeat(100);
    // Until it is cut off; a server that goes on reading without being read would be fed for ever.
    let fed = (0..10_000).take_while(|_| greedy.write_all(requests.as_bytes()).is_ok()).count();
    assert!(fed < 10_000);
    let waiting = format!(
        "GET {} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n",
        route("access_token")
    );
    let answered = until_closed(connect(&server, waiting.as_bytes()));
    assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
}

/// A crowd at the door does not hide the metrics that show it.
#[test]
fn a_crowd_does_not_hide_the_metrics() {
    let weixin = Weixin::start();
    let (_, lines) = client("orders", ALL);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let more = format!("metrics_listen = \"{free}\"\n{lines}[limits]\nconnections = 2\nheader_s = 600\n");
    let server = Served::start(&config("crowd.toml", &weixin.base, &more));
    let crowd: Vec<_> = (0..4).map(|_| connect(&server, b"GET / HTTP/1.1\r\nX: ")).collect();
    let asked = format!("GET /metrics HTTP/1.1\r\nHost: {free}\r\nConnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(free).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(asked.as_bytes()).unwrap();
    assert!(until_closed(stream).starts_with("HTTP/1.1 200"));
    assert_eq!(crowd.len(), 4);
}

/// Whoever should read standard error does not: the audit fills its queue, and nobody waits for it.
#[test]
fn a_reader_that_has_fallen_asleep_delays_nobody() {
    let weixin = Weixin::start();
    let (key, lines) = client("orders", ALL);
    let path = config("asleep.toml", &weixin.base, &lines);
    std::fs::write(&path, std::fs::read_to_string(&path).unwrap().replace("\"off\"", "\"stderr\"")).unwrap();
    let mut server = Served::start(&path);
    let quick = |method: &str, path: &str, body: &str| {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answered = until_closed(connect(&server, head.as_bytes()));
        let (head, body) = answered.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{answered}");
        serde_json::from_str::<Value>(body).unwrap_or_default()
    };
    // More than a pipe holds.
    for _ in 0..1000 {
        quick("GET", &route("access_token"), "");
    }
    // Now everything that is logged, and everything that is said.
    let mut token = quick("GET", &route("access_token"), "")["access_token"].clone();
    for _ in 0..3 {
        let body = json!({ "access_token": token }).to_string();
        let other = quick("POST", &route("access_token/report"), &body)["access_token"].clone();
        assert_ne!(token, other);
        token = other;
    }
    std::fs::write(&path, "listen = 1").unwrap();
    signal(&server.child, "HUP");
    for _ in 0..20 {
        quick("GET", &route("access_token"), "");
    }
    assert_eq!(weixin.seen(CLASSIC_TOKEN), 4);
    signal(&server.child, "TERM");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}
