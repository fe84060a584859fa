//! Three `wxsub serve` processes, each with its own proxy to one Redis. All of them can be killed, suspended and cut off.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::spawn;
use std::time::Duration;

use serde_json::{Value, json};
use wxsub_test_support::{Redis, wait_for};

use super::super::interrupt::signal;
use super::super::served::{KEY, Served, config};
use super::super::weixin::{APPID, CLASSIC_TOKEN, Weixin};
use super::super::wxsub::{program, replace};
use super::traffic::{Call, NoResponse, Traffic, pause, read};

/// The binary that these tests are for.
pub(super) const THIS_VERSION: &str = env!("CARGO_BIN_EXE_wxsub");

/// Starts a server with the binary of this version, and waits until it listens.
fn start_version(binary: &str, config: &str) -> Served {
    Served::start_as(program(binary, &["serve", "--config", config]))
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Good,
    /// All data is delayed by this.
    Slow(Duration),
    /// Connections stay open, and no data passes until the fault is over.
    Stalled,
    /// All connections break, new ones too.
    Cut,
}

pub(super) struct Proxy {
    pub(super) port: u16,
    inner: Arc<Inner>,
}

struct Inner {
    to: u16,
    wire: Mutex<Wire>,
    changed: Condvar,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub(super) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (wire, changed, open) = (Mutex::new(Wire::Good), Condvar::new(), Mutex::default());
        let inner = Arc::new(Inner { to: port, wire, changed, open });
        let relay = Self { port: listener.local_addr().unwrap().port(), inner: Arc::clone(&inner) };
        spawn(move || listener.incoming().for_each(|stream| inner.connect(stream.unwrap())));
        relay
    }

    pub(super) fn set(&self, wire: Wire) {
        *self.inner.wire.lock().unwrap() = wire;
        self.inner.changed.notify_all();
        if wire == Wire::Cut {
            self.inner.break_all();
        }
    }
}

impl Inner {
    fn connect(self: &Arc<Self>, near: TcpStream) {
        if *self.wire.lock().unwrap() == Wire::Cut {
            return;
        }
        // Without Redis, new connections are closed.
        let Ok(far) = TcpStream::connect(("127.0.0.1", self.to)) else { return };
        self.open.lock().unwrap().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
        for (from, to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
            let inner = Arc::clone(self);
            spawn(move || inner.pass_on(from, to));
        }
    }

