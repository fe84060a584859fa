//! A running `wxsub serve`, and requests to it over sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr};

use serde_json::Value;

use super::interrupt::signal;
use super::weixin::{APPID, SECRET, Weixin};
use super::wxsub::{Wxsub, file, wxsub};

/// A server. It ends when this is dropped.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) base: String,
    /// Its log, unless a thread reads that.
    pub(crate) said: Option<BufReader<ChildStderr>>,
}

/// A key, and the lines of its configuration.
pub(crate) fn client(name: &str, scopes: &str) -> (String, String) {
    let made = wxsub(["key", "new", "--name", name, "--json"]).run().json().remove(0);
    let digest = made["key_sha256"].as_str().unwrap();
    let lines = format!(
        "[[clients]]\nname = \"{name}\"\nkey_sha256 = \"{digest}\"\napps = [\"*\"]\nscopes = [{scopes}]\n"
    );
    (made["key"].as_str().unwrap().to_owned(), lines)
}

pub(crate) const ALL: &str = r#""token:read", "token:report", "message:send", "admin""#;

/// A configuration with one app and this base URL of Weixin.
pub(crate) fn config(name: &str, weixin: &str, more: &str) -> String {
    let text = format!(
        "listen = \"127.0.0.1:0\"\naudit = \"off\"\n{more}\n[[apps]]\nappid = \"{APPID}\"\nsecret_env = \"APP_SECRET\"\ntoken_endpoint = \"token\"\n\
             \
         api_base = \"{weixin}\"\n"
    );
    file(name, &text)
}

impl Served {
    /// A sandbox, a server with this configuration behind its client, and the key of that client.
    pub(crate) fn before_sandbox(name: &str, more: &str) -> (Weixin, Self, String) {
        let weixin = Weixin::start();
        let (key, lines) = client("orders", ALL);
        let server = Self::start(&config(&format!("{name}.toml"), &weixin.base, &(lines + more)));
        (weixin, server, key)
    }

    /// Starts a server, and waits until it listens.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_as(wxsub(["serve", "--config", config]))
    }

    /// Starts it by this call, and waits until it listens.
    pub(crate) fn start_as(call: Wxsub) -> Self {
        let mut child = call.env("APP_SECRET", SECRET).start();
        let mut first = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        if first.is_empty() {
            let mut why = String::new();
            said.read_to_string(&mut why).unwrap();
            panic!("it did not start: {why}");
        }
        Self { child, base: first.trim_end().to_owned(), said: Some(said) }
    }

    pub(crate) fn address(&self) -> &str {
        self.base.strip_prefix("http://").unwrap()
    }

    /// Waits until it prints a line that contains this. Returns the line.
    pub(crate) fn wait_until_it_says(&mut self, text: &str) -> String {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.said.as_mut().unwrap().read_line(&mut line).unwrap(), 0, "it never said {text}");
        }
        line
    }

    pub(crate) fn get(&self, path: &str, key: &str) -> (u16, String) {
        ask(self.address(), "GET", path, key, b"").unwrap()
    }

    pub(crate) fn post(&self, path: &str, key: &str, body: &[u8]) -> (u16, String) {
        ask(self.address(), "POST", path, key, body).unwrap()
    }

    pub(crate) fn token(&self, key: &str) -> Value {
        let (status, body) = self.get(&format!("/v1/apps/{APPID}/access_token"), key);
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
        let (mut said, mut printed) = (self.said.take().unwrap(), String::new());
        signal(&self.child, how);
        said.read_to_string(&mut printed).unwrap();
        (self.child.wait().unwrap().code(), printed)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(head(method, path, key, body.len()).as_bytes()).ok()?;
    // A server that rejects a body does not have to read all of it.
    let _ = stream.write_all(body);
    let mut response = String::new();
    let _ = stream.read_to_string(&mut response);
    let (head, body) = response.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
