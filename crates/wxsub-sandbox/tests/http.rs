//! The sandbox over HTTP/1.1, tested with raw TCP.

#![cfg(test)]

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wxsub_proto::{AppId, AppSecret};
use wxsub_sandbox::{Fault, Sandbox, http};

const TOKEN: &str = "/cgi-bin/token";
const FETCH: &str = "/cgi-bin/token?grant_type=client_credential&appid=wx1&secret=test-secret";

/// A sandbox on its own port.
struct Server {
    sandbox: Sandbox,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

fn appid() -> AppId {
    "wx1".parse().unwrap()
}

impl Server {
    async fn start() -> Self {
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

    async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), host: "localhost" }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

/// A raw HTTP client.
struct Client {
    stream: TcpStream,
    host: &'static str,
}

/// One response: the head as text, and the part of the body that arrived.
struct Response {
    head: String,
    body: String,
    /// The announced length of the body, when the head is whole.
    announced: Option<usize>,
}

impl Client {
    async fn write(&mut self, method: &str, target: &str, body: &str) {
        let (host, length) = (self.host, body.len());
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n");
        self.stream.write_all((head + body).as_bytes()).await.unwrap();
    }

    async fn ask(&mut self, method: &str, target: &str, body: &str) -> Response {
        self.write(method, target, body).await;
        self.read().await.unwrap()
    }

    /// Reads one response, or the part that arrives. Fails if the connection is reset.
    async fn read(&mut self) -> io::Result<Response> {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let response = Response::of(&bytes);
            if response.announced.is_some_and(|announced| response.body.len() >= announced) {
                return Ok(response);
            }
            match self.stream.read(&mut buffer).await? {
                0 => return Ok(response),
                read => bytes.extend_from_slice(&buffer[..read]),
            }
        }
    }
}

impl Response {
    /// The part of a response in these bytes.
    fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
        let head = head.to_lowercase();
        let announced =
            head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        Self { body: body.to_owned(), announced, head }
    }
}

#[tokio::test]
async fn full_flow_works_over_one_connection() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let consent =
        r#"{"appid":"wx1","openid":"oUser","template_id":"T","scene":"7","reserved":"p","action":"confirm"}"#;
    let response = client.ask("POST", "/_sandbox/consents", consent).await;
    assert!(response.head.starts_with("http/1.1 200"));
    assert!(response.head.contains("content-type: application/json"));
    let token = client.ask("GET", FETCH, "").await;
    assert!(token.head.contains("application/json; encoding=utf-8"));
    let token: serde_json::Value = serde_json::from_str(&token.body).unwrap();
    let target = format!(
        "/cgi-bin/message/template/subscribe?access_token={}",
        token["access_token"].as_str().unwrap()
    );
    let message = r#"{"touser":"oUser","template_id":"T","scene":"7","title":"t","data":{"content":{"value":"汉\n字"}}}"#;
    let sent = client.ask("POST", &target, message).await;
    assert_eq!(sent.body, r#"{"errcode":0,"errmsg":"ok"}"#);
    let mailbox = client.ask("GET", "/_sandbox/mailbox?openid=oUser", "").await;
    assert!(mailbox.body.starts_with('[') && mailbox.body.contains(r"汉\n字"), "{}", mailbox.body);
    server.stop().await;
}

#[tokio::test]
async fn date_header_follows_sandbox_clock() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let mut date = async || {
        let head = client.ask("GET", "/_sandbox/events", "").await.head;
        let dates: Vec<_> = head.lines().filter_map(|line| line.strip_prefix("date: ")).map(parsed).collect();
        assert_eq!(dates.len(), 1, "{head}");
        dates[0]
    };
    let before = date().await;
    server.sandbox.advance(Duration::from_secs(86_400 * 365));
    let ahead = date().await.duration_since(before).unwrap().as_secs();
    assert!((86_400 * 365..86_400 * 366).contains(&ahead), "{ahead}");
    for _ in 0..2 {
        server.sandbox.advance(Duration::MAX);
        assert_eq!(date().await, parsed("Fri, 31 Dec 9999 23:59:59 GMT"));
    }
    server.stop().await;
}

/// Parses a date in lower case. The client converts heads to lower case.
fn parsed(date: &str) -> SystemTime {
    let words = date.split(' ').map(|word| match word {
        "gmt" => "GMT".to_owned(),
        word => word.chars().take(1).map(|c| c.to_ascii_uppercase()).chain(word.chars().skip(1)).collect(),
    });
    httpdate::parse_http_date(&words.collect::<Vec<_>>().join(" ")).unwrap()
}

#[tokio::test]
async fn consent_page_and_redirect_work_over_http() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let target = "/mp/subscribemsg?action=get_confirm&appid=wx1&scene=7&template_id=T&redirect_url=https%3A%2F%2Fa.example%2F%E8%B7%AF";
    let page = client.ask("GET", target, "").await;
    assert!(page.head.contains("content-type: text/html; charset=utf-8") && page.body.contains("<form"));
    let redirect = client.ask("POST", target, "action=cancel").await;
    assert!(redirect.head.starts_with("http/1.1 302"));
    let location = "location: https://a.example/%e8%b7%af?template_id=t&action=cancel&scene=7";
    assert!(redirect.head.contains(location), "{}", redirect.head);
    server.stop().await;
}

#[tokio::test]
async fn allow_list_sees_client_address() {
    let server = Server::start().await;
    let mut settings = server.sandbox.settings(&appid()).unwrap();
    settings.allowed_ips = Some(vec![IpAddr::V4(Ipv4Addr::new(1, 2, 3, 4))]);
    server.sandbox.configure(&appid(), settings).unwrap();
    let response = server.connect().await.ask("GET", FETCH, "").await;
    assert!(response.body.contains("invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist rid: "));
    server.stop().await;
}

