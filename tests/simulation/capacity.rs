//! Measures the load of ten thousand apps on three servers and a thousand business servers in virtual time: calls to Weixin,
//! store operations and memory. `--apps N`, `--seconds N` and `--life N` change the scenario.

#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "prints what it measures, and needs only a part of the simulated cluster"
)]

mod fault_window;
mod node_clock;
mod redis;
mod store_faults;
mod store_link;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use wxsub_core::proto::AppId;
use wxsub_core::proto::codec::RawResponse;
use wxsub_core::token::{TokenCache, TokenSource};
use wxsub_core::transport::{HttpRequest, Transport};
use wxsub_sandbox::{AppSettings, Sandbox};
use wxsub_test_support::proc_fs;

use node_clock::NodeClock;
use redis::Redis;
use store_link::StoreLink;

const SERVERS: usize = 3;
const BUSINESS_SERVERS: u64 = 1_000;
const DAY: u64 = 24 * 3600;
/// The lifetime of real tokens, in seconds.
const REAL_LIFETIME: u64 = 7200;

struct Scenario {
    apps: u64,
    seconds: u64,
    lifetime: u64,
}

fn main() {
    let scenario = Scenario {
        apps: argument("--apps", 10_000),
        seconds: argument("--seconds", 1_200),
        lifetime: argument("--life", 600),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(run(&scenario));
}

fn argument(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().map_or(default, |number| number.parse().unwrap())
}

async fn run(scenario: &Scenario) {
    let mut rng = Rng::with_seed(1);
    let clock = Arc::new(NodeClock::new());
    let sandbox_clock = Arc::clone(&clock);
    let sandbox = Sandbox::with_clock(Arc::new(move || sandbox_clock.true_time()));
    let redis = Arc::new(Redis::new(Arc::clone(&clock), false));
    let apps: Vec<AppId> = (0..scenario.apps).map(|n| format!("wx{n:016x}").parse().unwrap()).collect();
    for app in &apps {
        sandbox.add_app(app.clone(), "sandbox-secret".parse().unwrap(), []);
        let mut settings = AppSettings::default();
        settings.token_lifetime = Duration::from_secs(scenario.lifetime);
        sandbox.configure(app, settings).unwrap();
    }
    let before = proc_fs::resident("self").unwrap();
    let servers: Vec<Vec<TokenCache>> =
        (0..SERVERS).map(|_| server(&apps, &sandbox, &redis, &mut rng)).collect();
    for caches in &servers {
        for cache in caches {
            let cache = cache.clone();
            tokio::spawn(async move { drop(cache.token().await) });
        }
    }
    let servers = Arc::new(servers);
    let reads = Arc::new(AtomicU64::new(0));
    for _ in 0..BUSINESS_SERVERS {
        let (servers, reads, clock, mut rng) =
            (Arc::clone(&servers), Arc::clone(&reads), Arc::clone(&clock), rng.fork());
        tokio::spawn(async move {
            loop {
                clock.sleep(Duration::from_millis(rng.u64(500..1_500))).await;
                let caches = &servers[rng.usize(0..SERVERS)];
                let cache = &caches[rng.usize(0..caches.len())];
                reads.fetch_add(u64::from(cache.current().get().is_some()), Ordering::Relaxed);
            }
        });
    }
    clock.sleep(Duration::from_secs(scenario.seconds)).await;
    let fetches = sandbox.event_log().request_count(wxsub_tests::TOKEN);
    report(scenario, fetches, redis.state().operations, reads.load(Ordering::Relaxed), before);
}

/// The token caches of one server, one for each app.
fn server(apps: &[AppId], sandbox: &Sandbox, redis: &Arc<Redis>, rng: &mut Rng) -> Vec<TokenCache> {
    let clock = Arc::new(NodeClock::new());
    let store = Arc::new(StoreLink::new(&clock, redis, Vec::new(), |_| {}, rng.fork()));
    let process = Arc::clone(&store);
    tokio::spawn(async move { process.run_process().await });
    let (weixin, network_clock) = (sandbox.clone(), Arc::clone(&clock));
    let transport: Arc<dyn Transport> = Arc::new(move |request: HttpRequest| {
        let (weixin, network_clock) = (weixin.clone(), Arc::clone(&network_clock));
        async move {
            network_clock.sleep(Duration::from_millis(50)).await;
            let request = request.into_http();
            let target = request.uri().path_and_query().unwrap().to_string();
            let reply = weixin.handle(request.method().as_str(), &target, request.body()).outcome.unwrap();
            Ok(RawResponse::new(reply.status, Bytes::from(reply.body)))
        }
    });
    let cache = |app: &AppId| {
        TokenCache::builder(app.clone(), "sandbox-secret", Arc::clone(&transport))
            .clock(clock.clone())
            .store(store.clone())
            .jitter_seed(rng.u64(..))
            .build()
            .unwrap()
    };
    apps.iter().map(cache).collect()
}

fn report(scenario: &Scenario, fetches: u64, operations: u64, reads: u64, before: u64) {
    let Scenario { apps, seconds, lifetime } = *scenario;
    let (seconds, lifetime) = (seconds as f64, lifetime as f64);
    // The first fetch of an app is no refresh.
    let per_lifetime = (fetches - apps) as f64 / apps as f64 / (seconds / lifetime);
    let per_day = per_lifetime * DAY as f64 / REAL_LIFETIME as f64;
    let servers = SERVERS as f64;
    let peak = proc_fs::peak("self").unwrap();
    let caches = (SERVERS as u64 * apps) as f64;
    println!("{apps} apps, {SERVERS} servers, {seconds} s, tokens with a lifetime of {lifetime} s");
    println!(
        "calls to Weixin        {fetches}: {per_lifetime:.2} per lifetime, {per_day:.1} per app and day"
    );
    println!(
        "store operations       {operations}: {:.0} per second and server",
        operations as f64 / seconds / servers
    );
    println!("reads                  {reads}, each of a valid token");
    println!(
        "peak resident memory   {:.0} MiB, of which {:.0} MiB before the token caches",
        mib(peak),
        mib(before)
    );
    println!("per token cache        {:.1} KiB", (peak - before) as f64 / caches);
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
