//! Invalid and hostile input over sockets is rejected, and does not affect other clients.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use wxsub_proto::ErrCode;
use wxsub_sandbox::Fault;

use super::interrupt::signal;
use super::served::{ALL, Served, ask, client, config, head};
use super::weixin::{APPID, CLASSIC_TOKEN, SEND, STABLE_TOKEN, Weixin, line};
use super::wxsub::{folder, wxsub};
use crate::free_port::free_port;

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
    assert_eq!(weixin.seen_any(), 1);
}

/// Clients without a key use no capacity of clients with one.
#[test]
fn slow_client_without_key_delays_no_other() {
    let (_weixin, server, key) = Served::before_sandbox("dawdle", "[limits]\nin_flight = 1\n");
    let unfinished = head("POST", STABLE_TOKEN, "", 10) + "{";
    let idle_clients: Vec<_> = (0..5).map(|_| connect(&server, unfinished.as_bytes())).collect();
    for _ in 0..20 {
        server.token(&key);
    }
    drop(idle_clients);
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
    let weixin = Weixin::start();
    let (key, lines) = client("orders", ALL);
    let free = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let more =
        format!("metrics_listen = \"{free}\"\n{lines}[limits]\nconnections = 2\nheader_timeout_s = 600\n");
    let server = Served::start(&config("crowd.toml", &weixin.base, &more));
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
    let weixin = Weixin::start();
    let (key, lines) = client("orders", ALL);
    let (state, free) = (folder(), SocketAddr::from(([127, 0, 0, 1], free_port())));
    let limits = "[limits]\nrequest_timeout_s = 600\n";
    let top =
        format!("metrics_listen = \"{free}\"\nstate_dir = \"{}\"\n{lines}{limits}", state.path().display());
    let config = config("files.toml", &weixin.base, &top);
    let call = wxsub(["serve", "--config", &config]).under_shell("ulimit -n 160 && exec \"$0\" \"$@\"");
    let mut server = Served::start_as(call);
    let warning = server.wait_until_it_says("the limit of open files is too low");
    assert!(warning.contains("accepted_connections=40") && warning.contains("open_files=160"), "{warning}");
    let token = server.token(&key)["access_token"].as_str().unwrap().to_owned();
    let state_file = state.path().join(format!("{APPID}.json"));
    let before = std::fs::read(&state_file).unwrap();
    let metrics = || {
        let head = format!("GET /metrics HTTP/1.1\r\nHost: {free}\r\nConnection: close\r\n\r\n");
        let mut stream = TcpStream::connect(free).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        until_closed(stream)
    };
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
    while !metrics().contains("wxsub_limit_used{limit=\"bodies_per_key\"} 1") {}
    weixin.sandbox.add_fault(SEND, 999, Fault::Hang);
    let message = request("POST", &route("messages"), &line("oUser", 1, "Hi"));
    // Fewer than the backlog of the listener holds, so that none is tried again.
    let crowd: Vec<_> = (0..120).map(|_| connect(&server, message.as_bytes())).collect();
    while !metrics().contains("wxsub_limit_used{limit=\"in_flight\"} 39") {}
    reporting.write_all(rest.as_bytes()).unwrap();
    let mut piece = [0; 4096];
    let length = reporting.read(&mut piece).unwrap();
    let response = String::from_utf8_lossy(&piece[..length]).into_owned();
    assert!(response.starts_with("HTTP/1.1 200") && !response.contains(&token), "{response}");
    while std::fs::read(&state_file).unwrap() == before {}
    signal(&server.child, "HUP");
    server.wait_until_it_says("the configuration was reloaded");
    assert!(metrics().starts_with("HTTP/1.1 200"));
    assert_eq!(crowd.len(), 120);
}

#[cfg(target_os = "linux")]
#[test]
fn soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let weixin = Weixin::start();
    let (key, lines) = client("orders", ALL);
    let config = config("soft.toml", &weixin.base, &lines);
    let call = wxsub(["serve", "--config", &config]).under_shell("ulimit -S -n 100 && exec \"$0\" \"$@\"");
    let server = Served::start_as(call);
    server.token(&key);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.child.id())).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let numbers: Vec<_> = line.split_whitespace().take(2).collect();
    assert!(numbers[0] == numbers[1] && numbers[0] != "100", "{line}");
}

