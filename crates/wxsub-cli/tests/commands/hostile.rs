//! Invalid and hostile input over sockets is rejected, and does not affect other clients.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use wxsub_proto::ErrCode;
use wxsub_sandbox::Fault;
use wxsub_test_support::{free_port, wait_for};

use super::interrupt::signal;
use super::served::{KEY, Served, ask, config, first_line, head};
use super::weixin::{APPID, CLASSIC_TOKEN, SECRET, SEND, STABLE_TOKEN, Weixin, line};
use super::wxsub::{Wxsub, assert_has, folder, wxsub};

/// The timeout of these tests.
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

/// All data until the server closes the connection.
fn until_closed(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => text.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            // A signal of another test's process.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("it was not closed: {error}"),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn connection_without_request_is_closed() {
    let limits = "[limits]\nheader_timeout_s = 1\nrequest_timeout_s = 1\n";
    let (weixin, server, key) = Served::before_sandbox("slow", limits);
    wait_for("a token", || server.get(&route("access_token"), &key).0 == 200);
    let half_open: Vec<_> = (0..500).map(|_| connect(&server, b"GET / HTTP/1.1\r\nX: ")).collect();
    server.token(&key);
    for stream in half_open {
        assert_eq!(until_closed(stream), "");
    }
    // The server waits for a body as long as a request may take.
    for (path, expected) in [
        (route("messages"), "\"kind\":\"incomplete\""),
        (route("access_token/report"), "\"kind\":\"incomplete\""),
        (STABLE_TOKEN.to_owned(), "\"errcode\":47001"),
    ] {
        let incomplete = head("POST", &path, &key, 100) + "{";
        let response = until_closed(connect(&server, incomplete.as_bytes()));
        assert!(response.contains(expected), "{path}: {response}");
    }
    // A head of a megabyte is refused, or its connection closed.
    let mut long = TcpStream::connect(server.address()).unwrap();
    let _ = long.write_all(format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(1 << 20)).as_bytes());
    let response = until_closed(long);
    assert!(response.is_empty() || response.starts_with("HTTP/1.1 4"), "{response}");
    assert_eq!(weixin.seen_any(), 1);
}

/// Endless requests whose responses are not read. The only connection is closed and can be used again.
#[test]
fn client_that_reads_no_response_is_closed() {
    let limits = "[limits]\nconnections = 1\nrequest_timeout_s = 1\n";
    let (_weixin, server, key) = Served::before_sandbox("unread", limits);
    let mut greedy = connect(&server, b"");
    let requests = "GET /openapi.json HTTP/1.1\r\nHost: h\r\n\r\n".repeat(100);
    // Until the server closes the connection.
    let fed = (0..10_000).take_while(|_| greedy.write_all(requests.as_bytes()).is_ok()).count();
    assert!(fed < 10_000);
    server.token(&key);
}

/// Metrics have a port of their own. Connections at the limit of the main port do not block it.
#[test]
fn full_main_port_does_not_block_metrics() {
    let free = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let more = format!("metrics_listen = \"{free}\"\n[limits]\nconnections = 2\nheader_timeout_s = 600\n");
    let (_weixin, server, key) = Served::before_sandbox("crowd", &more);
    server.token(&key);
    assert!(!server.get("/metrics", "").1.contains("wxsub_token_reads_total"));
    let crowd: Vec<_> = (0..4).map(|_| connect(&server, b"GET / HTTP/1.1\r\nX: ")).collect();
    let (status, metrics) = ask(&free.to_string(), "GET", "/metrics", "", b"").unwrap();
    assert!(status == 200 && metrics.contains("wxsub_token_reads_total{api=\"v1\"} 1"), "{metrics}");
    assert_eq!(crowd.len(), 4);
}

/// Requests to a silent Weixin use up the open files. Refresh, state file, reload and metrics still work.
#[cfg(unix)]
#[test]
fn used_up_open_files_stop_only_new_connections() {
    let (state, free) = (folder(), SocketAddr::from(([127, 0, 0, 1], free_port())));
    let (folder, limits) = (state.path().display(), "[limits]\nrequest_timeout_s = 600\n");
    let more = format!("metrics_listen = \"{free}\"\nstate_dir = \"{folder}\"\n{limits}");
    let limited = |call: Wxsub| call.under_shell("ulimit -n 160 && exec \"$0\" \"$@\"");
    let (weixin, server, key) = Served::before_sandbox_by("files", &more, limited);
    let warning = server.wait_until_it_says("the limit of open files is 160");
    assert!(warning.contains("accepts only 40 connections"), "{warning}");
    let token = server.token(&key)["access_token"].as_str().unwrap().to_owned();
    let state_file = state.path().join(format!("{APPID}.json"));
    let before = std::fs::read(&state_file).unwrap();
    let metrics = || ask(&free.to_string(), "GET", "/metrics", "", b"").unwrap();
    let request = |method: &str, path: &str, body: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let report =
        request("POST", &route("access_token/report"), &json!({ "access_token": token }).to_string());
    let (begun, rest) = report.split_at(report.len() - 5);
    let mut reporting = connect(&server, begun.as_bytes());
    let has_metric = |line: &str| wait_for(line, || metrics().1.contains(line));
    has_metric("wxsub_limit_used{limit=\"bodies_per_key\"} 1");
    weixin.sandbox.add_fault(SEND, 999, Fault::Hang);
    let message = request("POST", &route("messages"), &line("oUser", 1, "Hi"));
    // Fewer than the backlog of the listener holds, so that none is tried again.
    let crowd: Vec<_> = (0..120).map(|_| connect(&server, message.as_bytes())).collect();
    has_metric("wxsub_limit_used{limit=\"in_flight\"} 39");
    reporting.write_all(rest.as_bytes()).unwrap();
    let mut piece = [0; 4096];
    let length = reporting.read(&mut piece).unwrap();
    let response = String::from_utf8_lossy(&piece[..length]).into_owned();
    assert!(response.starts_with("HTTP/1.1 200") && !response.contains(&token), "{response}");
    wait_for("another token", || std::fs::read(&state_file).unwrap() != before);
    server.reload();
    assert_eq!(metrics().0, 200);
    assert_eq!(crowd.len(), 120);
}

