//! Ten thousand apps on three servers in virtual time, a thousand business servers that read: what Weixin, Redis and the
//! memory have to bear. `--apps N`, `--seconds N` and `--life N` change what is played.

#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "prints what it measures; of the simulated cluster it needs a part"
)]

#[path = "../simulation/node_clock.rs"]
mod node_clock;
#[path = "../benches/numbers/proc_fs.rs"]
mod proc_fs;
mod redis;
mod store_faults;
mod store_link;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use wxsub_core::proto::AppId;
use wxsub_core::proto::codec::RawReply;
use wxsub_core::token::{Keeper, TokenSource};
use wxsub_core::transport::{Outgoing, Transport};
use wxsub_sandbox::{AppSettings, Sandbox};

use node_clock::MachineClock;
use redis::Redis;
use store_link::StoreLink;

const SERVERS: usize = 3;
const BUSINESS_SERVERS: u64 = 1_000;
const DAY: u64 = 24 * 3600;
/// How long Weixin's tokens live in truth.
const REAL_LIFE: u64 = 7200;

struct Played {
    apps: u64,
    seconds: u64,
    life: u64,
}

fn main() {
    let played = Played {
        apps: argument("--apps", 10_000),
        seconds: argument("--seconds", 1_200),
        life: argument("--life", 600),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(play(&played));
}

fn argument(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().map_or(default, |number| number.parse().unwrap())
}

async fn play(played: &Played) {
    let mut dice = Rng::with_seed(1);
    let clock = Arc::new(MachineClock::new());
    let truth = Arc::clone(&clock);
    let sandbox = Sandbox::with_clock(Arc::new(move || truth.truth()));
    let redis = Arc::new(Redis::new(Arc::clone(&clock), false));
    let apps: Vec<AppId> = (0..played.apps).map(|n| format!("wx{n:016x}").parse().unwrap()).collect();
    for app in &apps {
        sandbox.add_app(app.clone(), "play-money".parse().unwrap(), []);
        let mut settings = AppSettings::default();
        settings.token_lifetime = Duration::from_secs(played.life);
        sandbox.configure(app, settings).unwrap();
    }
    let before = proc_fs::resident("self").unwrap();
    let servers: Vec<Vec<Keeper>> =
        (0..SERVERS).map(|number| server(number, &apps, &sandbox, &redis, &mut dice)).collect();
    for keepers in &servers {
        for keeper in keepers {
            let keeper = keeper.clone();
            tokio::spawn(async move { drop(keeper.token().await) });
        }
    }
    let servers = Arc::new(servers);
    let reads = Arc::new(AtomicU64::new(0));
    for _ in 0..BUSINESS_SERVERS {
        let (servers, reads, clock, mut dice) =
            (Arc::clone(&servers), Arc::clone(&reads), Arc::clone(&clock), dice.fork());
        tokio::spawn(async move {
            loop {
                clock.sleep(Duration::from_millis(dice.u64(500..1_500))).await;
                let keepers = &servers[dice.usize(0..SERVERS)];
                let keeper = &keepers[dice.usize(0..keepers.len())];
                reads.fetch_add(u64::from(keeper.current().issued().is_some()), Ordering::Relaxed);
            }
        });
    }
    clock.sleep(Duration::from_secs(played.seconds)).await;
    let fetches = sandbox.event_log().request_count("/cgi-bin/token");
    report(played, fetches, redis.operations(), reads.load(Ordering::Relaxed), before);
}

/// The keepers of one server, one for each app.
fn server(
    number: usize,
    apps: &[AppId],
    sandbox: &Sandbox,
    redis: &Arc<Redis>,
    dice: &mut Rng,
) -> Vec<Keeper> {
    let clock = Arc::new(MachineClock::new());
    let store = Arc::new(StoreLink {
        server: number,
        redis: Arc::clone(redis),
        clock: Arc::clone(&clock),
        weather: Vec::new(),
        leased: Box::new(|| {}),
        dice: Mutex::new(dice.fork()),
    });
    let (weixin, travels) = (sandbox.clone(), Arc::clone(&clock));
    let transport: Arc<dyn Transport> = Arc::new(move |request: Outgoing| {
        let (weixin, travels) = (weixin.clone(), Arc::clone(&travels));
        async move {
            travels.sleep(Duration::from_millis(50)).await;
            let request = request.into_http();
            let target = request.uri().path_and_query().unwrap().to_string();
            let reply = weixin.handle(request.method().as_str(), &target, request.body()).outcome.unwrap();
            Ok(RawReply::new(reply.status, Bytes::from(reply.body)))
        }
    });
    let keeper = |app: &AppId| {
        Keeper::builder(app.clone(), "play-money".parse().unwrap(), Arc::clone(&transport))
            .clock(clock.clone())
            .store(store.clone())
            .jitter_seed(dice.u64(..))
            .build()
    };
    apps.iter().map(keeper).collect()
}

fn report(played: &Played, fetches: u64, operations: u64, reads: u64, before: u64) {
    let Played { apps, seconds, life } = *played;
    let (seconds, life) = (seconds as f64, life as f64);
    // The first token is no refresh.
    let a_life = (fetches - apps) as f64 / apps as f64 / (seconds / life);
    let a_day = a_life * DAY as f64 / REAL_LIFE as f64;
    let servers = SERVERS as f64;
    let peak = proc_fs::peak("self").unwrap();
    let keepers = (SERVERS as u64 * apps) as f64;
    println!("{apps} apps, {SERVERS} servers, {seconds} s, tokens that live {life} s");
    println!("calls to Weixin        {fetches}: {a_life:.2} for each life, {a_day:.1} for each app and day");
    println!(
        "store operations       {operations}: {:.0} a second and server",
        operations as f64 / seconds / servers
    );
    println!("reads                  {reads}, each of a usable token");
    println!(
        "peak resident memory   {:.0} MiB, of which {:.0} MiB before the keepers",
        mib(peak),
        mib(before)
    );
    println!("for each keeper        {:.1} KiB", (peak - before) as f64 / keepers);
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