    fn pass_on(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut piece = [0; 16_384];
        while let Ok(read @ 1..) = from.read(&mut piece) {
            if !self.lets_pass() || to.write_all(&piece[..read]).is_err() {
                break;
            }
        }
        for stream in [from, to] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Waits as long as the fault requires. Returns whether data may pass.
    fn lets_pass(&self) -> bool {
        let wire = self.wire.lock().unwrap();
        let wire = *self.changed.wait_while(wire, |wire| *wire == Wire::Stalled).unwrap();
        if let Wire::Slow(by) = wire {
            pause(by);
        }
        wire != Wire::Cut
    }

    fn break_all(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

pub(super) struct Setup {
    pub(super) redis: Redis,
    pub(super) weixin: Weixin,
    pub(super) wires: Vec<Proxy>,
    pub(super) nodes: Vec<Served>,
    pub(super) traffic: Traffic,
    configs: Vec<String>,
    /// The server that is suspended or killed.
    out: Option<usize>,
}

impl Setup {
    /// Starts the servers with these lines in `[store]`.
    pub(super) fn start(name: &str, redis: Redis, store: &str) -> Self {
        Self::start_version(THIS_VERSION, name, redis, store, 3)
    }

    /// The same without traffic.
    pub(super) fn quiet(name: &str, store: &str) -> Self {
        Self::start_version(THIS_VERSION, name, Redis::start(), store, 0)
    }

    /// The same with the binary of this version, and readers and senders for so many servers.
    pub(super) fn start_version(binary: &str, name: &str, redis: Redis, store: &str, used: usize) -> Self {
        let weixin = Weixin::start();
        let wires: Vec<_> = (0..3).map(|_| Proxy::to(redis.port)).collect();
        let configured = |(number, wire): (usize, &Proxy)| {
            // Without traffic no wire fails, so the servers use none.
            let port = if used == 0 { redis.port } else { wire.port };
            // A report may wait until a lease expires.
            let more = format!(
                "[limits]\nrequest_timeout_s = 60\n[store]\nredis = \"redis://127.0.0.1:{port}/0\"\n{store}\n"
            );
            config(&format!("{name}-{number}.toml"), &weixin.base, &more)
        };
        let configs: Vec<_> = wires.iter().enumerate().map(configured).collect();
        let nodes: Vec<_> = configs.iter().map(|config| start_version(binary, config)).collect();
        let addresses: Vec<_> = nodes.iter().map(Served::address).collect();
        let traffic = Traffic::start(&addresses, used, &weixin.sandbox);
        Self { redis, weixin, wires, nodes, traffic, configs, out: None }
    }

    pub(super) fn kill(&mut self, server: usize) {
        self.go_out(server);
        self.nodes[server].child.kill().unwrap();
        assert_eq!(self.nodes[server].child.wait().unwrap().code(), None);
    }

    pub(super) fn start_again(&mut self, server: usize) {
        self.start_again_as(server, THIS_VERSION);
    }

    fn start_again_as(&mut self, server: usize, binary: &str) {
        self.nodes[server] = start_version(binary, &self.configs[server]);
        self.come_back(server);
    }

    /// Stops a server, and starts it with the binary of this version.
    pub(super) fn change_version(&mut self, server: usize, binary: &str) {
        self.go_out(server);
        signal(&self.nodes[server].child, "TERM");
        assert!(self.nodes[server].child.wait().unwrap().success());
        self.start_again_as(server, binary);
    }

    /// Replaces a part of the configuration of a server, and restarts the server.
    pub(super) fn change_config(&mut self, server: usize, from: &str, to: &str) {
        replace(&self.configs[server], from, to);
        self.change_version(server, THIS_VERSION);
    }

    /// As `kill -STOP`.
    pub(super) fn stop(&mut self, server: usize) {
        self.go_out(server);
        signal(&self.nodes[server].child, "STOP");
    }

    /// As `kill -CONT`.
    pub(super) fn go_on(&mut self, server: usize) {
        signal(&self.nodes[server].child, "CONT");
        self.come_back(server);
    }

    fn go_out(&mut self, server: usize) {
        assert_eq!(self.out.replace(server), None, "one at a time");
        self.traffic.take_out(server);
    }

    fn come_back(&mut self, server: usize) {
        assert_eq!(self.out.take(), Some(server));
        self.traffic.put_back(server, self.nodes[server].address());
    }

    /// The number of token requests.
    pub(super) fn fetches(&self) -> u64 {
        self.weixin.seen(CLASSIC_TOKEN)
    }

    /// Invalidates all tokens.
    pub(super) fn invalidate_tokens(&self) {
        self.weixin.sandbox.invalidate_tokens(&APPID.parse().unwrap()).unwrap();
    }

    /// Reports the token that this server serves.
    pub(super) fn report(&self, server: usize) -> u16 {
        report(self.nodes[server].address()).unwrap()
    }

    /// The generation that this server serves.
    pub(super) fn generation(&self, server: usize) -> u64 {
        self.nodes[server].token(KEY)["generation"].as_u64().unwrap()
    }

    fn tokens(&self) -> Vec<Value> {
        let live = self.nodes.iter().enumerate().filter(|(server, _)| self.out != Some(*server));
        live.map(|(_, node)| node.token(KEY)).collect()
    }

    /// Waits for a condition, unless the traffic fails before.
    pub(super) fn wait_for(&self, what: &str, mut found: impl FnMut() -> bool) {
        wait_for(what, || {
            self.traffic.assert_healthy();
            found()
        });
    }

    /// Waits until each server has sent this many more messages.
    pub(super) fn wait_for_messages(&self, more: usize) {
        let sent = self.traffic.sent();
        let all = || self.traffic.sent().iter().zip(&sent).all(|(now, then)| *now >= then + more);
        self.wait_for("more messages through each server", all);
    }

    /// Waits until all running servers serve the same token. Returns its generation.
    pub(super) fn agree(&self) -> u64 {
        let mut tokens = Vec::new();
        self.wait_for("one token at all servers", || {
            tokens = self.tokens();
            tokens.iter().all(|token| token["access_token"] == tokens[0]["access_token"])
        });
        tokens[0]["generation"].as_u64().unwrap()
    }

    /// The sum of this metric over all running servers.
    pub(super) fn metric(&self, name_and_labels: &str) -> u64 {
        let live = self.nodes.iter().enumerate().filter(|(server, _)| self.out != Some(*server));
        live.map(|(_, node)| node.metric(name_and_labels)).sum()
    }
}

/// Reports the token of this server. Returns the status.
pub(super) fn report(address: &str) -> Result<u16, NoResponse> {
    let (status, token) = Call { method: "GET", path: &read(""), body: "" }.at(address, || false).unwrap();
    assert_eq!(status, 200, "{token}");
    let token: Value = serde_json::from_str(&token).unwrap();
    let body = json!({ "access_token": token["access_token"] }).to_string();
    let call = Call { method: "POST", path: &read("/report"), body: &body };
    call.at(address, || false).map(|(status, _)| status)
}