#[cfg(target_os = "linux")]
#[test]
fn soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let limited = |call: Wxsub| call.under_shell("ulimit -S -n 100 && exec \"$0\" \"$@\"");
    let (_weixin, server, key) = Served::before_sandbox_by("soft", "", limited);
    server.token(&key);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.child.id())).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let numbers: Vec<_> = line.split_whitespace().take(2).collect();
    assert!(numbers[0] == numbers[1] && numbers[0] != "100", "{line}");
}

#[test]
fn reached_limit_is_logged_with_its_caller() {
    let limits = "[limits]\nconnections_per_address = 1\nheader_timeout_s = 600\n";
    let (_weixin, server, _key) = Served::before_sandbox("reached", limits);
    let crowd: Vec<_> = (0..3).map(|_| connect(&server, b"")).collect();
    let said = server.wait_until_it_says("a limit was reached");
    assert_has(&said, &["limit=\"connections_per_address\"", "count=1", "caller=127.0.0.1"]);
    assert_eq!(crowd.len(), 3);
}

/// A reload raises the limit at once.
#[test]
fn reload_raises_the_connection_limit() {
    let weixin = Weixin::start();
    let limits =
        |connections: usize| format!("[limits]\nconnections = {connections}\nheader_timeout_s = 600\n");
    let server = Served::start(&config("room.toml", &weixin.base, &limits(1)));
    let crowd = connect(&server, b"GET / HTTP/1.1\r\nX: ");
    config("room.toml", &weixin.base, &limits(2));
    server.reload();
    server.token(KEY);
    drop(crowd);
}

/// If standard error is not read, the audit queue fills, and no request waits for it.
#[test]
fn blocked_stderr_delays_no_request() {
    let weixin = Weixin::start();
    let path = config("asleep.toml", &weixin.base, "audit = \"stderr\"\n");
    let mut server = wxsub(&["serve", "--config", &path]).env("APP_SECRET", SECRET).start();
    let base = first_line(&mut server);
    let quick = |method: &str, path: &str, body: &str| {
        let address = base.strip_prefix("http://").unwrap();
        let (status, body) = ask(address, method, path, KEY, body.as_bytes()).unwrap();
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap_or_default()
    };
    // More than the capacity of a pipe.
    for _ in 0..1000 {
        quick("GET", &route("access_token"), "");
    }
    // Read the whole log and all messages now.
    let mut token = quick("GET", &route("access_token"), "")["access_token"].clone();
    for _ in 0..3 {
        let body = json!({ "access_token": token }).to_string();
        let other = quick("POST", &route("access_token/report"), &body)["access_token"].clone();
        assert_ne!(token, other);
        token = other;
    }
    std::fs::write(&path, "listen = 1").unwrap();
    signal(&server, "HUP");
    for _ in 0..20 {
        quick("GET", &route("access_token"), "");
    }
    assert_eq!(weixin.seen(CLASSIC_TOKEN), 4);
    signal(&server, "TERM");
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

/// Labels come from the configuration, so requests add none.
#[test]
fn requests_add_no_metric_labels() {
    let (weixin, server, key) = Served::before_sandbox("labels", "");
    let count = || server.get("/metrics", "").1.lines().count();
    let ask_for = |number: usize| {
        for path in
            [format!("/v1/apps/wx{number}/access_token"), format!("/{number}"), format!("/v1/{number}")]
        {
            ask(server.address(), "GET", &path, &key, b"");
            ask(server.address(), &format!("M{number}"), &path, &key, b"");
        }
        weixin.fault(SEND, Fault::ErrCode(ErrCode::new(700_000 + i64::try_from(number).unwrap())));
        server.post(&route("messages"), &key, line(&format!("o{number}"), 1, "Hi").as_bytes());
    };
    count();
    ask_for(0);
    let before = count();
    (1..30).for_each(ask_for);
    assert_eq!(count(), before);
}
