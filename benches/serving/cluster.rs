//! Chapters with several servers around one Redis: operations, idle, takeover, spreading.

use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use wxsub_benches::{Arguments, Goal, Row, Unit};
use wxsub_sandbox::Fault;
use wxsub_test_support::{Redis, proc_fs};

use crate::served::{Folder, Served, Setup, TOKEN, TWO_HOURS, Weixin, read_response};

/// Maximum time of a wait.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// A server is idle when it asks Redis at most [`MAX_IDLE_SCRIPTS`] times in this time.
const IDLE_WINDOW: Duration = Duration::from_secs(4);

const MAX_IDLE_SCRIPTS: f64 = 8.0;

/// Starts servers that share a Redis.
pub(crate) struct Cluster<'a> {
    pub(crate) arguments: &'a Arguments,
    pub(crate) folder: &'a Folder,
    pub(crate) name: String,
    pub(crate) apps: usize,
    pub(crate) weixin: Weixin,
    /// Several clusters can share a Redis, each with its prefix.
    redis: String,
}

impl<'a> Cluster<'a> {
    pub(crate) fn new(
        arguments: &'a Arguments,
        folder: &'a Folder,
        redis: &Redis,
        name: String,
        apps: usize,
    ) -> Self {
        let redis = format!("[store]\nredis = \"{}\"\nprefix = \"{name}\"\n", redis.address());
        Self { arguments, folder, name, apps, weixin: Weixin::with(apps, TWO_HOURS), redis }
    }

    /// Starts one more server, without waiting for tokens.
    pub(crate) fn start(&self) -> Served {
        let (top, sections) = ("audit = \"off\"".to_owned(), self.redis.clone());
        let setup = Setup { name: &self.name, weixin: &self.weixin.base, apps: self.apps, top, sections };
        setup.start(self.arguments, self.folder)
    }

    /// Starts three servers and waits until each has all tokens.
    pub(crate) fn three(&self) -> [Served; 3] {
        let servers = [self.start(), self.start(), self.start()];
        for app in 0..self.apps {
            let first = servers[0].generation(app);
            wait(|| servers.iter().all(|server| server.generation(app) == first));
        }
        servers
    }
}

/// Waits for a condition. Returns how long it took.
pub(crate) fn wait(mut so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < WAIT_TIMEOUT, "the condition did not come true");
        sleep(Duration::from_millis(5));
    }
    began.elapsed()
}

/// Counts the commands to Redis of a server without requests.
pub(crate) fn print_operations(arguments: &Arguments, folder: &Folder) {
    let sizes = [1, 100, 1000, 10_000];
    let servers = sizes.map(|apps| {
        let redis = Redis::start();
        let cluster = Cluster::new(arguments, folder, &redis, format!("operations-{apps}"), apps);
        let server = cluster.start();
        wait(|| server.holding() == apps);
        // The server still reads the records that it has just written.
        wait(|| {
            let before = Asked::of(&redis);
            sleep(IDLE_WINDOW);
            Asked::of(&redis).scripts - before.scripts <= MAX_IDLE_SCRIPTS
        });
        (redis, cluster, server)
    });
    let asked = || servers.each_ref().map(|(redis, ..)| Asked::of(redis));
    let (before, began) = (asked(), Instant::now());
    sleep(Duration::from_secs(arguments.amount(60, 10)));
    let (after, minutes) = (asked(), began.elapsed().as_secs_f64() / 60.0);
    for (place, apps) in sizes.iter().enumerate() {
        let count = |what: &str, value: fn(&Asked) -> f64| {
            let number = (value(&after[place]) - value(&before[place])) / minutes;
            Row::alone(format!("{what}, {apps} apps"), Unit::Count, &[number]).print();
        };
        count("round trips to Redis per server and minute", |asked| asked.scripts);
        count("commands in these", |asked| asked.commands);
    }
}

/// Measures memory and CPU time of a server with many apps and no requests.
pub(crate) fn print_idle(arguments: &Arguments, folder: &Folder) {
    const APPS: usize = 5_000;
    let redis = Redis::start();
    let [(_one, alone), (_many, server)] = [1, APPS].map(|apps| {
        let cluster = Cluster::new(arguments, folder, &redis, format!("idle-{apps}"), apps);
        let server = cluster.start();
        wait(|| server.holding() == apps);
        (cluster, server)
    });
    sleep(Duration::from_secs(10));
    let resident = |server: &Served| proc_fs::resident(&server.process.id()).unwrap() as f64;
    let (before, began) = (proc_fs::cpu(&server.process.id()), Instant::now());
    sleep(Duration::from_secs(arguments.amount(60, 10)));
    let used = proc_fs::cpu(&server.process.id()) - before;
    let share = used.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
    let each = (resident(&server) - resident(&alone)) * 1.024 / (APPS - 1) as f64;
    let row = |what: &str, value: f64| Row::alone(format!("{what}, {APPS} apps"), Unit::Times, &[value]);
    row("resident memory per app in kB", each).worst(Goal::AtMost(10.0)).print();
    row("CPU time of an idle server in % of a core", share).print();
}

/// The commands that a Redis has received so far.
struct Asked {
    /// Scripts, one per round trip.
    scripts: f64,
    /// All commands, with those of scripts.
    commands: f64,
}

