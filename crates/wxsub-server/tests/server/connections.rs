//! Connections of the listener: what the server accepts on them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::testing::ManualClock;
use wxsub_sandbox::{Fault, Sandbox};
use wxsub_sandbox_transport::SandboxTransport;
use wxsub_server::{Config, Server};

use super::setup::{
    ALL, SECRET, SEND, STABLE, TOKEN, call, client, config, key, message, stable_body, until,
};

/// A server, and a listener for it.
async fn start(
    config: Config,
    clock: Arc<dyn Clock>,
    sandbox: &Sandbox,
) -> (Server, TcpListener, SocketAddr) {
    let transport = Arc::new(SandboxTransport::new(sandbox));
    let server = Server::builder(config).clock(clock).transport(transport).build().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (server, listener, address)
}

/// A server on loopback, and the sandbox that it calls.
struct Served {
    address: SocketAddr,
    sandbox: Sandbox,
}

impl Served {
    /// Starts it, with the clients `a` and `b`.
    async fn start(limits: &str) -> Self {
        Self::start_with_clock(limits, Arc::new(SystemClock::new())).await
    }

    async fn start_with_clock(limits: &str, clock: Arc<dyn Clock>) -> Self {
        let clients = [client('a', "\"wx1\"", ALL), client('b', "\"wx1\"", ALL)].concat();
        let config = config(&format!("{clients}[limits]\n{limits}"));
        let sandbox = Sandbox::new();
        for app in ["wx1", "wx2"] {
            sandbox.add_app(app.parse().unwrap(), SECRET.parse().unwrap(), ["T".parse().unwrap()]);
        }
        let (server, listener, address) = start(config, clock, &sandbox).await;
        tokio::spawn(async move { server.serve(listener, None, std::future::pending()).await });
        Self { address, sandbox }
    }

    /// A connection on which these bytes were sent.
    async fn connect(&self, bytes: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream
    }

    /// So many connections on which these bytes were sent.
    async fn connections(&self, count: usize, bytes: &str) -> Vec<TcpStream> {
        let mut streams = Vec::new();
        for _ in 0..count {
            streams.push(self.connect(bytes).await);
        }
        streams
    }

    /// The response to a request without a key, on a new connection from this address.
    async fn ask_from(&self, address: &str, path: &str) -> String {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        until_closed(stream).await
    }

    /// Status and body of the response to a request with this key, on a new connection.
    async fn ask(&self, method: &str, path: &str, letter: char, body: &str) -> (u16, String) {
        let text = until_closed(self.connect(&request(method, path, letter, body, body.len())).await).await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {path}: {text:?}"));
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn token(&self, letter: char) -> u16 {
        self.ask("GET", "/v1/apps/wx1/access_token", letter, "").await.0
    }

    /// The status and the kind of the problem of a message.
    async fn send(&self, letter: char) -> (u16, Value) {
        let (status, body) = self.ask("POST", MESSAGES, letter, &message("oUser", 1)).await;
        (status, serde_json::from_str::<Value>(&body).unwrap()["kind"].take())
    }

    /// A token from the Weixin-compatible API, or its errcode.
    async fn stable(&self, letter: char) -> Value {
        let (_, body) = self.ask("POST", STABLE, letter, &stable_body("wx1", &key(letter), false)).await;
        serde_json::from_str::<Value>(&body).unwrap()["errcode"].take()
    }

    /// The value of a metric.
    async fn metric(&self, name: &str) -> u64 {
        let (_, text) = self.ask("GET", "/metrics", 'a', "").await;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("{name}: {text}"))
    }
}

const MESSAGES: &str = "/v1/apps/wx1/messages";

