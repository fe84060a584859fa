//! One node: a process with a token cache and a client that is killed and restarted.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::{join, join_all};
use wxsub_core::Client;
use wxsub_core::clock::Clock;
use wxsub_core::proto::Operation;
use wxsub_core::token::{TokenCache, TokenSource};

use super::faults::FaultWindow;
use super::network::{App, Network, SEND_TIMEOUT};
use super::node_clock::NodeClock;
use super::schedule::ScheduledEvent;
use super::store_link::StoreLink;

/// After this time without a fault, everything works.
const CALM_AFTER: Duration = Duration::from_secs(600);

pub(super) struct Node {
    pub(super) number: usize,
    pub(super) app: App,
    pub(super) clock: Arc<NodeClock>,
    pub(super) network: Arc<Network>,
    pub(super) store: Option<Arc<StoreLink>>,
    /// Whether no other node fetches tokens of the same app.
    pub(super) is_only_node: bool,
    pub(super) schedule: Vec<(Duration, ScheduledEvent)>,
    /// The crash times of all nodes of the app.
    pub(super) crashes: Arc<Vec<Duration>>,
    pub(super) rng: Rng,
    pub(super) end: Duration,
}

impl Node {
    /// Runs until the end, and starts a new process after each crash.
    pub(super) async fn run(mut self) {
        let schedule = std::mem::take(&mut self.schedule);
        let crashes = schedule.iter().filter_map(|(at, event)| match event {
            ScheduledEvent::Crash(downtime) => Some((*at, *downtime)),
            _ => None,
        });
        for (at, downtime) in crashes {
            let rng = self.rng.fork();
            tokio::select! {
                biased;
                () = self.clock.wait_until(at) => self.network.weixin.oracle.crashed(self.number),
                () = self.work(rng) => {}
            }
            self.clock.sleep(downtime).await;
        }
        let rng = self.rng.fork();
        self.work(rng).await;
    }

    /// Runs one process.
    async fn work(&self, mut rng: Rng) {
        let seed = rng.u64(..);
        let builder = self.network.cache(&self.app, seed);
        let builder = match &self.store {
            Some(store) => builder.store(Arc::clone(store)),
            None => builder,
        };
        let cache = builder.build().unwrap();
        let client = self.network.client(&cache, seed);
        join(self.send_repeatedly(&client, rng), self.read_repeatedly(&cache)).await;
    }

    async fn send_repeatedly(&self, client: &Client, mut rng: Rng) {
        let mut openids = Vec::new();
        while self.clock.elapsed() < self.end {
            self.clock.sleep(Duration::from_secs(rng.u64(1..1200))).await;
            let new: Vec<String> = (0..rng.u8(1..4)).map(|_| format!("o{:x}", rng.u64(..))).collect();
            join_all(new.iter().map(|openid| self.send(client, openid))).await;
            openids.extend(new);
        }
        // Late requests have arrived by now.
        self.clock.sleep(Duration::from_secs(120)).await;
        for openid in &openids {
            let received = self.network.weixin.sandbox.mailbox(&openid.parse().unwrap()).len();
            self.network.weixin.oracle.check_mailbox(openid, received);
        }
    }

    async fn send(&self, client: &Client, openid: &str) {
        let (span, outcome) = self.network.send(&self.app, client, openid).await;
        let Err(error) = outcome else { return };
        if self.is_calm(span.start) {
            self.network.report_violation(&format!("{openid} failed without a fault: {error}"));
        }
        let lacks_token =
            error.operation() == Operation::FetchToken && self.is_only_node && !self.clock_was_set();
        if lacks_token && self.network.weixin.oracle.has_valid_token(self.number) {
            self.network.report_violation(&format!(
                "{openid} was not sent although the node has a valid token: {error}"
            ));
        }
    }

    /// Reads the current token, and lets the oracle check it.
    async fn read_repeatedly(&self, cache: &TokenCache) {
        // Starts the token cache. An error here is no violation.
        drop(cache.token().await);
        while self.clock.elapsed() < self.end {
            if let Some(issued) = cache.current().get() {
                // A new process knows the age of a stored token from the wall clock only.
                let knows_token_age = self.store.is_none() || !self.clock_was_set();
                self.network.weixin.oracle.token_served(self.number, issued, knows_token_age);
            }
            self.clock.sleep(Duration::from_secs(20)).await;
        }
    }

    /// Whether no fault is near in time.
    fn is_calm(&self, elapsed: Duration) -> bool {
        let near =
            |window: &FaultWindow| window.from <= elapsed + SEND_TIMEOUT && elapsed < window.to + CALM_AFTER;
        let crashed =
            |at: &Duration| *at <= elapsed + SEND_TIMEOUT && elapsed < *at + Duration::from_secs(180);
        !self.network.faults.iter().any(near) && !self.crashes.iter().any(crashed)
    }

    fn clock_was_set(&self) -> bool {
        let now = self.clock.now();
        now.wall.get() != u64::try_from(self.clock.true_time().as_millis()).unwrap()
    }
}
