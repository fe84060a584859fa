//! Everything that can go wrong with three servers around a Redis, one thing after the other.

use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use wxsub_core::clock::{Clock, MonotonicInstant, SystemClock};
use wxsub_sandbox::Fault;

use super::super::weixin::{APPID, CLASSIC_TOKEN};
use super::call::NoAnswer;
use super::log_capture::Recorder;
use super::node::Node;
use super::proxy::Wire;
use super::server::Redis;
use super::setup::{Stage, report};
use super::traffic::Seen;
use super::{pause, seconds};

/// What the keys begin with.
pub(super) const PREFIX: &str = "team-1";

/// What happens, how many requests for a token Weixin sees of it at best, and how to play it.
type Event = (&'static str, u64, fn(&mut Story));

/// One after the other. Each may cost one request more than at best.
pub(super) const EVENTS: [Event; 10] = [
    // One fetches, two adopt.
    ("three servers start", 1, Story::start_up),
    // The one whose answer nobody read, and that of whoever took over.
    ("the lease holder is killed in its fetch", 2, Story::killed_in_its_fetch),
    // What was reported meanwhile.
    ("Redis is killed, and is back empty after 30 s", 1, Story::redis_comes_back_empty),
    // What was reported meanwhile.
    ("Redis stands still for 5 s", 1, Story::redis_stands_still),
    // What was reported meanwhile.
    ("Redis is read-only for 5 s", 1, Story::redis_is_read_only),
    // As with the one that was killed.
    ("the lease holder is stopped in its fetch", 2, Story::stopped_in_its_fetch),
    // One fetches, the other adopts.
    ("a stranger ends the token while Redis is slow", 1, Story::robbed_while_redis_is_slow),
    // What was fetched is stored later.
    ("the wire to Redis stalls between fetching and storing", 1, Story::stalled_before_storing),
    // One alone, one under the lease, and one more that settles which of the two works.
    ("a stranger ends the token while one is cut off", 3, Story::robbed_while_one_is_cut_off),
    // It adopts what is stored. If it reads its late answer first, one more settles which of the two works.
    ("the one that was stopped goes on after 60 s", 0, Story::goes_on),
];

/// The one that is killed, and cut from Redis for a while.
const FIRST: usize = 0;
/// The one that takes over.
const SECOND: usize = 1;
/// The one that is stopped.
const THIRD: usize = 2;

/// What is left of it.
pub(super) struct Ending {
    pub(super) seen: Seen,
    /// What the servers have logged.
    pub(super) logged: String,
    /// What Redis was asked.
    pub(super) asked: String,
}

pub(super) struct Story {
    pub(super) stage: Stage,
    recorder: Recorder,
    clock: SystemClock,
    /// The token that all servers held before.
    before: u64,
    /// How often Weixin had been asked for a token.
    asked: u64,
    stopped: Option<Stopped>,
}

/// What is to be known of the server that is stopped.
struct Stopped {
    since: MonotonicInstant,
    /// Whoever waits for an answer of it.
    reporting: JoinHandle<Result<u16, NoAnswer>>,
    /// How many tokens it had adopted.
    adopted: u64,
}

impl Story {
    pub(super) fn begin(store: &str) -> Self {
        let (redis, mut recorder) = (Redis::start(), Recorder::default());
        recorder.record(&redis);
        let stage = Stage::start("story", redis, &format!("prefix = \"{PREFIX}\"\n{store}"));
        Self { stage, recorder, clock: SystemClock::new(), before: 0, asked: 0, stopped: None }
    }

    /// Plays one of the events; how many requests for a token it cost.
    pub(super) fn play(&mut self, ideal: u64, event: fn(&mut Self)) -> u64 {
        event(self);
        let mut after = self.before;
        self.stage.wait_for("what it costs, and a new token at all servers", || {
            after = self.stage.agree();
            self.stage.fetches() >= self.asked + ideal && (after > self.before || ideal == 0)
        });
        let cost = self.stage.fetches() - self.asked;
        (self.before, self.asked) = (after, self.asked + cost);
        cost
    }

    /// Ends it, once everything that is under way is done.
    pub(super) fn end(self) -> Ending {
        let Self { mut stage, recorder, .. } = self;
        let seen = stage.traffic.end();
        seen.check(&stage.weixin.sandbox);
        let logged = stage.nodes.iter().map(Node::log).collect();
        stage.redis.kill();
        Ending { seen, logged, asked: recorder.play() }
    }

    fn address(&self, server: usize) -> &str {
        &self.stage.nodes[server].address
    }

    fn report(&self, server: usize) -> u16 {
        report(self.address(server), &self.stage.key).unwrap()
    }

    /// While Redis gives no lease, a report is answered at once and looked after later; the metrics count it.
    fn report_in_vain(&self, server: usize) {
        let line = format!("wxsub_token_reports_total{{appid=\"{APPID}\",result=\"no_token\"}}");
        let counted = self.stage.nodes[server].metric(&line);
        assert_eq!(self.report(server), 503);
        assert_eq!(self.stage.nodes[server].metric(&line), counted + 1);
    }

    /// Lets this server fetch, with an answer that comes this late, and waits until Weixin has been asked.
    fn fetching(&self, server: usize, late: Duration) -> JoinHandle<Result<u16, NoAnswer>> {
        let asked = self.stage.fetches();
        self.stage.weixin.fault(CLASSIC_TOKEN, Fault::Delay(late));
        let start = || {
            let (address, key) = (self.address(server).to_owned(), self.stage.key.clone());
            spawn(move || report(&address, &key))
        };
        let mut reporting = start();
        self.stage.wait_for("the fetch", || {
            let fetched = self.stage.fetches() > asked;
            if !fetched && reporting.is_finished() {
                // The token it named had just been replaced.
                reporting = start();
            }
            fetched
        });
        assert!(self.is_leased());
        reporting
    }

    fn is_leased(&self) -> bool {
        self.stage.redis.ask(&format!("GET {PREFIX}:{{{APPID}}}:lease")).starts_with("$16\r\n")
    }

    fn is_away(&self, server: usize) -> bool {
        self.stage.nodes[server].metric(&format!("wxsub_token_store_up{{appid=\"{APPID}\"}}")) == 0
    }

    fn fetched(&self, server: usize, result: &str) -> u64 {
        let line = format!("wxsub_token_fetches_total{{appid=\"{APPID}\",result=\"{result}\"}}");
        self.stage.nodes[server].metric(&line)
    }

    fn start_up(&mut self) {}

    fn killed_in_its_fetch(&mut self) {
        let reporting = self.fetching(FIRST, seconds(60));
        self.stage.kill(FIRST);
        assert_eq!(reporting.join().unwrap(), Err(NoAnswer::MaybeSent));
        assert!(self.is_leased(), "the dead hold it still");
        let others = || self.fetched(SECOND, "issued") + self.fetched(THIRD, "issued");
        let issued = others();
        assert_eq!(self.report(SECOND), 200);
        assert_eq!(others(), issued + 1);
        self.stage.start_again(FIRST);
    }

    fn redis_comes_back_empty(&mut self) {
        self.stage.redis.kill();
        self.report_in_vain(SECOND);
        assert!(self.is_away(SECOND));
        pause(seconds(30));
        self.stage.redis.start_again();
        self.recorder.record(&self.stage.redis);
        self.stage.wait_for("Redis", || !self.is_away(SECOND));
    }

    fn redis_stands_still(&mut self) {
        self.stage.redis.signal("-STOP");
        self.report_in_vain(THIRD);
        assert!(self.is_away(THIRD));
        pause(seconds(5));
        self.stage.redis.signal("-CONT");
        self.stage.wait_for("Redis", || !self.is_away(THIRD));
    }

    fn redis_is_read_only(&mut self) {
        // The replica of a master that is not there.
        assert!(self.stage.redis.ask("REPLICAOF 127.0.0.1 1").starts_with("+OK"));
        self.report_in_vain(THIRD);
        pause(seconds(5));
        assert!(self.stage.redis.ask("REPLICAOF NO ONE").starts_with("+OK"));
    }

    fn stopped_in_its_fetch(&mut self) {
        let reporting = self.fetching(THIRD, seconds(5));
        let adopted = self.fetched(THIRD, "adopted");
        self.stage.stop(THIRD);
        self.stopped = Some(Stopped { since: self.clock.now().mono, reporting, adopted });
        assert_eq!(self.report(FIRST), 200);
    }

    fn robbed_while_redis_is_slow(&mut self) {
        let set = |wire: Wire| self.stage.wires.iter().for_each(|it| it.set(wire));
        set(Wire::Slow(Duration::from_millis(100)));
        self.stage.stolen();
        self.stage.wait_for("another token", || self.stage.agree() > self.before);
        set(Wire::Good);
    }

    fn stalled_before_storing(&mut self) {
        let reporting = self.fetching(FIRST, seconds(3));
        self.stage.wires[FIRST].set(Wire::Stalled);
        assert_eq!(reporting.join().unwrap(), Ok(200));
        pause(seconds(5));
        self.stage.wires[FIRST].set(Wire::Good);
    }

    fn robbed_while_one_is_cut_off(&mut self) {
        self.stage.wires[SECOND].set(Wire::Cut);
        self.stage.stolen();
        self.stage.wait_for("a fetch alone", || self.fetched(SECOND, "without_lease") == 1);
        self.stage.wait_for("another token of the other", || self.stage.generation(FIRST) > self.before);
        self.stage.wires[SECOND].set(Wire::Good);
    }

    fn goes_on(&mut self) {
        let Stopped { since, reporting, adopted } = self.stopped.take().unwrap();
        while self.clock.now().mono.duration_since(since) < seconds(60) {
            pause(seconds(1));
        }
        self.stage.go_on(THIRD);
        assert!(reporting.join().unwrap().is_ok());
        self.stage.wait_for("what the others have stored", || self.fetched(THIRD, "adopted") > adopted);
        self.stage.wait_for_messages(20);
    }
}