#[test]
fn reached_limit_is_logged_with_its_caller() {
    let weixin = Weixin::start();
    let limits = "[limits]\nconnections_per_address = 1\nheader_timeout_s = 600\n";
    let mut server = Served::start(&config("reached.toml", &weixin.base, limits));
    let crowd: Vec<_> = (0..3).map(|_| connect(&server, b"")).collect();
    let said = server.wait_until_it_says("a limit was reached");
    for field in ["limit=\"connections_per_address\"", "count=1", "caller=127.0.0.1"] {
        assert!(said.contains(field), "{field} is not in {said}");
    }
    assert_eq!(crowd.len(), 3);
}

/// A reload raises the limit at once.
#[test]
fn reload_raises_the_connection_limit() {
    let weixin = Weixin::start();
    let (key, lines) = client("orders", ALL);
    let limits = |connections: usize| {
        format!("{lines}[limits]\nconnections = {connections}\nheader_timeout_s = 600\n")
    };
    let mut server = Served::start(&config("room.toml", &weixin.base, &limits(1)));
    let crowd = connect(&server, b"GET / HTTP/1.1\r\nX: ");
    config("room.toml", &weixin.base, &limits(2));
    signal(&server.child, "HUP");
    server.wait_until_it_says("the configuration was reloaded");
    server.token(&key);
    drop(crowd);
}

