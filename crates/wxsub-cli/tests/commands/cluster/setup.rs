//! Three servers, each with a wire of its own to one Redis, their Weixin, and readers and senders at all of them.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::served::{ALL, client, config};
use super::super::weixin::{APPID, CLASSIC_TOKEN, Weixin};
use super::call::{Call, NoAnswer};
use super::node::Node;
use super::proxy::Relay;
use super::server::Redis;
use super::traffic::Traffic;
use super::{pause, read};

pub(super) struct Stage {
    pub(super) redis: Redis,
    pub(super) weixin: Weixin,
    pub(super) wires: Vec<Relay>,
    pub(super) nodes: Vec<Node>,
    pub(super) traffic: Traffic,
    pub(super) key: String,
    configs: Vec<String>,
    /// The server that is stopped or killed.
    out: Option<usize>,
}

impl Stage {
    /// With these lines in `[store]`.
    pub(super) fn start(name: &str, redis: Redis, store: &str) -> Self {
        let weixin = Weixin::start();
        let (key, lines) = client("orders", ALL);
        let wires: Vec<_> = (0..3).map(|_| Relay::to(redis.port)).collect();
        let configured = |(number, wire): (usize, &Relay)| {
            // A report may wait for the end of a lease.
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

    /// How often Weixin was asked for a token.
    pub(super) fn fetches(&self) -> u64 {
        self.weixin.seen(CLASSIC_TOKEN)
    }

    /// A stranger ends every token.
    pub(super) fn stolen(&self) {
        self.weixin.sandbox.invalidate_tokens(&APPID.parse().unwrap()).unwrap();
    }

    /// Which token this server hands out.
    pub(super) fn generation(&self, server: usize) -> u64 {
        token(&self.nodes[server].address, &self.key)["generation"].as_u64().unwrap()
    }

    fn tokens(&self) -> Vec<Value> {
        let live = self.nodes.iter().enumerate().filter(|(server, _)| self.out != Some(*server));
        live.map(|(_, node)| token(&node.address, &self.key)).collect()
    }

    /// Waits for what comes in the end, unless something goes wrong before.
    pub(super) fn wait_for(&self, what: &str, mut found: impl FnMut() -> bool) {
        wait_for(what, || {
            self.traffic.nothing_is_wrong();
            found()
        });
    }

    /// Until this many more messages have gone out through each server.
    pub(super) fn wait_for_messages(&self, more: usize) {
        let sent = self.traffic.sent();
        let all = || self.traffic.sent().iter().zip(&sent).all(|(now, then)| *now >= then + more);
        self.wait_for("more messages through each server", all);
    }

    /// Until all servers that run hand out the same token; its generation.
    pub(super) fn agree(&self) -> u64 {
        let mut tokens = Vec::new();
        self.wait_for("one token at all servers", || {
            tokens = self.tokens();
            tokens.iter().all(|token| token["access_token"] == tokens[0]["access_token"])
        });
        tokens[0]["generation"].as_u64().unwrap()
    }

    /// What this line of the metrics comes to over all servers that run.
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

/// Tells this server that its token no longer works; the status of what it says.
pub(super) fn report(address: &str, key: &str) -> Result<u16, NoAnswer> {
    let body = json!({ "access_token": token(address, key)["access_token"] }).to_string();
    let call = Call { method: "POST", path: &read("/report"), key, body: &body };
    call.at(address, || false).map(|(status, _)| status)
}

/// Waits for what comes in the end; gives up after two minutes or more.
pub(super) fn wait_for(what: &str, mut found: impl FnMut() -> bool) {
    for _ in 0..1200 {
        if found() {
            return;
        }
        pause(Duration::from_millis(100));
    }
    panic!("{what}: it never came");
}
