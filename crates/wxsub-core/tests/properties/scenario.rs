//! A scenario for the refresh state: a scripted Weixin, clocks that jump, callers that request and report tokens.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use wxsub_core::clock::{ClockReading, MonotonicInstant, UnixMillis};
use wxsub_core::proto::codec::DecodeError;
use wxsub_core::proto::{AccessToken, ApiError, ErrCode};
use wxsub_core::store::StoredToken;
use wxsub_core::token::{
    Action, CachedToken, Event, Evidence, FetchOutcome, FetchRequest, Generation, RefreshMode, RefreshState,
    ReportOutcome, TokenEndpoint, TokenErrorKind, TokenEvent, TokenStatus,
};
use wxsub_core::transport::{TransportError, TransportErrorKind};

/// The end of a fetch, this long after its request.
#[derive(Debug, Clone)]
pub struct Fate {
    pub takes: Duration,
    pub end: End,
}

#[derive(Debug, Clone)]
pub enum End {
    /// A new token of this lifetime.
    Issue(Duration),
    /// The last token again.
    Same,
    Refuse(i64),
    /// The response is lost.
    Lose,
    NotSent,
    Odd,
}

/// An operation.
#[derive(Debug, Clone)]
pub enum Op {
    Pass(Duration),
    Want,
    Report(Evidence),
    /// A report of a token that was replaced long ago.
    ReportOld,
    WallForward(Duration),
    WallBack(Duration),
}

pub struct World {
    pub lifecycle: RefreshState,
    pub now: ClockReading,
    pub fates: VecDeque<Fate>,
    /// The end of fetches when the script is over.
    pub otherwise: Fate,
    pub in_flight: Option<(MonotonicInstant, ClockReading, FetchRequest, End)>,
    pub last_issued: Option<Arc<CachedToken>>,
    /// Every fetch: its time and its request.
    pub fetches: Vec<(ClockReading, RefreshMode)>,
    pub notices: Vec<(ClockReading, TokenEvent)>,
    pub rejected: HashSet<Generation>,
    issued: u64,
}

pub const DAY: Duration = Duration::from_secs(86_400);

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn issue(life: u64) -> Fate {
    Fate { takes: Duration::from_millis(50), end: End::Issue(seconds(life)) }
}

pub fn at_once(end: End) -> Fate {
    Fate { takes: Duration::from_millis(50), end }
}

/// Any end of a fetch.
pub fn ends() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => (1_u64..=7200).prop_map(|life| End::Issue(seconds(life))),
        1 => Just(End::Same),
        6 => setbacks(),
    ]
}

/// Any failed end of a fetch.
pub fn setbacks() -> impl Strategy<Value = End> {
    prop_oneof![
        2 => prop_oneof![Just(-1), Just(40125), Just(40164), Just(45009), Just(45011), any::<i64>()]
            .prop_filter("0 is no refusal", |code| *code != 0)
            .prop_map(End::Refuse),
        2 => Just(End::Lose),
        1 => Just(End::NotSent),
        1 => Just(End::Odd),
    ]
}

pub fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate =
        (0_u64..20_000, ends()).prop_map(|(millis, end)| Fate { takes: Duration::from_millis(millis), end });
    prop::collection::vec(fate, 0..24)
}

pub fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0_u64..4_000_000).prop_map(|millis| Op::Pass(Duration::from_millis(millis))),
        3 => Just(Op::Want),
        2 => Just(Op::Report(Evidence::Observed)),
        2 => Just(Op::Report(Evidence::Reported)),
        1 => Just(Op::ReportOld),
        1 => (1_u64..200_000).prop_map(|s| Op::WallForward(seconds(s))),
        1 => (1_u64..200_000).prop_map(|s| Op::WallBack(seconds(s))),
    ];
    prop::collection::vec(op, 1..40)
}

impl World {
    pub fn new(endpoint: TokenEndpoint, seed: u64, fates: Vec<Fate>) -> Self {
        Self {
            lifecycle: RefreshState::new(endpoint.behavior(), seed),
            now: ClockReading::new(
                MonotonicInstant::from_origin(seconds(5_000_000)),
                UnixMillis::new(1_780_000_000_000),
            ),
            fates: fates.into(),
            otherwise: issue(7200),
            in_flight: None,
            last_issued: None,
            fetches: Vec::new(),
            notices: Vec::new(),
            rejected: HashSet::new(),
            issued: 0,
        }
    }

    /// A scenario with a token of this lifetime.
    pub fn holding(endpoint: TokenEndpoint, seed: u64, life: u64) -> Self {
        let mut world = Self::new(endpoint, seed, vec![issue(life)]);
        world.tell(Event::TokenRequested);
        world.pass(seconds(1));
        assert!(world.held().is_some());
        world
    }

    pub fn status(&self) -> TokenStatus {
        self.lifecycle.status()
    }

    /// The store holds a token that another process asked for at `asked`.
    pub fn load(&mut self, asked: UnixMillis, life: Duration) {
        let generation = Generation::default().next(self.now.wall);
        let stored = StoredToken::new(AccessToken::new("STORED").unwrap(), generation, asked, life);
        let issued = Arc::new(stored.to_cached(self.now));
        self.tell(Event::StoreLoaded { token: issued, in_doubt_since: None });
    }