/// A request with this key, whose body has a part of its length.
fn request(method: &str, path: &str, letter: char, body: &str, length: usize) -> String {
    let bearer = key(letter);
    format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {bearer}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

/// A message whose body is not complete.
fn half_sent() -> String {
    request("POST", MESSAGES, 'a', "{", 100)
}

/// All data until the server closes the connection.
async fn until_closed(mut stream: TcpStream) -> String {
    let mut data = Vec::new();
    // A reset closes it too.
    let _ = stream.read_to_end(&mut data).await;
    String::from_utf8(data).unwrap()
}

#[tokio::test]
async fn request_without_exactly_one_valid_host_is_rejected() {
    let server = Served::start("").await;
    for (head, status) in [
        ("GET /livez HTTP/1.1\r\nHost: wxsub.example\r\n", 200),
        ("GET /livez HTTP/1.1\r\nHost: [::1]:8460\r\n", 200),
        ("GET http://wxsub.example/livez HTTP/1.1\r\nHost: wxsub.example\r\n", 200),
        ("GET /livez HTTP/1.1\r\n", 400),
        ("GET /livez HTTP/1.1\r\nHost: a\r\nHost: a\r\n", 400),
        ("GET /livez HTTP/1.1\r\nHost: a\r\nhost: b\r\n", 400),
        ("GET /livez HTTP/1.1\r\nHost:\r\n", 400),
        ("GET /livez HTTP/1.1\r\nHost: a, b\r\n", 400),
        ("GET /livez HTTP/1.1\r\nHost: u@a\r\n", 400),
        ("GET /livez HTTP/1.1\r\nHost: a/b\r\n", 400),
        // HTTP/1.0 needs no host, as health checks of load balancers send it.
        ("GET /livez HTTP/1.0\r\n", 200),
        ("GET /livez HTTP/1.0\r\nHost: a\r\nHost: b\r\n", 400),
    ] {
        let text = until_closed(server.connect(&format!("{head}Connection: close\r\n\r\n")).await).await;
        let found: u16 = text.split(' ').nth(1).unwrap_or_else(|| panic!("{head}: {text}")).parse().unwrap();
        assert_eq!(found, status, "{head}: {text}");
        assert_eq!(text.contains("Host"), status == 400, "{text}");
    }
}

/// A connection that waits for its client makes room for a new one, as nginx reuses such connections.
#[tokio::test]
async fn idle_connections_make_room_for_new_ones() {
    let begun = ["", "GET / HTTP/1.1\r\nX: "];
    for (limit, begun) in ["connections_per_address", "connections"].into_iter().zip(begun) {
        let server = Served::start(&format!("{limit} = 4\nheader_timeout_s = 600\n")).await;
        let mut idle = server.connections(12, begun).await;
        assert_eq!(server.token('a').await, 200, "{limit}");
        for stream in idle.drain(..8) {
            assert_eq!(until_closed(stream).await, "");
        }
        assert!(server.metric(&format!("wxsub_limit_reached_total{{limit=\"{limit}\"}}")).await >= 8);
        assert_eq!(server.metric(&format!("wxsub_limit_max{{limit=\"{limit}\"}}")).await, 4);
        assert!((1..=4).contains(&server.metric(&format!("wxsub_limit_used{{limit=\"{limit}\"}}")).await));
    }
}

/// A client has to send the head of its request within `header_timeout_s`.
#[tokio::test]
async fn connection_without_a_whole_head_is_closed_in_time() {
    for begun in ["", "GET / HTTP/1.1\r\nX: "] {
        let clock = Arc::new(ManualClock::new());
        let server = Served::start_with_clock("header_timeout_s = 600\n", clock.clone()).await;
        let late = server.connect(begun).await;
        assert_eq!(server.token('a').await, 200);
        clock.advance(Duration::from_secs(600));
        assert_eq!(until_closed(late).await, "", "{begun}");
    }
}

#[tokio::test]
async fn head_is_answered_when_it_is_complete_and_at_once_if_it_is_wrong() {
    let server = Served::start("header_timeout_s = 600\n").await;
    let large = "x".repeat(33_000);
    for (parts, status) in [
        (&["GET /livez HT", "TP/1.1\r\nHost: h\r\n", "Connection: close\r\n\r", "\n"][..], "HTTP/1.1 200"),
        (&["GET /livez HTTP/1.1\nHost: h\nConnection: close\n", "\n"], "HTTP/1.1 200"),
        (&["GET /", &large], "HTTP/1.1 431"),
        (&["GET /livez HTTP/1.1\r\n", ": x"], "HTTP/1.1 400"),
        // The beginning of a TLS handshake.
        (&["\u{16}\u{3}\u{1}"], "HTTP/1.1 400"),
    ] {
        let mut stream = server.connect("").await;
        for part in parts {
            stream.write_all(part.as_bytes()).await.unwrap();
            // The server has looked at the part then.
            assert_eq!(server.token('a').await, 200);
        }
        let text = until_closed(stream).await;
        assert!(text.starts_with(status), "{parts:?}: {text}");
    }
    let mut ended = server.connect("GET /").await;
    ended.shutdown().await.unwrap();
    assert_eq!(until_closed(ended).await, "");
}

/// Requests under way are not interrupted. Only the address at its limit is refused.
#[tokio::test]
async fn address_at_its_limit_of_busy_connections_is_refused_alone() {
    let server = Served::start("connections_per_address = 2\n").await;
    server.sandbox.add_fault(TOKEN, 999, Fault::Hang);
    server.sandbox.add_fault(STABLE, 999, Fault::Hang);
    let waiting = request("GET", "/v1/apps/wx1/access_token", 'a', "", 0);
    let busy = server.connections(2, &waiting).await;
    // Until both wait for a token, a connection would make room for the next one.
    let both_wait = "wxsub_limit_used{limit=\"in_flight\"} 2\n";
    until(async || server.ask_from("127.0.0.2", "/metrics").await.contains(both_wait)).await;
    let refused = server.connect("GET /livez HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(until_closed(refused).await, "");
    assert!(server.ask_from("127.0.0.2", "/livez").await.starts_with("HTTP/1.1 200"));
    drop(busy);
}

/// Connections from this address, at most 128 in all, with these bytes on each. The kernel has all of them before the server, which
/// shares the thread of the test, accepts the first.
fn connect_at_once(to: SocketAddr, from: &'static str, count: usize, bytes: &str) -> Vec<TcpStream> {
    let bytes = bytes.to_owned();
    let connect = async move {
        let mut streams = Vec::new();
        for _ in 0..count {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
            let mut stream = socket.connect(to).await.unwrap();
            stream.write_all(bytes.as_bytes()).await.unwrap();
            streams.push(stream.into_std().unwrap());
        }
        streams
    };
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let streams = std::thread::spawn(move || runtime().block_on(connect)).join().unwrap();
    streams.into_iter().map(|stream| TcpStream::from_std(stream).unwrap()).collect()
}

/// The kernel hands out connections in the order in which they came.
#[tokio::test]
async fn connection_of_another_address_waits_for_no_flood() {
    let server = Served::start("").await;
    let request = "GET /livez HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let flood = connect_at_once(server.address, "127.0.0.2", 120, request);
    let other = connect_at_once(server.address, "127.0.0.1", 1, request).remove(0);
    assert!(until_closed(other).await.starts_with("HTTP/1.1 200"));
    let mut byte = [0];
    let served = flood.iter().filter(|stream| stream.try_read(&mut byte).is_ok()).count();
    assert!(served < 90, "{served}");
    for stream in flood {
        assert!(until_closed(stream).await.ends_with("ok\n"));
    }
}

/// Also one that makes room while its request is about to be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn flood_of_half_sent_bodies_stays_within_the_limit_of_its_address() {
    let server = Served::start("connections_per_address = 4\nrequest_timeout_s = 300\n").await;
    let slow = format!("POST {STABLE} HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{{");
    let flood = connect_at_once(server.address, "127.0.0.2", 120, &slow);
    // The other one is that of the question.
    until(async || server.metric("wxsub_limit_used{limit=\"connections\"}").await <= 5).await;
    drop(flood);
}

/// The console has few connections. Addresses that hold them all leave them to an operator.
#[tokio::test]
async fn half_sent_logins_leave_room_for_an_operator() {
    let (config, clock) = (config(&super::browser::console_config("")), Arc::new(ManualClock::new()));
    let (server, listener, address) = start(config, clock.clone(), &Sandbox::new()).await;
    let router = server.router();
    tokio::spawn(async move { server.serve_console(listener).await });
    let login =
        "POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\nExpect: 100-continue\r\n\r\n";
    let mut half_sent = Vec::new();
    for from in ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"] {
        for mut stream in connect_at_once(address, from, 20, login) {
            // The server asks for the form, or refuses the connection.
            if stream.read(&mut [0; 25]).await.is_ok_and(|length| length > 0) {
                half_sent.push(stream);
            }
        }
    }
    assert!(half_sent.len() >= 64, "{}", half_sent.len());
    let metrics = Request::get("/metrics").body(Body::empty()).unwrap();
    let metrics = call(router, metrics, [127, 0, 0, 1]).await.text;
    for line in [
        "wxsub_limit_max{limit=\"console_connections_per_address\"} 16",
        "wxsub_limit_reached_total{limit=\"connections_per_address\"} 0",
        "wxsub_limit_reached_total{limit=\"connections\"} 0",
    ] {
        assert!(metrics.contains(&format!("{line}\n")), "{line}: {metrics}");
    }
    assert!(
        !metrics.contains("wxsub_limit_reached_total{limit=\"console_connections_per_address\"} 0\n"),
        "{metrics}"
    );
    let page = "GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    let operator = connect_at_once(address, "127.0.0.1", 1, page).remove(0);
    assert!(until_closed(operator).await.starts_with("HTTP/1.1 200"));
    // The newest forms have their time.
    clock.advance_and_run(Duration::from_secs(10)).await;
    for stream in half_sent {
        let text = until_closed(stream).await;
        assert!(text.starts_with("HTTP/1.1 408") && text.contains("did not arrive completely"), "{text}");
    }
}

