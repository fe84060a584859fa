//! A scenario for the refresh state: a scripted Weixin, clocks that jump, callers that request and report tokens.

use std::collections::VecDeque;
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
pub struct PlannedFetch {
    pub duration: Duration,
    pub end: FetchEnd,
}

#[derive(Debug, Clone)]
pub enum FetchEnd {
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
    Advance(Duration),
    Request,
    Report(Evidence),
    /// A report of a token that was replaced long ago.
    ReportOld,
    WallForward(Duration),
    WallBack(Duration),
}

pub struct Scenario {
    pub state: RefreshState,
    pub now: ClockReading,
    pub planned: VecDeque<PlannedFetch>,
    /// The end of fetches when the script is over.
    pub default_fetch: PlannedFetch,
    pub in_flight: Option<(MonotonicInstant, ClockReading, FetchRequest, FetchEnd)>,
    pub last_issued: Option<Arc<CachedToken>>,
    /// Every fetch: its time and its request.
    pub fetches: Vec<(ClockReading, RefreshMode)>,
    pub events: Vec<(ClockReading, TokenEvent)>,
    issued: u64,
}

pub const DAY: Duration = Duration::from_secs(86_400);

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn issue_token(lifetime: u64) -> PlannedFetch {
    PlannedFetch { duration: Duration::from_millis(50), end: FetchEnd::Issue(seconds(lifetime)) }
}

pub fn quick_fetch(end: FetchEnd) -> PlannedFetch {
    PlannedFetch { duration: Duration::from_millis(50), end }
}

/// Any end of a fetch.
pub fn fetch_ends() -> impl Strategy<Value = FetchEnd> {
    prop_oneof![
        4 => (1_u64..=7200).prop_map(|lifetime| FetchEnd::Issue(seconds(lifetime))),
        1 => Just(FetchEnd::Same),
        6 => failed_ends(),
    ]
}

/// Any failed end of a fetch.
pub fn failed_ends() -> impl Strategy<Value = FetchEnd> {
    prop_oneof![
        2 => prop_oneof![Just(-1), Just(40125), Just(40164), Just(45009), Just(45011), any::<i64>()]
            .prop_filter("0 is no refusal", |code| *code != 0)
            .prop_map(FetchEnd::Refuse),
        2 => Just(FetchEnd::Lose),
        1 => Just(FetchEnd::NotSent),
        1 => Just(FetchEnd::Odd),
    ]
}

pub fn planned_fetches() -> impl Strategy<Value = Vec<PlannedFetch>> {
    let fetch = (0_u64..20_000, fetch_ends())
        .prop_map(|(millis, end)| PlannedFetch { duration: Duration::from_millis(millis), end });
    prop::collection::vec(fetch, 0..24)
}

pub fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0_u64..4_000_000).prop_map(|millis| Op::Advance(Duration::from_millis(millis))),
        3 => Just(Op::Request),
        2 => Just(Op::Report(Evidence::Observed)),
        2 => Just(Op::Report(Evidence::Reported)),
        1 => Just(Op::ReportOld),
        1 => (1_u64..200_000).prop_map(|s| Op::WallForward(seconds(s))),
        1 => (1_u64..200_000).prop_map(|s| Op::WallBack(seconds(s))),
    ];
    prop::collection::vec(op, 1..40)
}

impl Scenario {
    pub fn new(endpoint: TokenEndpoint, seed: u64, planned: Vec<PlannedFetch>) -> Self {
        Self {
            state: RefreshState::new(endpoint.behavior(), seed),
            now: ClockReading::new(
                MonotonicInstant::from_origin(seconds(5_000_000)),
                UnixMillis::new(1_780_000_000_000),
            ),
            planned: planned.into(),
            default_fetch: issue_token(7200),
            in_flight: None,
            last_issued: None,
            fetches: Vec::new(),
            events: Vec::new(),
            issued: 0,
        }
    }

    /// A scenario with a token of this lifetime.
    pub fn with_token(endpoint: TokenEndpoint, seed: u64, lifetime: u64) -> Self {
        let mut scenario = Self::new(endpoint, seed, vec![issue_token(lifetime)]);
        scenario.handle(Event::TokenRequested);
        scenario.advance(seconds(1));
        assert!(scenario.current().is_some());
        scenario
    }

    pub fn status(&self) -> TokenStatus {
        self.state.status()
    }

    /// The store holds a token that a peer requested at `requested_at`.
    pub fn load_record(&mut self, requested_at: UnixMillis, lifetime: Duration) {
        let generation = Generation::default().next(self.now.wall);
        let stored =
            StoredToken::new(AccessToken::new("STORED").unwrap(), generation, requested_at, lifetime);
        let issued = Arc::new(stored.to_cached(self.now));
        self.handle(Event::StoreLoaded { token: issued, in_doubt_since: None, other_endpoint: None });
    }

    /// The token that callers get now.
    pub fn current(&self) -> Option<Arc<CachedToken>> {
        self.status().usable(self.now).cloned()
    }

