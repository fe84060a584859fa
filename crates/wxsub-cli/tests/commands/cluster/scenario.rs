//! All faults of three servers around one Redis, one after the other, and another program that fetches tokens.

use std::io::Read;
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use wxsub_core::clock::{Clock, MonotonicInstant, SystemClock};
use wxsub_sandbox::Fault;
use wxsub_test_support::Redis;

use super::super::served::Served;
use super::super::weixin::{APPID, CLASSIC_TOKEN, SECRET};
use super::node::{Setup, Wire, report};
use super::traffic::{Call, NoResponse, Seen, pause, seconds};

/// The prefix of the keys.
pub(super) const PREFIX: &str = "team-1";

/// The name of an event, the fewest token requests it can cost, and how to run it.
type Event = (&'static str, u64, fn(&mut Scenario));

/// The events in order. Each may cost one more request than the fewest.
pub(super) const EVENTS: [Event; 10] = [
    // One server fetches, two adopt.
    ("three servers start", 1, Scenario::start_up),
    // One whose response was lost, and one of the peer that took over.
    ("the lease holder is killed in its fetch", 2, Scenario::killed_during_its_fetch),
    // One for the report meanwhile.
    ("Redis is killed, and is back empty after 30 s", 1, Scenario::redis_comes_back_empty),
    // One for the report meanwhile.
    ("Redis stands still for 5 s", 1, Scenario::redis_is_suspended),
    // One for the report meanwhile.
    ("Redis is read-only for 5 s", 1, Scenario::redis_is_read_only),
    // As with the killed server.
    ("the lease holder is stopped in its fetch", 2, Scenario::suspended_during_its_fetch),
    // One server fetches, the other adopts.
    ("external invalidation while Redis is slow", 1, Scenario::invalidated_while_redis_is_slow),
    // The fetched token is stored later.
    ("the wire to Redis stalls between fetching and storing", 1, Scenario::stalled_before_storing),
    // One without lease, one under the lease, and one that settles which token is valid.
    ("external invalidation while one server is cut off", 3, Scenario::invalidated_while_one_is_cut_off),
    // The server adopts the stored token. If it reads its late response first, one more fetch settles which token is valid.
    ("the one that was stopped goes on after 60 s", 0, Scenario::resumes),
];

/// The server that is killed, and cut off from Redis for a while.
const FIRST: usize = 0;
/// The server that takes over.
const SECOND: usize = 1;
/// The server that is suspended.
const THIRD: usize = 2;

/// The result of the scenario.
pub(super) struct ScenarioResult {
    pub(super) seen: Seen,
    /// The logs of the servers.
    pub(super) logged: String,
    /// The commands that Redis received.
    pub(super) commands: String,
}

pub(super) struct Scenario {
    pub(super) setup: Setup,
    log_capture: LogCapture,
    clock: SystemClock,
    /// The token that all servers held before.
    before: u64,
    /// The number of token requests before the event.
    fetches_before: u64,
    stopped: Option<Stopped>,
}

/// The state of the suspended server.
struct Stopped {
    since: MonotonicInstant,
    /// A client that waits for its response.
    reporting: JoinHandle<Result<u16, NoResponse>>,
    /// How many tokens it had adopted.
    adopted: u64,
}

impl Scenario {
    pub(super) fn begin(store: &str) -> Self {
        let (redis, mut log_capture) = (Redis::start(), LogCapture::default());
        log_capture.record(&redis);
        let setup = Setup::start("scenario", redis, &format!("prefix = \"{PREFIX}\"\n{store}"));
        Self { setup, log_capture, clock: SystemClock::new(), before: 0, fetches_before: 0, stopped: None }
    }

    /// Runs one event. Returns the number of token requests it cost.
    pub(super) fn run(&mut self, ideal: u64, event: fn(&mut Self)) -> u64 {
        event(self);
        let mut after = self.before;
        self.setup.wait_for("what it costs, and a new token at all servers", || {
            after = self.setup.agree();
            self.setup.fetches() >= self.fetches_before + ideal && (after > self.before || ideal == 0)
        });
        let cost = self.setup.fetches() - self.fetches_before;
        (self.before, self.fetches_before) = (after, self.fetches_before + cost);
        cost
    }

    /// Ends the scenario when all requests are done.
    pub(super) fn end(self) -> ScenarioResult {
        let Self { mut setup, log_capture, .. } = self;
        let seen = setup.traffic.end();
        seen.check(&setup.weixin.sandbox);
        let logged = setup.nodes.iter().map(Served::log).collect();
        setup.redis.kill();
        ScenarioResult { seen, logged, commands: log_capture.commands() }
    }

    fn address(&self, server: usize) -> &str {
        self.setup.nodes[server].address()
    }

    /// Without a lease, a report is resolved at once and handled later. The metrics count it.
    fn report_without_effect(&self, server: usize) {
        let line = format!("wxsub_token_reports_total{{appid=\"{APPID}\",result=\"no_token\"}}");
        let counted = self.setup.nodes[server].metric(&line);
        assert_eq!(self.setup.report(server), 503);
        assert_eq!(self.setup.nodes[server].metric(&line), counted + 1);
    }

    /// Makes this server fetch with a response this late, and waits until the request has arrived.
    fn fetching(&self, server: usize, late: Duration) -> JoinHandle<Result<u16, NoResponse>> {
        let before = self.setup.fetches();
        self.setup.weixin.fault(CLASSIC_TOKEN, Fault::Delay(late));
        let start = || {
            let address = self.address(server).to_owned();
            spawn(move || report(&address))
        };
        let mut reporting = start();
        self.setup.wait_for("the fetch", || {
            let fetched = self.setup.fetches() > before;
            if !fetched && reporting.is_finished() {
                // The reported token had just been replaced.
                reporting = start();
            }
            fetched
        });
        assert!(self.is_leased());
        reporting
    }

    fn is_leased(&self) -> bool {
        self.setup.redis.ask(&format!("GET {PREFIX}:{{{APPID}}}:lease")).starts_with("$16\r\n")
    }

    fn is_away(&self, server: usize) -> bool {
        self.setup.nodes[server].metric(&format!("wxsub_token_store_up{{appid=\"{APPID}\"}}")) == 0
    }

    fn fetched(&self, server: usize, result: &str) -> u64 {
        let line = format!("wxsub_token_fetches_total{{appid=\"{APPID}\",result=\"{result}\"}}");
        self.setup.nodes[server].metric(&line)
    }

    fn start_up(&mut self) {}

    fn killed_during_its_fetch(&mut self) {
        let reporting = self.fetching(FIRST, seconds(60));
        self.setup.kill(FIRST);
        assert_eq!(reporting.join().unwrap(), Err(NoResponse::MaybeSent));
        assert!(self.is_leased(), "the dead hold it still");
        let others = || self.fetched(SECOND, "issued") + self.fetched(THIRD, "issued");
        let issued = others();
        assert_eq!(self.setup.report(SECOND), 200);
        // The report has its answer as soon as the token is stored. The peer that fetched it counts it when its attempt ends.
        self.setup.wait_for("the count of the fetch", || others() > issued);
        assert_eq!(others(), issued + 1);
        self.setup.start_again(FIRST);
    }

    fn redis_comes_back_empty(&mut self) {
        self.setup.redis.kill();
        self.report_without_effect(SECOND);
        assert!(self.is_away(SECOND));
        pause(seconds(30));
        self.setup.redis.start_again();
        self.log_capture.record(&self.setup.redis);
        self.setup.wait_for("Redis", || !self.is_away(SECOND));
    }

    fn redis_is_suspended(&mut self) {
        self.setup.redis.signal("STOP");
        self.report_without_effect(THIRD);
        assert!(self.is_away(THIRD));
        pause(seconds(5));
        self.setup.redis.signal("CONT");
        self.setup.wait_for("Redis", || !self.is_away(THIRD));
    }

    fn redis_is_read_only(&mut self) {
        // A replica without a master.
        assert!(self.setup.redis.ask("REPLICAOF 127.0.0.1 1").starts_with("+OK"));
        self.report_without_effect(THIRD);
        pause(seconds(5));
        assert!(self.setup.redis.ask("REPLICAOF NO ONE").starts_with("+OK"));
    }

    fn suspended_during_its_fetch(&mut self) {
        let reporting = self.fetching(THIRD, seconds(30));
        let adopted = self.fetched(THIRD, "adopted");
        self.setup.stop(THIRD);
        self.stopped = Some(Stopped { since: self.clock.now().mono, reporting, adopted });
        assert_eq!(self.setup.report(FIRST), 200);
    }

    fn invalidated_while_redis_is_slow(&mut self) {
        let set = |wire: Wire| self.setup.wires.iter().for_each(|it| it.set(wire));
        set(Wire::Slow(Duration::from_millis(100)));
        self.setup.invalidate_tokens();
        self.setup.wait_for("another token", || self.setup.agree() > self.before);
        set(Wire::Good);
    }

    fn stalled_before_storing(&mut self) {
        let reporting = self.fetching(FIRST, seconds(3));
        self.setup.wires[FIRST].set(Wire::Stalled);
        assert_eq!(reporting.join().unwrap(), Ok(200));
        pause(seconds(5));
        self.setup.wires[FIRST].set(Wire::Good);
    }

    fn invalidated_while_one_is_cut_off(&mut self) {
        self.setup.wires[SECOND].set(Wire::Cut);
        self.setup.invalidate_tokens();
        self.setup.wait_for("a fetch without lease", || self.fetched(SECOND, "without_lease") == 1);
        self.setup.wait_for("another token of the other", || self.setup.generation(FIRST) > self.before);
        self.setup.wires[SECOND].set(Wire::Good);
    }

    fn resumes(&mut self) {
        let Stopped { since, reporting, adopted } = self.stopped.take().unwrap();
        while self.clock.now().mono.duration_since(since) < seconds(60) {
            pause(seconds(1));
        }
        self.setup.go_on(THIRD);
        assert!(reporting.join().unwrap().is_ok());
        self.setup.wait_for("what the others have stored", || self.fetched(THIRD, "adopted") > adopted);
        self.setup.wait_for_messages(20);
    }
}

#[derive(Default)]
pub(super) struct LogCapture(Vec<JoinHandle<Vec<u8>>>);

impl LogCapture {
    /// Captures commands from now until this Redis process ends.
    pub(super) fn record(&mut self, redis: &Redis) {
        let mut monitor = redis.monitor();
        self.0.push(spawn(move || {
            let mut all = Vec::new();
            // A killed Redis resets the connection. The commands before that count.
            let _ = monitor.read_to_end(&mut all);
            all
        }));
    }

    /// The captured commands, after Redis has been killed.
    pub(super) fn commands(self) -> String {
        let pieces = self.0.into_iter().map(|recording| recording.join().unwrap());
        String::from_utf8_lossy(&pieces.collect::<Vec<_>>().concat()).into_owned()
    }
}

/// The counts of a run.
pub(super) struct FetchCounts {
    /// Token requests of our servers.
    pub(super) fetches: u64,
    /// Log lines about external invalidation.
    pub(super) named: usize,
    /// External invalidations in the metrics.
    pub(super) counted: u64,
}

/// Fetches a token with the AppSecret.
fn fetch(setup: &Setup) {
    let path = format!("/cgi-bin/token?grant_type=client_credential&appid={APPID}&secret={SECRET}");
    let call = Call { method: "GET", path: &path, body: "" };
    let (_, body) = call.at(setup.weixin.base.strip_prefix("http://").unwrap(), || false).unwrap();
    assert!(body.contains("access_token"), "{body}");
}

/// Fetches once a minute, for this many minutes. Each previous token stays valid for `overlap`.
///
/// The minutes pass at the sandbox, not at the servers. The rate limit of reports uses the clock of the servers, so only
/// five tokens may become invalid at once.
pub(super) fn fetch_every_minute(minutes: u64, overlap: Duration) -> FetchCounts {
    let setup = Setup::start("external-fetcher", Redis::start(), "");
    setup.weixin.set(|app| app.overlap = overlap);
    setup.agree();
    for _ in 0..minutes {
        fetch(&setup);
        setup.wait_for_messages(3);
        setup.agree();
        setup.weixin.sandbox.advance(Duration::from_secs(60));
    }
    let counted = setup.metric(&format!("wxsub_token_external_invalidations_total{{appid=\"{APPID}\"}}"));
    let says = |log: String| log.matches("access token invalidated externally").count();
    let named = setup.nodes.iter().map(|node| says(node.log())).sum();
    let fetches = setup.fetches() - minutes;
    setup.traffic.end().check(&setup.weixin.sandbox);
    FetchCounts { fetches, named, counted }
}