/// The requests of other connections come between two pieces.
#[tokio::test]
async fn large_response_is_written_in_pieces() {
    let server = Served::start("").await;
    let mut stream =
        server.connect("GET /openapi.json HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    let mut text = vec![0; 1 << 20];
    // The server and this test share a thread, so this is what it wrote at once.
    let first = stream.read(&mut text).await.unwrap();
    text.truncate(first);
    stream.read_to_end(&mut text).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("\r\ncontent-length: {}", body.len())), "{head}");
    assert!(body.len() > 2 * first && body.ends_with('}'), "{first} of {}", text.len());
}

/// A request takes its place in flight when its body is complete.
#[tokio::test]
async fn half_sent_bodies_take_no_place_in_flight() {
    let server = Served::start("in_flight = 4\n").await;
    let _half_sent = server.connections(8, &half_sent()).await;
    for letter in ['a', 'b'] {
        assert_eq!(server.token(letter).await, 200);
        // There is no consent.
        assert_eq!(server.send(letter).await, (422, "refused".into()));
    }
}

/// One client may have this many bodies on their way. Another one ends the oldest.
#[tokio::test]
async fn oldest_half_sent_body_of_a_client_ends_at_its_limit() {
    let server = Served::start("in_flight_per_key = 4\n").await;
    let mut half_sent = server.connections(8, &half_sent()).await;
    for stream in half_sent.drain(..4) {
        assert!(until_closed(stream).await.contains("\"kind\":\"incomplete\""));
    }
    assert_eq!(server.send('a').await, (422, "refused".into()));
    assert_eq!(server.metric("wxsub_limit_reached_total{limit=\"bodies_per_key\"}").await, 5);
}

