//! A running `wxsub serve`, and requests to it over sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;
use wxsub_server::{ApiKeyDigest, generate_api_key};
use wxsub_test_support::Lines;

use super::interrupt::signal;
use super::weixin::{APPID, SECRET, Weixin};
use super::wxsub::{Wxsub, file, wxsub};

/// A server. It ends when this is dropped.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) base: String,
    lines: Lines,
}

/// The key of the client `orders`, which is in each configuration. It has the scopes [`ALL`], for all apps.
pub(crate) const KEY: &str = "orders0123456789abcdefghijklmnopqrstuvwxyzA";

/// A new key, and the lines of its configuration.
pub(crate) fn client(name: &str, scopes: &str) -> (String, String) {
    let key = generate_api_key().unwrap().expose_secret().to_owned();
    let lines = client_lines(name, &key, scopes);
    (key, lines)
}

fn client_lines(name: &str, key: &str, scopes: &str) -> String {
    let digest = ApiKeyDigest::of(&key.parse().unwrap());
    format!(
        "[[clients]]\nname = \"{name}\"\nkey_sha256 = \"{digest}\"\napps = [\"*\"]\nscopes = [{scopes}]\n"
    )
}

pub(crate) const ALL: &str = r#""token:read", "token:report", "message:send", "admin""#;

/// A configuration with these lines, and at its end one app with this base URL of Weixin.
pub(crate) fn config(name: &str, weixin: &str, lines: &str) -> String {
    let audit = if lines.contains("audit = ") { "" } else { "audit = \"off\"\n" };
    let (client, app) = (client_lines("orders", KEY, ALL), app(APPID, weixin));
    file(name, &format!("listen = \"127.0.0.1:0\"\n{audit}{lines}\n{client}{app}"))
}

/// The lines of an app.
pub(crate) fn app(appid: &str, weixin: &str) -> String {
    format!(
        "[[apps]]\nappid = \"{appid}\"\nsecret_env = \"APP_SECRET\"\ntoken_endpoint = \"token\"\napi_base = \"{weixin}\"\n"
    )
}

/// The path of the token in the v1 API.
pub(crate) fn token_path() -> String {
    format!("/v1/apps/{APPID}/access_token")
}

impl Served {
    /// A sandbox, a server with this configuration and a client, and the key of that client.
    pub(crate) fn before_sandbox(name: &str, more: &str) -> (Weixin, Self, String) {
        Self::before_sandbox_by(name, more, |call| call)
    }

    /// The same, started by a changed call.
    pub(crate) fn before_sandbox_by(
        name: &str,
        more: &str,
        change: impl FnOnce(Wxsub) -> Wxsub,
    ) -> (Weixin, Self, String) {
        let weixin = Weixin::start();
        let config = config(&format!("{name}.toml"), &weixin.base, more);
        (weixin, Self::start_as(change(wxsub(&["serve", "--config", &config]))), KEY.to_owned())
    }