/// If standard error is not read, the audit queue fills, and no request waits for it.
#[test]
fn blocked_stderr_delays_no_request() {
    let weixin = Weixin::start();
    let (key, lines) = client("orders", ALL);
    let path = config("asleep.toml", &weixin.base, &lines);
    std::fs::write(&path, std::fs::read_to_string(&path).unwrap().replace("\"off\"", "\"stderr\"")).unwrap();
    let mut server = Served::start(&path);
    let quick = |method: &str, path: &str, body: &str| {
        let (status, body) = ask(server.address(), method, path, &key, body.as_bytes()).unwrap();
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
    signal(&server.child, "HUP");
    for _ in 0..20 {
        quick("GET", &route("access_token"), "");
    }
    assert_eq!(weixin.seen(CLASSIC_TOKEN), 4);
    signal(&server.child, "TERM");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

/// A key for one app, beside a key for all apps.
fn listed(name: &str, app: &str) -> (String, String) {
    let (key, lines) = client(name, ALL);
    (key, lines.replace("[\"*\"]", &format!("[\"{app}\"]")))
}

#[test]
fn odd_json_is_rejected_and_not_posted() {
    let (weixin, server, key) = Served::before_sandbox("odd", "[limits]\nbody_bytes = 1048576\n");
    let token = server.token(&key)["access_token"].as_str().unwrap().to_owned();
    let subscribe = format!("{SEND}?access_token={token}");
    let (messages, report) = (route("messages"), route("access_token/report"));
    let deep = ["[".repeat(200_000) + &"]".repeat(200_000), "{\"a\":".repeat(200_000)];
    let good = line("oUser", 1, "Hi");
    let wrong_types = [
        good.replace("\"oUser\"", "1"),
        good.replace("\"Parcel\"", "[\"Parcel\"]"),
        good.replace("{\"content\":", "{\"content\":[").replace("}}}", "}]}}"),
        good.replace("\"scene\":\"1\"", "\"scene\":1e99"),
        good.replace("\"Parcel\"", "\"a\\r\\nX: y\""),
        good.replace("\"Parcel\"", "\"\\u001b[2J\""),
        good.replace("\"Hi\"", "\"a\\rb\""),
        "{}".to_owned(),
    ];
    for body in
        deep.iter().map(|body| (body, 400, 47001)).chain(wrong_types.iter().map(|body| (body, 422, 47003)))
    {
        let (body, status, errcode) = body;
        let (got, said) = server.post(&messages, &key, body.as_bytes());
        assert_eq!(got, status, "{said}");
        assert!(!said.contains(['\r', '\u{1b}']), "{said:?}");
        let (_, said) = server.post(&subscribe, "", body.as_bytes());
        assert!(said.starts_with(&format!("{{\"errcode\":{errcode},")), "{said}");
        assert!([400, 422].contains(&server.post(&report, &key, body.as_bytes()).0));
        let (_, said) = server.post(STABLE_TOKEN, "", body.as_bytes());
        assert!(said.starts_with("{\"errcode\":4"), "{said}");
    }
    assert_eq!((weixin.seen(CLASSIC_TOKEN), weixin.seen(SEND)), (1, 0));
}

/// A response does not reveal whether an app exists or a key is nearly right.
#[test]
fn guessed_keys_and_apps_get_the_same_response() {
    let weixin = Weixin::start();
    let ((_, lines), (other, other_lines)) = (client("orders", ALL), listed("other", "wx-other"));
    let server = Served::start(&config("guess.toml", &weixin.base, &(lines + &other_lines)));
    let almost = {
        let last = if other.ends_with('a') { 'b' } else { 'a' };
        format!("{}{last}", &other[..42])
    };
    let classic = |appid: &str, key: &str| {
        format!("{CLASSIC_TOKEN}?grant_type=client_credential&appid={appid}&secret={key}")
    };
    let token = |appid: &str| format!("/v1/apps/{appid}/access_token");
    // An app that exists, and some that do not.
    for appid in [APPID, "wx-none", "..%2f..", "wx-other%00", "%ff", "wx-other%2f..%2fx", "*"] {
        for what in ["access_token", "messages", "access_token/report"] {
            let method = if what == "access_token" { "GET" } else { "POST" };
            let read = |appid: &str| {
                ask(server.address(), method, &format!("/v1/apps/{appid}/{what}"), &other, b"{}")
            };
            assert_eq!(read(appid), read("wx-none"), "{appid}");
            assert_eq!(read(appid).unwrap().0, 403, "{appid}");
        }
    }
    assert_eq!(server.get(&classic(APPID, &other), ""), server.get(&classic("wx-none", &other), ""));
    assert!(server.get(&classic(APPID, &other), "").1.contains("40013"));
    for key in [almost.as_str(), &other[1..], "", "x", &"é".repeat(43)] {
        let response = server.get(&token(APPID), key);
        assert_eq!((response.0, &response), (401, &server.get(&token("wx-none"), &"z".repeat(43))));
    }
    for key in [almost.as_str(), &other[1..], "x"] {
        let response = server.get(&classic(APPID, key), "");
        assert_eq!(response, server.get(&classic("wx-none", &"z".repeat(43)), ""));
        assert!(response.1.contains("40125"));
    }
    for path in [
        "/v1/apps/../../cgi-bin/token",
        "//v1/apps",
        "/v1//apps",
        "/v1/apps/wx-other/../x/access_token",
        "/V1/apps",
        "http://elsewhere/v1/apps",
    ] {
        let (status, said) = server.get(path, &other);
        assert!([200, 404].contains(&status) && !said.contains("access_token"), "{path}: {status} {said}");
    }
    // None of these requests reached Weixin. One token was fetched before the first request.
    server.stop("TERM");
    assert_eq!(weixin.seen_any(), 1);
}

#[test]
fn repeated_reports_are_rate_limited_per_key() {
    let weixin = Weixin::start();
    let ((greedy, lines), (calm, calm_lines)) = (client("greedy", ALL), client("calm", ALL));
    let server = Served::start(&config("greedy.toml", &weixin.base, &(lines + &calm_lines)));
    let mut statuses = Vec::new();
    for _ in 0..40 {
        let token = server.token(&calm)["access_token"].clone();
        let body = json!({ "access_token": token }).to_string();
        let (status, said) = server.post(&route("access_token/report"), &greedy, body.as_bytes());
        assert!(status == 200 || !said.contains("access_token"), "{said}");
        statuses.push(status);
        let forced = json!({"grant_type": "client_credential", "appid": APPID, "secret": greedy, "force_refresh": true});
        server.post(STABLE_TOKEN, "", forced.to_string().as_bytes());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 38, "{statuses:?}");
    assert_eq!(weixin.seen(CLASSIC_TOKEN), 4);
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

/// The client address is that of the connection. Headers do not count.
#[test]
fn key_is_useless_from_another_network() {
    let weixin = Weixin::start();
    let ((here, lines), (elsewhere, other_lines)) = (client("here", ALL), client("elsewhere", ALL));
    let (lines, other_lines) = (
        lines + "allowed_networks = [\"127.0.0.0/8\"]\n",
        other_lines + "allowed_networks = [\"10.0.0.0/8\"]\n",
    );
    let server = Served::start(&config("from.toml", &weixin.base, &(lines + &other_lines)));
    server.token(&here);
    let forwarded = "HTTP/1.1\r\nX-Forwarded-For: 10.1.2.3\r\nForwarded: for=10.1.2.3\r\n";
    let request = head("GET", &route("access_token"), &elsewhere, 0).replace("HTTP/1.1\r\n", forwarded);
    let response = until_closed(connect(&server, request.as_bytes()));
    assert!(response.starts_with("HTTP/1.1 401"), "{response}");
    let query = format!("grant_type=client_credential&appid={APPID}&secret={elsewhere}");
    assert!(server.get(&format!("{CLASSIC_TOKEN}?{query}"), "").1.contains("40125"));
}