#[tokio::test]
async fn requests_in_flight_of_one_key_leave_room_for_others() {
    let server = Served::start("in_flight_per_key = 2\n").await;
    assert_eq!((server.token('a').await, server.stable('b').await), (200, Value::Null));
    server.sandbox.add_fault(SEND, 2, Fault::Hang);
    let body = message("oUser", 1);
    let hung = request("POST", MESSAGES, 'a', &body, body.len());
    let busy = server.connections(2, &hung).await;
    until(async || server.metric("wxsub_limit_used{limit=\"in_flight_per_key\"}").await >= 2).await;
    assert_eq!(server.send('a').await, (429, "rate_limited".into()));
    assert_eq!(server.stable('a').await, 45011);
    // A token that is there needs no place.
    assert_eq!(server.token('a').await, 200);
    assert_eq!(server.send('b').await, (422, "refused".into()));
    drop(busy);
}

/// The key of `stable_token` is in the body, so bodies without a known key have a small budget of their own.
#[tokio::test]
async fn slow_keyless_bodies_do_not_delay_others() {
    let server = Served::start("").await;
    let slow = format!("POST {STABLE} HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{{");
    let mut half_sent = server.connections(300, &slow).await;
    for stream in half_sent.drain(..44) {
        assert!(until_closed(stream).await.contains("\"errcode\":47001"));
    }
    assert_eq!(server.stable('a').await, Value::Null);
    assert_eq!((server.token('a').await, server.send('b').await.0), (200, 422));
    assert_eq!(server.metric("wxsub_limit_reached_total{limit=\"keyless_bodies\"}").await, 45);
    let (_, large) = server.ask("POST", STABLE, 'a', &"x".repeat(4097)).await;
    assert!(large.contains("\"errcode\":45002"), "{large}");
}

/// The server does not wait for the body of a request that it refuses anyway.
#[tokio::test]
async fn client_at_its_limit_is_refused_before_its_body() {
    let server = Served::start("in_flight_per_key = 1\n").await;
    let (_, body) = server.ask("GET", "/v1/apps/wx1/access_token", 'a', "").await;
    let token = serde_json::from_str::<Value>(&body).unwrap()["access_token"].as_str().unwrap().to_owned();
    let compatible = format!("{SEND}?access_token={token}");
    server.sandbox.add_fault(SEND, 2, Fault::Hang);
    let body = message("oUser", 1);
    let mut busy = Vec::new();
    for path in [MESSAGES, &compatible] {
        busy.push(server.connect(&request("POST", path, 'a', &body, body.len())).await);
    }
    until(async || server.sandbox.event_log().request_count(SEND) >= 2).await;
    for (path, expected) in [
        (MESSAGES, "\"outcome\":\"not_sent\""),
        ("/v1/apps/wx1/access_token/report", "\"kind\":\"rate_limited\""),
        (compatible.as_str(), "\"errcode\":45011"),
    ] {
        let without_body = request("POST", path, 'a', "", 100);
        let text = until_closed(server.connect(&without_body).await).await;
        assert!(text.contains(expected), "{path}: {text}");
    }
    drop(busy);
}