    /// Starts a server, and waits until it listens.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_as(wxsub(&["serve", "--config", config]))
    }

    /// Starts it by this call, and waits until it listens.
    pub(crate) fn start_as(call: Wxsub) -> Self {
        let mut child = call.env("APP_SECRET", SECRET).start();
        let lines = Lines::read(child.stderr.take().unwrap());
        let base = first_line(&mut child);
        let server = Self { child, base, lines };
        assert!(!server.base.is_empty(), "it did not start: {}", server.stop_and_read("KILL").1);
        server
    }

    pub(crate) fn address(&self) -> &str {
        self.base.strip_prefix("http://").unwrap()
    }

    /// The next line of its log.
    pub(crate) fn next_line(&self) -> Option<String> {
        self.lines.next_line()
    }

    /// Waits until it prints a line that contains this. Returns the line.
    pub(crate) fn wait_until_it_says(&self, text: &str) -> String {
        self.lines.wait_for(text)
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        self.lines.all().iter().map(|line| format!("{line}\n")).collect()
    }

    /// Reloads the configuration.
    pub(crate) fn reload(&self) {
        self.hang_up("the configuration was reloaded");
    }

    /// Sends SIGHUP, and waits until it prints a line that contains this.
    pub(crate) fn hang_up(&self, text: &str) {
        signal(&self.child, "HUP");
        self.wait_until_it_says(text);
    }

    /// A call through it, with this key.
    pub(crate) fn call(&self, key: &str, words: &[&str]) -> Wxsub {
        wxsub(words).through(&self.base, key)
    }

    pub(crate) fn get(&self, path: &str, key: &str) -> (u16, String) {
        ask(self.address(), "GET", path, key, b"").unwrap()
    }

    /// The value of this metric, or 0 if it does not exist yet.
    pub(crate) fn metric(&self, name_and_labels: &str) -> u64 {
        let (status, text) = self.get("/metrics", "");
        assert_eq!(status, 200);
        let found = text.lines().find_map(|line| line.strip_prefix(name_and_labels)?.strip_prefix(' '));
        found.map_or(0, |value| value.parse().unwrap())
    }

    pub(crate) fn post(&self, path: &str, key: &str, body: &[u8]) -> (u16, String) {
        ask(self.address(), "POST", path, key, body).unwrap()
    }

    pub(crate) fn token(&self, key: &str) -> Value {
        let (status, body) = self.get(&token_path(), key);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Sends the signal. Returns the exit code.
    pub(crate) fn stop(mut self, how: &str) -> Option<i32> {
        signal(&self.child, how);
        self.child.wait().unwrap().code()
    }

    /// Sends the signal. Returns the exit code, and what it has printed since the start.
    pub(crate) fn stop_and_read(mut self, how: &str) -> (Option<i32>, String) {
        signal(&self.child, how);
        while self.lines.next_line().is_some() {}
        (self.child.wait().unwrap().code(), self.log())
    }
}

/// The first line that a process prints, which is empty if it has ended.
pub(crate) fn first_line(child: &mut Child) -> String {
    let mut first = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
    first.trim_end().to_owned()
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sets the flag when it is dropped, also by a failed assertion: the other threads end then.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads tokens from four threads while `work` runs, which gets the number of responses so far. All must be 200. Returns their number.
pub(crate) fn read_during(address: &str, key: &str, work: impl FnOnce(&AtomicUsize)) -> usize {
    let (path, done, count) = (token_path(), AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let read_on = || {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(ask(address, "GET", &path, key, b"").unwrap().0, 200);
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(read_on)).collect();
        let stop = SetOnDrop(&done);
        work(&count);
        drop(stop);
        threads.into_iter().for_each(|one| one.join().unwrap());
    });
    count.into_inner()
}

/// Waits until there were this many more responses.
pub(crate) fn wait_for_responses(count: &AtomicUsize, more: usize) {
    let until = count.load(Ordering::Relaxed) + more;
    wxsub_test_support::wait_for("responses", || count.load(Ordering::Relaxed) >= until);
}

/// The head of a request that closes its connection.
pub(crate) fn head(method: &str, path: &str, key: &str, length: usize) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    )
}

/// One request on a new connection. Nothing if the connection broke.
pub(crate) fn ask(address: &str, method: &str, path: &str, key: &str, body: &[u8]) -> Option<(u16, String)> {
    let headers = format!("Host: localhost\r\nAuthorization: Bearer {key}\r\n");
    let response = exchange(address, &format!("{method} {path}"), &headers, body)?;
    Some((response.status, response.body))
}

pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// The same with these headers, `Host` among them.
pub(crate) fn exchange(address: &str, request: &str, headers: &str, body: &[u8]) -> Option<Response> {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head =
        format!("{request} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    // A server that rejects a body does not have to read all of it.
    let _ = stream.write_all(body);
    let mut response = String::new();
    let _ = stream.read_to_string(&mut response);
    let (head, body) = response.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Response { status, head: head.to_owned(), body: body.to_owned() })
}