    pub fn apply(&mut self, op: &Op) -> Option<ReportOutcome> {
        let generation = self.current().map(|issued| issued.generation());
        match op {
            Op::Advance(time) => self.advance(*time),
            Op::Request => drop(self.handle(Event::TokenRequested)),
            Op::Report(evidence) => return self.report(generation?, *evidence),
            Op::ReportOld => return self.report(Generation::new(generation?.get() - 1), Evidence::Reported),
            Op::WallForward(by) => self.now.wall = self.now.wall + *by,
            Op::WallBack(by) => self.now.wall = self.now.wall.before(*by),
        }
        None
    }

    pub fn report(&mut self, generation: Generation, evidence: Evidence) -> Option<ReportOutcome> {
        self.handle(Event::InvalidTokenReported { generation, evidence })
    }

    /// Advances time, and sends timer events when they are due.
    pub fn advance(&mut self, time: Duration) {
        let end = self.now.mono + time;
        for _ in 0..1_000_000 {
            let finish = self.in_flight.as_ref().map(|(at, ..)| *at);
            let timer = self.state.poll_timeout(self.now);
            let next = [finish, timer].into_iter().flatten().min().filter(|at| *at <= end);
            let Some(next) = next else {
                self.now = self.now + end.duration_since(self.now.mono);
                return;
            };
            self.now = self.now + next.duration_since(self.now.mono);
            if finish == Some(next) { self.finish() } else { drop(self.handle(Event::Timer)) }
        }
        panic!("a hot loop: a million wake-ups in {time:?}");
    }

    pub fn finish(&mut self) {
        let Some((_, requested_at, request, end)) = self.in_flight.take() else { return };
        let outcome = self.outcome(requested_at, &request, &end);
        self.handle(Event::FetchFinished { attempt: request.attempt, outcome });
    }

    fn outcome(
        &mut self,
        requested_at: ClockReading,
        request: &FetchRequest,
        end: &FetchEnd,
    ) -> FetchOutcome {
        let failure = match end {
            FetchEnd::Issue(lifetime) => return self.issue(requested_at, request, *lifetime),
            FetchEnd::Same => match self.last_issued.clone() {
                Some(last) if last.remaining(requested_at) < seconds(1) => {
                    return self.issue(requested_at, request, seconds(7200));
                }
                Some(last) => {
                    let generation =
                        if request.known >= last.generation() { last.generation() } else { request.known };
                    let left = last.remaining(requested_at);
                    let same = CachedToken::new(last.token().clone(), generation, requested_at, left);
                    return FetchOutcome::Issued(Arc::new(same));
                }
                None => TokenErrorKind::TimedOut,
            },
            FetchEnd::Refuse(code) => TokenErrorKind::Refused(ApiError::new(ErrCode::new(*code), "no")),
            FetchEnd::Lose => {
                TokenErrorKind::Transport(TransportError::maybe_sent(TransportErrorKind::Broken, "x"))
            }
            FetchEnd::NotSent => {
                TokenErrorKind::Transport(TransportError::before_sending(TransportErrorKind::Connect, "x"))
            }
            FetchEnd::Odd => TokenErrorKind::Unreadable(DecodeError::HtmlBody),
        };
        FetchOutcome::Failed(failure)
    }

    fn issue(
        &mut self,
        requested_at: ClockReading,
        request: &FetchRequest,
        lifetime: Duration,
    ) -> FetchOutcome {
        self.issued += 1;
        let token = AccessToken::new(format!("T{}", self.issued)).unwrap();
        let issued =
            Arc::new(CachedToken::new(token, request.known.next(requested_at.wall), requested_at, lifetime));
        self.last_issued = Some(Arc::clone(&issued));
        FetchOutcome::Issued(issued)
    }

    /// Handles an event, and checks what must hold at every step.
    pub fn handle(&mut self, event: Event) -> Option<ReportOutcome> {
        let mut resolved = None;
        for action in self.state.handle_event(self.now, event) {
            match action {
                Action::Fetch(request) => self.start(request),
                Action::Emit(event) => self.events.push((self.now, event)),
                Action::ResolveReport(outcome) => {
                    assert!(resolved.replace(outcome).is_none(), "two outcomes of one report");
                }
            }
        }
        assert_eq!(self.status().fetching, self.in_flight.is_some());
        resolved
    }

    fn start(&mut self, request: FetchRequest) {
        assert!(self.in_flight.is_none(), "promise 3: two fetches at a time");
        self.fetches.push((self.now, request.mode));
        let PlannedFetch { duration, end } =
            self.planned.pop_front().unwrap_or_else(|| self.default_fetch.clone());
        let (duration, end) =
            if duration > request.timeout { (request.timeout, FetchEnd::Lose) } else { (duration, end) };
        self.in_flight = Some((self.now.mono + duration, self.now, request, end));
    }

    pub fn count(&self, wanted: impl Fn(&TokenEvent) -> bool) -> usize {
        self.events.iter().filter(|(_, event)| wanted(event)).count()
    }
}