/// A loop of requests without a pause costs one request a second on each connection.
#[tokio::test]
async fn caller_that_is_refused_often_gets_its_responses_late() {
    let clock = Arc::new(ManualClock::new());
    let server = Served::start_with_clock("connections_per_address = 2\n", clock.clone()).await;
    let denied = request("GET", "/v1/apps/wx1/access_token", 'z', "", 0).replace("Connection: close\r\n", "");
    let mut response = [0; 4096];
    let mut stream = server.connect("").await;
    for _ in 0..20 {
        stream.write_all(denied.as_bytes()).await.unwrap();
        assert!(stream.read(&mut response).await.unwrap() > 0);
    }
    stream.write_all(denied.as_bytes()).await.unwrap();
    for _ in 0..3 {
        // The server and this test share a thread, so it has handled the request before this one.
        assert_eq!(server.token('a').await, 200);
        assert!(stream.try_read(&mut response).is_err());
    }
    clock.advance_and_run(Duration::from_secs(1)).await;
    let length = stream.read(&mut response).await.unwrap();
    assert!(response[..length].starts_with(b"HTTP/1.1 401"));
    // One a second is prompt. The connection of a late response makes room for another one.
    stream.write_all(denied.as_bytes()).await.unwrap();
    assert!(stream.read(&mut response).await.unwrap() > 0);
    stream.write_all(denied.as_bytes()).await.unwrap();
    assert_eq!(server.token('a').await, 200);
    let _other = server.connect("").await;
    assert_eq!(server.token('a').await, 200);
    assert_eq!(until_closed(stream).await, "");
}

/// The responses that came without a wait, of this many equal requests on one connection.
async fn prompt_responses(server: &Served, request: &str, max: usize) -> usize {
    let request = request.replace("Connection: close\r\n", "");
    let (mut stream, mut response) = (server.connect("").await, [0; 4096]);
    for number in 0..max {
        stream.write_all(request.as_bytes()).await.unwrap();
        // The server and this test share a thread. The requests of `b` come after this one, so it was handled.
        for _ in 0..3 {
            assert_eq!(server.token('b').await, 200);
        }
        if stream.try_read(&mut response).is_err() {
            return number;
        }
    }
    max
}

/// A loop of reads writes an audit line for each.
#[tokio::test]
async fn request_beyond_the_rate_of_its_key_waits_for_its_turn() {
    let clock = Arc::new(ManualClock::new());
    let server = Served::start_with_clock("requests_per_key = 50\n", clock.clone()).await;
    clock.advance_and_run(Duration::from_secs(10)).await;
    let read = |letter| request("GET", "/v1/apps/wx1/access_token", letter, "", 0);
    // The first one is not of this second.
    for _ in 0..51 {
        assert_eq!(server.token('a').await, 200);
    }
    let waiting = server.connections(50, &read('a')).await;
    let refused = until_closed(server.connect(&read('a')).await).await;
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("retry-after: 1\r\n"), "{refused}");
    assert_eq!((server.stable('a').await, server.token('b').await), (Value::from(45011), 200));
    let mut response = [0; 4096];
    assert!(waiting.iter().all(|stream| stream.try_read(&mut response).is_err()));
    clock.advance_and_run(Duration::from_secs(1)).await;
    for stream in waiting {
        assert!(until_closed(stream).await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(server.metric("wxsub_limit_reached_total{limit=\"requests_per_key\"}").await, 52);
}

/// Requests that need no key, and those that name no route, have no caller to whom they count.
#[tokio::test]
async fn keyless_requests_of_one_address_beyond_its_rate_get_their_responses_late() {
    let clock = Arc::new(ManualClock::new());
    let server = Served::start_with_clock("", clock.clone()).await;
    clock.advance_and_run(Duration::from_secs(10)).await;
    for path in ["/livez", "/none", "/v1/none", "/cgi-bin/token"] {
        assert_eq!(prompt_responses(&server, &request("GET", path, 'z', "", 0), 300).await, 201, "{path}");
        clock.advance_and_run(Duration::from_secs(3)).await;
    }
}