    /// The token that callers get now.
    pub fn held(&self) -> Option<Arc<CachedToken>> {
        self.status().usable(self.now).cloned()
    }

    pub fn do_op(&mut self, op: &Op) -> Option<ReportOutcome> {
        let generation = self.held().map(|issued| issued.generation());
        match op {
            Op::Pass(time) => self.pass(*time),
            Op::Want => drop(self.tell(Event::TokenRequested)),
            Op::Report(evidence) => return self.report(generation?, *evidence),
            Op::ReportOld => return self.report(Generation::new(generation?.get() - 1), Evidence::Reported),
            Op::WallForward(by) => self.now.wall = self.now.wall + *by,
            Op::WallBack(by) => self.now.wall = self.now.wall.before(*by),
        }
        None
    }

    pub fn report(&mut self, generation: Generation, evidence: Evidence) -> Option<ReportOutcome> {
        if evidence == Evidence::Observed && self.held().is_some_and(|held| held.generation() == generation) {
            self.rejected.insert(generation);
        }
        self.tell(Event::InvalidTokenReported { generation, evidence })
    }

    /// Advances time, and sends timer events when they are due.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        for _ in 0..1_000_000 {
            let finish = self.in_flight.as_ref().map(|(at, ..)| *at);
            let timer = self.lifecycle.poll_timeout(self.now);
            let next = [finish, timer].into_iter().flatten().min().filter(|at| *at <= end);
            let Some(next) = next else {
                self.now = self.now + end.duration_since(self.now.mono);
                return;
            };
            self.now = self.now + next.duration_since(self.now.mono);
            if finish == Some(next) { self.finish() } else { drop(self.tell(Event::Timer)) }
        }
        panic!("a hot loop: a million wake-ups in {time:?}");
    }

    pub fn finish(&mut self) {
        let Some((_, asked, order, end)) = self.in_flight.take() else { return };
        let outcome = self.outcome(asked, &order, &end);
        self.tell(Event::FetchFinished { attempt: order.attempt, outcome });
    }

    fn outcome(&mut self, asked: ClockReading, order: &FetchRequest, end: &End) -> FetchOutcome {
        let failure = match end {
            End::Issue(life) => {
                self.issued += 1;
                return self.hand_out(&format!("T{}", self.issued), asked, order, *life);
            }
            End::Same => match self.last_issued.clone() {
                Some(last) if last.remaining(asked) < seconds(1) => {
                    self.issued += 1;
                    return self.hand_out(&format!("T{}", self.issued), asked, order, seconds(7200));
                }
                Some(last) => {
                    let generation =
                        if order.known >= last.generation() { last.generation() } else { order.known };
                    let left = last.remaining(asked);
                    let same = CachedToken::new(last.token().clone(), generation, asked, left);
                    return FetchOutcome::Issued(Arc::new(same));
                }
                None => TokenErrorKind::TimedOut,
            },
            End::Refuse(code) => TokenErrorKind::Refused(ApiError::new(ErrCode::new(*code), "no")),
            End::Lose => {
                TokenErrorKind::Transport(TransportError::maybe_sent(TransportErrorKind::Broken, "x"))
            }
            End::NotSent => {
                TokenErrorKind::Transport(TransportError::before_sending(TransportErrorKind::Connect, "x"))
            }
            End::Odd => TokenErrorKind::Unreadable(DecodeError::HtmlBody),
        };
        FetchOutcome::Failed(failure)
    }

    fn hand_out(
        &mut self,
        text: &str,
        asked: ClockReading,
        order: &FetchRequest,
        life: Duration,
    ) -> FetchOutcome {
        let token = AccessToken::new(text).unwrap();
        let issued = Arc::new(CachedToken::new(token, order.known.next(asked.wall), asked, life));
        self.last_issued = Some(Arc::clone(&issued));
        FetchOutcome::Issued(issued)
    }

    /// Handles an event, and checks what must hold at every step.
    pub fn tell(&mut self, event: Event) -> Option<ReportOutcome> {
        let mut answer = None;
        for command in self.lifecycle.handle_event(self.now, event) {
            match command {
                Action::Fetch(order) => self.start(order),
                Action::Emit(notice) => self.notices.push((self.now, notice)),
                Action::ResolveReport(verdict) => {
                    assert!(answer.replace(verdict).is_none(), "two answers to one report");
                }
            }
        }
        assert_eq!(self.status().fetching, self.in_flight.is_some());
        answer
    }

    fn start(&mut self, order: FetchRequest) {
        assert!(self.in_flight.is_none(), "promise 3: two fetches at a time");
        self.fetches.push((self.now, order.mode));
        let Fate { takes, end } = self.fates.pop_front().unwrap_or_else(|| self.otherwise.clone());
        let (takes, end) = if takes > order.timeout { (order.timeout, End::Lose) } else { (takes, end) };
        self.in_flight = Some((self.now.mono + takes, self.now, order, end));
    }

    pub fn count(&self, wanted: impl Fn(&TokenEvent) -> bool) -> usize {
        self.notices.iter().filter(|(_, notice)| wanted(notice)).count()
    }
}
