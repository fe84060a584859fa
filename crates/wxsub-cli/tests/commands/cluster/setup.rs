//! Three servers, each with its own proxy to one Redis, their sandbox, and readers and senders for all of them.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::served::{ALL, client, config};
use super::super::weixin::{APPID, CLASSIC_TOKEN, Weixin};
use super::call::{Call, NoAnswer};
use super::node::Node;
use super::proxy::Proxy;
use super::server::Redis;
use super::traffic::Traffic;
use super::{pause, read};

pub(super) struct Setup {
    pub(super) redis: Redis,
    pub(super) weixin: Weixin,
    pub(super) wires: Vec<Proxy>,
    pub(super) nodes: Vec<Node>,
    pub(super) traffic: Traffic,
    pub(super) key: String,
    configs: Vec<String>,
    /// The server that is suspended or killed.
    out: Option<usize>,
}

impl Setup {
    /// Starts the servers with these lines in `[store]`.
    pub(super) fn start(name: &str, redis: Redis, store: &str) -> Self {
        let weixin = Weixin::start();
        let (key, lines) = client("orders", ALL);
        let wires: Vec<_> = (0..3).map(|_| Proxy::to(redis.port)).collect();
        let configured = |(number, wire): (usize, &Proxy)| {
            // A report may wait until a lease expires.
            let more = format!(
                "{lines}[limits]\nrequest_timeout_s = 60\n[store]\nredis = \"redis://127.0.0.1:{}/0\"\n{store}\n",
                wire.port
            );
            config(&format!("{name}-{number}.toml"), &weixin.base, &more)
        };
        let configs: Vec<_> = wires.iter().enumerate().map(configured).collect();
        let nodes: Vec<_> = configs.iter().map(|config| Node::start(config)).collect();
        let addresses: Vec<_> = nodes.iter().map(|node| node.address.as_str()).collect();
        let traffic = Traffic::start(&addresses, &key, &weixin.sandbox);
        Self { redis, weixin, wires, nodes, traffic, key, configs, out: None }
    }

    pub(super) fn kill(&mut self, server: usize) {
        self.go_out(server);
        self.nodes[server].kill();
    }

    pub(super) fn start_again(&mut self, server: usize) {
        self.nodes[server] = Node::start(&self.configs[server]);
        self.come_back(server);
    }

    /// As `kill -STOP`.
    pub(super) fn stop(&mut self, server: usize) {
        self.go_out(server);
        self.nodes[server].signal("STOP");
    }

    /// As `kill -CONT`.
    pub(super) fn go_on(&mut self, server: usize) {
        self.nodes[server].signal("CONT");
        self.come_back(server);
    }

    fn go_out(&mut self, server: usize) {
        assert_eq!(self.out.replace(server), None, "one at a time");
        self.traffic.take_out(server);
    }

    fn come_back(&mut self, server: usize) {
        assert_eq!(self.out.take(), Some(server));
        self.traffic.put_back(server, &self.nodes[server].address);
    }

    /// The number of token requests.
    pub(super) fn fetches(&self) -> u64 {
        self.weixin.seen(CLASSIC_TOKEN)
    }

    /// Invalidates all tokens.
    pub(super) fn invalidate_tokens(&self) {
        self.weixin.sandbox.invalidate_tokens(&APPID.parse().unwrap()).unwrap();
    }

    /// The generation that this server serves.
    pub(super) fn generation(&self, server: usize) -> u64 {
        token(&self.nodes[server].address, &self.key)["generation"].as_u64().unwrap()
    }

    fn tokens(&self) -> Vec<Value> {
        let live = self.nodes.iter().enumerate().filter(|(server, _)| self.out != Some(*server));
        live.map(|(_, node)| token(&node.address, &self.key)).collect()
    }

    /// Waits for a condition, unless the traffic fails before.
    pub(super) fn wait_for(&self, what: &str, mut found: impl FnMut() -> bool) {
        wait_for(what, || {
            self.traffic.healthy_setup_passes_all_checks();
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

pub(super) fn token(address: &str, key: &str) -> Value {
    let call = Call { method: "GET", path: &read(""), key, body: "" };
    let (status, body) = call.at(address, || false).unwrap();
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// Reports the token of this server. Returns the status.
pub(super) fn report(address: &str, key: &str) -> Result<u16, NoAnswer> {
    let body = json!({ "access_token": token(address, key)["access_token"] }).to_string();
    let call = Call { method: "POST", path: &read("/report"), key, body: &body };
    call.at(address, || false).map(|(status, _)| status)
}

/// Waits for a condition, for at least two minutes.
pub(super) fn wait_for(what: &str, mut found: impl FnMut() -> bool) {
    for _ in 0..1200 {
        if found() {
            return;
        }
        pause(Duration::from_millis(100));
    }
    panic!("{what}: it never came");
}