impl Asked {
    fn of(redis: &Redis) -> Self {
        let response = redis.ask("INFO commandstats");
        let calls =
            |line: &str| -> Option<f64> { line.split_once(":calls=")?.1.split(',').next()?.parse().ok() };
        let sum = |name: &str| -> f64 {
            let lines = response.lines().filter(|line| line.starts_with(name));
            lines.filter_map(calls).sum()
        };
        Self {
            scripts: sum("cmdstat_eval"),
            commands: sum("cmdstat_") - sum("cmdstat_info") - sum("cmdstat_quit"),
        }
    }
}

/// How many clusters, or refreshes, are measured at the same time. They mostly wait.
const AT_A_TIME: usize = 10;

/// Times after the kill.
#[derive(Clone, Copy)]
struct Took {
    /// Until one peer holds a new token.
    one: Duration,
    /// Until both peers do.
    both: Duration,
}

/// A server is killed during its fetch, as soon as its request has reached Weixin: then most of its lease is still to
/// come.
pub(crate) fn print_takeover(arguments: &Arguments, folder: &Folder) {
    let redis = Redis::start();
    let runs = arguments.amount(100, 6);
    let mut took = Vec::new();
    while took.len() < runs {
        let batch = took.len()..runs.min(took.len() + AT_A_TIME);
        scope(|scope| {
            let running: Vec<_> = batch
                .map(|run| {
                    let name = format!("takeover-{run}");
                    let cluster = Cluster::new(arguments, folder, &redis, name, 1);
                    let kill = if run % 2 == 0 { kill_during_refresh } else { kill_at_start };
                    scope.spawn(move || kill(&cluster))
                })
                .collect();
            took.extend(running.into_iter().map(|run| run.join().unwrap()));
        });
    }
    for (first, what) in [(0, "after a report, the token before it served meanwhile"), (1, "at a cold start")]
    {
        let row = |who: &str, value: fn(&Took) -> Duration| {
            let seconds: Vec<f64> =
                took.iter().skip(first).step_by(2).map(|took| value(took).as_secs_f64()).collect();
            let runs = seconds.len();
            let what = format!("`kill -9` during a fetch {what}, {runs} runs: until {who} a new token");
            Row::alone(what, Unit::Seconds, &seconds).worst(Goal::AtMost(10.0)).print();
        };
        row("another server holds", |took| took.one);
        row("both others hold", |took| took.both);
    }
}

/// All servers have a token. One gets a report that it is invalid, and is killed while it fetches another.
fn kill_during_refresh(cluster: &Cluster<'_>) -> Took {
    let [mut first, second, third] = cluster.three();
    let (fetches, before) = (cluster.weixin.fetches(), first.generation(0));
    cluster.weixin.sandbox.add_fault(TOKEN, 1, Fault::Hang);
    let _heard = first.report(0);
    wait(|| cluster.weixin.fetches() > fetches);
    let _heard = [second.report(0), third.report(0)];
    first.process.kill();
    until_held(&second, &third, |server| server.generation(0) > before)
}

/// No server has a token yet. The first is killed while it fetches one, and its peers have started meanwhile.
fn kill_at_start(cluster: &Cluster<'_>) -> Took {
    cluster.weixin.sandbox.add_fault(TOKEN, 1, Fault::Hang);
    let mut first = cluster.start();
    wait(|| cluster.weixin.fetches() > 0);
    let (second, third) = (cluster.start(), cluster.start());
    first.process.kill();
    // A read would wait for a token.
    until_held(&second, &third, |server| server.holding() > 0)
}

fn until_held(second: &Served, third: &Served, holds: impl Fn(&Served) -> bool) -> Took {
    let one = wait(|| holds(second) || holds(third));
    Took { one, both: one + wait(|| holds(second) && holds(third)) }
}

/// Measures how long it takes until all servers hold a new token.
pub(crate) fn print_spreading(arguments: &Arguments, folder: &Folder) {
    let (redis, apps) = (Redis::start(), arguments.amount(100, 20));
    let cluster = Cluster::new(arguments, folder, &redis, "spreading".to_owned(), apps);
    let servers = cluster.three();
    let apps: Vec<usize> = (0..apps).collect();
    let mut took = Vec::new();
    // One report per app and server stays below the rate limit.
    for turn in 0..3 {
        for some in apps.chunks(AT_A_TIME) {
            scope(|scope| {
                let servers = &servers;
                let watched: Vec<_> =
                    some.iter().map(|app| scope.spawn(move || refresh(servers, turn, *app))).collect();
                took.extend(watched.into_iter().map(|watched| watched.join().unwrap()));
            });
        }
    }
    took.sort_by(f64::total_cmp);
    let what = format!(
        "from the response to a report until all three servers hold that token, {} refreshes",
        took.len()
    );
    Row::alone(what, Unit::Millis, &took).print();
    let p99 = took[(took.len() * 99).div_ceil(100) - 1];
    Row::alone("the same, 99 of 100 within", Unit::Millis, &[p99]).print();
}

/// In nanoseconds.
fn refresh(servers: &[Served; 3], turn: usize, app: usize) -> f64 {
    let response = read_response(servers[turn].report(app));
    assert_eq!(response.status, 200, "{}", response.body);
    let generation = response.member("generation").as_u64().unwrap();
    wait(|| servers.iter().all(|server| server.generation(app) >= generation)).as_nanos() as f64
}