#[tokio::test]
async fn too_long_body_gets_response_and_keeps_connection() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let long = "x".repeat(3_000_000);
    let response = client.ask("POST", "/_sandbox/apps", &long).await;
    assert!(response.head.starts_with("http/1.1 413") && response.body.starts_with(r#"{"error":"#));
    let response = client.ask("POST", "/cgi-bin/stable_token", &"x".repeat(65_537)).await;
    assert!(response.head.starts_with("http/1.1 200") && response.body.contains("47001"));
    server.stop().await;
}

#[tokio::test]
async fn incomplete_request_does_not_delay_shutdown() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let head =
        b"POST /_sandbox/apps HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    client.stream.write_all(head).await.unwrap();
    client.stream.readable().await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn unknown_host_is_rejected() {
    let server = Server::start().await;
    server.sandbox.allow_host("Sandbox.example").unwrap();
    let mut client = server.connect().await;
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:8459", 200),
        ("app.localhost:8459", 200),
        ("127.0.0.1:8459", 200),
        ("[::1]:8459", 200),
        ("192.0.2.1", 200),
        ("sandbox.example:8459", 200),
        ("evil.example", 403),
        ("localhost.evil.example:8459", 403),
        ("127.0.0.1.evil.example", 403),
        ("www.sandbox.example", 403),
        ("user@localhost", 403),
        ("", 403),
    ] {
        client.host = host;
        for (method, target) in [("GET", "/"), ("POST", "/_sandbox/tokens/invalidate"), ("GET", FETCH)] {
            let response = client.ask(method, target, r#"{"appid":"wx1"}"#).await;
            assert!(
                response.head.starts_with(&format!("http/1.1 {status}")),
                "{host} {target}: {}",
                response.head
            );
            assert_eq!(response.body.contains("--allow-host"), status == 403, "{host} {target}");
        }
    }
    assert_eq!(issued(&server), 7);
    server.stop().await;
}

/// A client that sends one byte every 10 s gets no more than a minute.
#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "tokio's clock is paused here and jumps")]
async fn slow_head_or_body_closes_the_connection() {
    let server = Server::start().await;
    let head = "POST /_sandbox/apps HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n";
    for begin in [head.to_owned(), format!("{head}\r\n")] {
        let mut client = server.connect().await;
        client.stream.write_all(begin.as_bytes()).await.unwrap();
        let is_open = async |client: &mut Client| {
            let read = tokio::time::timeout(Duration::from_secs(10), client.stream.read(&mut [0])).await;
            read.is_err() && client.stream.write_all(b"x").await.is_ok()
        };
        let mut seconds = 0;
        while is_open(&mut client).await {
            seconds += 10;
            assert!(seconds < 60, "still open after {begin:?} and {seconds} bytes");
        }
    }
    server.stop().await;
}

/// The number of tokens issued so far.
fn issued(server: &Server) -> usize {
    let events = server.sandbox.event_log().events;
    events.iter().filter(|event| event.token.is_some()).count()
}

#[tokio::test]
async fn reset_faults_reset_the_tcp_connection() {
    let server = Server::start().await;
    for (fault, applied) in [(Fault::ResetBeforeApply, 0), (Fault::ResetAfterApply, 1)] {
        server.sandbox.add_fault(TOKEN, 1, fault);
        let mut client = server.connect().await;
        // The connection has already carried a request.
        client.ask("GET", "/_sandbox/events", "").await;
        client.write("GET", FETCH, "").await;
        let error = client.read().await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(issued(&server), applied);
    }
    let response = server.connect().await.ask("GET", FETCH, "").await;
    assert_eq!(Some(response.body.len()), response.announced);
    server.stop().await;
}

#[tokio::test]
async fn truncated_response_announces_full_length() {
    let server = Server::start().await;
    server.sandbox.add_fault(TOKEN, 1, Fault::Truncate);
    let response = server.connect().await.ask("GET", FETCH, "").await;
    assert!(response.head.starts_with("http/1.1 200"));
    assert_eq!(response.body.len(), response.announced.unwrap() / 2);
    assert!(response.body.starts_with(r#"{"access_token":""#));
    assert_eq!(issued(&server), 1);
    server.stop().await;
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "tokio's clock is paused here and jumps")]
async fn delay_fault_delays_the_response() {
    let server = Server::start().await;
    server.sandbox.add_fault(TOKEN, 1, Fault::Delay(Duration::from_secs(3600)));
    let (before, mut client) = (tokio::time::Instant::now(), server.connect().await);
    client.write("GET", FETCH, "").await;
    while server.sandbox.event_log().request_count(TOKEN) == 0 {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    let response = client.read().await.unwrap();
    assert!(response.body.contains("access_token"));
    assert!(before.elapsed() >= Duration::from_secs(3600));
    server.stop().await;
}

#[tokio::test]
async fn hanging_request_ends_with_client_or_sandbox() {
    let server = Server::start().await;
    server.sandbox.add_fault(TOKEN, 2, Fault::Hang);
    let mut gone = server.connect().await;
    gone.write("GET", FETCH, "").await;
    let mut waiting = server.connect().await;
    waiting.write("GET", FETCH, "").await;
    while server.sandbox.event_log().request_count(TOKEN) < 2 {
        tokio::task::yield_now().await;
    }
    drop(gone);
    let mut nothing = [0];
    assert_eq!(waiting.stream.try_read(&mut nothing).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(issued(&server), 0);
    server.stop().await;
    assert!(waiting.read().await.is_err());
}
