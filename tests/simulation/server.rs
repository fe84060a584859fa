//! One control server of the cluster: a token cache and a client that are killed and restarted.

use std::future::pending;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::{join_all, join3};
use tokio::sync::mpsc::UnboundedReceiver;
use wxsub_core::Client;
use wxsub_core::error::SendError;
use wxsub_core::proto::Operation;
use wxsub_core::token::{CachedToken, Evidence, TokenCache, TokenEvent, TokenSource};

use super::invariants::Invariants;
use super::network::{App, Network};
use super::node_clock::NodeClock;
use super::store_link::StoreLink;

/// How often the token is read.
pub(super) const READ_INTERVAL: Duration = Duration::from_secs(10);

pub(super) struct Server {
    pub(super) number: usize,
    pub(super) app: App,
    pub(super) clock: Arc<NodeClock>,
    pub(super) network: Arc<Network>,
    pub(super) store: Option<Arc<StoreLink>>,
    pub(super) reports: Vec<Duration>,
    pub(super) invariants: Arc<Invariants>,
    /// The users to whom messages were sent.
    pub(super) openids: Arc<Mutex<Vec<String>>>,
    pub(super) end: Duration,
}

impl Server {
    /// Runs until the end, and starts a new process after each kill.
    pub(super) async fn run(self, mut kills: UnboundedReceiver<Duration>, mut rng: Rng) {
        loop {
            let downtime = tokio::select! {
                biased;
                downtime = kills.recv() => downtime.unwrap(),
                () = self.work(rng.fork()) => return,
            };
            self.invariants.oracle.crashed(self.number);
            self.invariants.clock.sleep(downtime).await;
        }
    }

    /// Runs one process.
    async fn work(&self, mut rng: Rng) {
        let seed = rng.u64(..);
        let builder = self.network.cache(&self.app, seed);
        let builder = match &self.store {
            Some(store) => builder.store(Arc::clone(store)),
            None => builder,
        };
        let cache = builder.on_event(self.observer()).build().unwrap();
        let client = self.network.client(&cache, seed);
        let work = join3(
            self.send_repeatedly(&cache, &client, rng),
            self.read_repeatedly(&cache),
            self.report_repeatedly(&cache),
        );
        let notifications = async {
            match &self.store {
                Some(store) => store.run_process().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = notifications => unreachable!("it runs until it is dropped"),
            _ = work => {}
        }
    }

    /// Records when this server got which token.
    fn observer(&self) -> impl Fn(&TokenEvent) + Send + Sync + 'static {
        let (number, invariants) = (self.number, Arc::clone(&self.invariants));
        move |notice| {
            if let TokenEvent::Refreshed { generation, origin, .. } = notice {
                invariants.oracle.trace(|| format!("{number}: holds {generation}, {origin:?}"));
                invariants.on_token_held(*generation);
            }
        }
    }

    async fn send_repeatedly(&self, cache: &TokenCache, client: &Client, mut rng: Rng) {
        loop {
            let next = self.clock.elapsed() + Duration::from_millis(rng.u64(1..600_000));
            if next > self.end {
                return;
            }
            self.clock.wait_until(next).await;
            let new: Vec<String> = (0..rng.u8(1..3)).map(|_| format!("o{:x}", rng.u64(..))).collect();
            self.openids.lock().unwrap().extend(new.iter().cloned());
            join_all(new.iter().map(|openid| self.send(cache, client, openid))).await;
        }
    }

    async fn send(&self, cache: &TokenCache, client: &Client, openid: &str) {
        let held = cache.current().to_owned();
        if let Some(held) = &held {
            self.invariants.oracle.token_served(self.number, held);
        }
        let (span, outcome) = self.network.send(&self.app, client, openid).await;
        if let Err(error) = outcome {
            self.check_failure(openid, &error, held.as_deref(), &span);
        }
    }

    /// A send must not fail when all faults are over. While the server holds a valid token, it may fail only because of the
    /// network to Weixin.
    fn check_failure(
        &self,
        openid: &str,
        error: &SendError,
        held: Option<&CachedToken>,
        span: &Range<Duration>,
    ) {
        if self.invariants.is_quiet(span) {
            self.network.report_violation(&format!("{openid} failed without a fault: {error}"));
        }
        if self.clock.was_suspended(span) {
            return;
        }
        let network_works =
            self.network.faults.iter().all(|window| window.to <= span.start || span.end < window.from);
        // A token that is valid now was valid all the time.
        let held_valid = held.is_some_and(|held| self.invariants.is_accepted(held.token().expose_secret()));
        if held_valid && (network_works || error.operation() == Operation::FetchToken) {
            self.network
                .report_violation(&format!("{openid} failed although a valid token was held: {error}"));
        }
    }

    /// Reads the current token at the same times as all servers, and checks it.
    async fn read_repeatedly(&self, cache: &TokenCache) {
        drop(cache.token().await);
        while self.clock.elapsed() < self.end {
            let current = cache.current().to_owned();
            if let Some(issued) = &current {
                self.invariants.oracle.token_served(self.number, issued);
            }
            self.invariants.check_read(self.number, current.as_deref());
            let rounds = self.clock.elapsed().as_secs() / READ_INTERVAL.as_secs();
            self.clock.wait_until(READ_INTERVAL * u32::try_from(rounds + 1).unwrap()).await;
        }
    }

    /// Clients report the token as invalid.
    async fn report_repeatedly(&self, cache: &TokenCache) {
        for at in &self.reports {
            if *at < self.clock.elapsed() {
                continue;
            }
            self.clock.wait_until(*at).await;
            let Some(current) = cache.current().to_owned() else { continue };
            self.invariants.oracle.trace(|| format!("{}: a client reports the token", self.number));
            drop(cache.refresh(current.generation(), Evidence::Reported).await);
        }
    }
}
