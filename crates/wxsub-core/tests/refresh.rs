//! Decisions of the refresh state, event by event, beyond the thirteen promises.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use std::sync::Arc;
use std::time::Duration;

use wxsub_core::clock::{ClockReading, MonotonicInstant, UnixMillis};
use wxsub_core::store::{StoreError, StoreErrorKind};
use wxsub_core::token::{
    Action, CachedToken, Event, Evidence, FetchOutcome, FetchRequest, Generation, RefreshMode, RefreshState,
    ReportOutcome, TokenEndpoint, TokenErrorKind, TokenEvent, TokenStatus,
};
use wxsub_core::transport::{TransportError, TransportErrorKind};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn not_sent() -> FetchOutcome {
    FetchOutcome::Failed(TokenErrorKind::Transport(TransportError::before_sending(
        TransportErrorKind::Connect,
        "",
    )))
}

fn reissued() -> FetchOutcome {
    let upstream = TokenEndpoint::StableToken.behavior().name;
    FetchOutcome::Failed(TokenErrorKind::RejectedTokenReissued { upstream })
}

fn no_response() -> StoreError {
    StoreError::new(StoreErrorKind::Unreachable, "no response")
}

fn store_unavailable() -> TokenEvent {
    TokenEvent::StoreUnavailable { error: no_response() }
}

fn lost() -> FetchOutcome {
    FetchOutcome::Failed(TokenErrorKind::TimedOut)
}

/// Drives a refresh state event by event.
struct Driver {
    state: RefreshState,
    now: ClockReading,
}

impl Driver {
    fn new(endpoint: TokenEndpoint) -> Self {
        let now = ClockReading::new(
            MonotonicInstant::from_origin(seconds(5_000)),
            UnixMillis::new(1_780_000_000_000),
        );
        Self { state: RefreshState::new(endpoint.behavior(), 7), now }
    }

    fn with_token() -> Self {
        Self::with_token_of(TokenEndpoint::Token)
    }

    /// With a token of two hours that was fetched now.
    fn with_token_of(endpoint: TokenEndpoint) -> Self {
        let mut driver = Self::new(endpoint);
        let request = driver.request_token();
        driver.issue(&request, driver.token("A", &request));
        driver
    }

    /// A token of this generation that was requested now.
    fn cached(&self, text: &str, generation: Generation, lifetime: u64) -> Arc<CachedToken> {
        Arc::new(CachedToken::new(text.parse().unwrap(), generation, self.now, seconds(lifetime)))
    }

    /// The token that this attempt gets now.
    fn token(&self, text: &str, request: &FetchRequest) -> Arc<CachedToken> {
        self.cached(text, request.known.next(self.now.wall), 7200)
    }

    /// A token of a peer, whose generation is higher by this.
    fn peer_token(&self, ahead: u64) -> Arc<CachedToken> {
        self.cached("STORED", Generation::new(self.current().generation().get() + ahead), 7200)
    }

    fn handle(&mut self, event: Event) -> Vec<Action> {
        self.state.handle_event(self.now, event)
    }

    fn request_token(&mut self) -> FetchRequest {
        fetch(self.handle(Event::TokenRequested))
    }

    fn finish(&mut self, request: &FetchRequest, outcome: FetchOutcome) -> Vec<Action> {
        self.handle(Event::FetchFinished { attempt: request.attempt, outcome })
    }

    fn issue(&mut self, request: &FetchRequest, token: Arc<CachedToken>) -> Vec<Action> {
        self.finish(request, FetchOutcome::Issued(token))
    }

    fn adopt(&mut self, request: &FetchRequest, token: Arc<CachedToken>) -> Vec<Action> {
        self.finish(request, FetchOutcome::Adopted { token, in_doubt_since: None, lost_race: false })
    }

    /// Reports the current token, and starts the attempt.
    fn fetch_after(&mut self, evidence: Evidence) -> FetchRequest {
        fetch(self.report(evidence))
    }

    /// Each of these tokens replaces the one before, after a report.
    fn replace_with(&mut self, texts: &[&str]) {
        for text in texts {
            let request = self.fetch_after(Evidence::Reported);
            self.issue(&request, self.token(text, &request));
        }
    }

    fn load(&mut self, token: Arc<CachedToken>) -> Vec<Action> {
        self.handle(Event::StoreLoaded { token, in_doubt_since: None, other_endpoint: None })
    }

    /// Reports a token of long ago.
    fn report_old(&mut self) -> Vec<Action> {
        self.handle(Event::InvalidTokenReported {
            generation: Generation::new(1),
            evidence: Evidence::Observed,
        })
    }

    fn report(&mut self, evidence: Evidence) -> Vec<Action> {
        self.handle(Event::InvalidTokenReported { generation: self.current().generation(), evidence })
    }

    /// The store has the current token.
    fn read_store(&mut self, in_doubt_since: Option<UnixMillis>) {
        self.handle(Event::StoreLoaded { token: self.current(), in_doubt_since, other_endpoint: None });
    }

    fn advance(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn status(&self) -> TokenStatus {
        self.state.status()
    }

    fn current(&self) -> Arc<CachedToken> {
        self.status().current.unwrap()
    }

    fn due_in(&self) -> Duration {
        self.status().next_attempt_at.unwrap().remaining(self.now)
    }
}

fn fetch(actions: Vec<Action>) -> FetchRequest {
    let mut requests = actions.into_iter().filter_map(|action| match action {
        Action::Fetch(request) => Some(request),
        Action::ResolveReport(_) | Action::Emit(_) => None,
    });
    requests.next().unwrap()
}

fn emitted(actions: Vec<Action>) -> Vec<TokenEvent> {
    let events = actions.into_iter().filter_map(|action| match action {
        Action::Emit(event) => Some(event),
        Action::ResolveReport(_) | Action::Fetch(_) => None,
    });
    events.collect()
}

#[test]
fn no_attempt_is_planned_during_an_attempt() {
    let mut driver = Driver::new(TokenEndpoint::Token);
    driver.request_token();
    driver.handle(Event::TokenRequested);
    assert_eq!(driver.status().next_attempt_at, None);
}

#[test]
fn outcome_of_an_earlier_attempt_is_ignored() {
    let mut driver = Driver::new(TokenEndpoint::Token);
    let first = driver.request_token();
    driver.finish(&first, not_sent());
    driver.advance(seconds(1));
    fetch(driver.handle(Event::Timer));
    driver.finish(&first, not_sent());
    assert!(driver.status().fetching);
}

#[test]
fn two_fast_failures_are_silent() {
    for (elapsed, published) in [(9_999, 0), (10_000, 1)] {
        let mut driver = Driver::new(TokenEndpoint::Token);
        let first = driver.request_token();
        let failed = driver.now;
        driver.finish(&first, not_sent());
        assert!((100..=300).contains(&driver.due_in().as_millis()));
        driver.advance(driver.due_in());
        let second = fetch(driver.handle(Event::Timer));
        driver.now = failed + Duration::from_millis(elapsed);
        driver.finish(&second, not_sent());
        assert_eq!(driver.status().failure_seq, published);
        assert!(driver.due_in() >= Duration::from_millis(200));
    }
}

#[test]
fn failing_since_is_the_first_failure_after_the_last_success() {
    let mut driver = Driver::with_token();
    let request = driver.fetch_after(Evidence::Reported);
    driver.finish(&request, not_sent());
    let first = Some(driver.now.wall);
    driver.advance(seconds(1));
    let request = driver.fetch_after(Evidence::Observed);
    driver.finish(&request, not_sent());
    assert_eq!(driver.status().failing_since, first, "fetching fails since before the rejection");
    driver.advance(driver.due_in());
    let request = fetch(driver.handle(Event::Timer));
    driver.issue(&request, driver.token("B", &request));
    assert_eq!(driver.status().failing_since, None);
    driver.advance(driver.due_in());
    let request = fetch(driver.handle(Event::Timer));
    driver.finish(&request, not_sent());
    driver.advance(driver.due_in());
    let request = fetch(driver.handle(Event::Timer));
    driver.issue(&request, driver.current());
    assert_eq!(driver.status().failing_since, None, "the same token is a success, too");
}

/// No attempt has failed, so a caller waits for the next attempt, which starts at once.
#[test]
fn expiry_without_failed_attempt_is_no_failure() {
    let mut driver = Driver::with_token();
    let request = driver.fetch_after(Evidence::Reported);
    driver.issue(&request, driver.current());
    assert!(driver.status().failure.is_some(), "Weixin has no other token than the reported one");
    driver.advance(seconds(4_000));
    let request = fetch(driver.handle(Event::Timer));
    driver.advance(seconds(3_199));
    driver.finish(&request, FetchOutcome::LeaseHeldByPeer { holder: None });
    assert!(driver.due_in() > seconds(1));
    driver.advance(seconds(1));
    fetch(driver.handle(Event::Timer));
    assert!(driver.status().failure.is_none());
}

#[test]
fn expiry_after_failures_keeps_failure_and_retry_delay() {
    let mut driver = Driver::with_token();
    driver.advance(seconds(7_195));
    let request = fetch(driver.handle(Event::Timer));
    driver.finish(&request, reissued());
    let planned = driver.status().next_attempt_at;
    driver.advance(seconds(5));
    driver.handle(Event::Timer);
    let status = driver.status();
    assert!(status.current.is_none() && status.failure.is_some() && status.next_attempt_at == planned);
}

#[test]
fn older_or_expired_token_is_not_adopted() {
    let reread_delay = Duration::from_millis(100);
    for (found, is_adopted) in [(1, false), (2, true), (3, true)] {
        let mut driver = Driver::with_token();
        let request = driver.fetch_after(Evidence::Reported);
        driver.load(driver.peer_token(2));
        let known = driver.current().generation().get();
        driver.adopt(&request, driver.cached("F", Generation::new(known - 2 + found), 7200));
        assert_eq!(
            (driver.current().token().expose_secret() == "F", driver.due_in() > reread_delay),
            (is_adopted, is_adopted)
        );
    }
    for is_expired in [true, false] {
        let mut driver = Driver::with_token();
        let request = driver.fetch_after(Evidence::Observed);
        // A is the rejected token.
        let (text, lifetime) = if is_expired { ("EXPIRED", 0) } else { ("A", 7200) };
        driver.adopt(&request, driver.cached(text, request.known.next(driver.now.wall), lifetime));
        assert!(driver.status().current.is_none());
        assert_eq!(driver.due_in(), reread_delay);
    }
}

/// It is unknown which of the two Weixin issued later. With `stable_token` it does not matter.
#[test]
fn superseded_token_puts_current_token_in_doubt() {
    for (endpoint, held, in_doubt) in [
        (TokenEndpoint::Token, true, true),
        (TokenEndpoint::Token, false, false),
        (TokenEndpoint::StableToken, true, false),
    ] {
        let mut driver = Driver::with_token_of(endpoint);
        let request = driver.fetch_after(if held { Evidence::Reported } else { Evidence::Observed });
        let superseded = driver.token("B", &request);
        let newer = request.known.next(driver.now.wall + seconds(1));
        driver.load(driver.cached("C", newer, if held { 7200 } else { 0 }));
        driver.issue(&request, superseded);
        assert_eq!(driver.status().in_doubt_from.is_some(), in_doubt, "{endpoint:?}, held: {held}");
        assert!(driver.due_in() <= seconds(5));
    }
}

/// The same token again, and then no response to the forced call. Together they took long enough for an event.
#[test]
fn forced_attempt_counts_from_the_first_attempt() {
    for (duration, is_reported) in [(14, true), (2, false)] {
        let mut driver = Driver::with_token_of(TokenEndpoint::StableToken);
        let same = driver.current();
        let request = driver.fetch_after(Evidence::Observed);
        driver.advance(seconds(duration));
        let request = fetch(driver.issue(&request, same));
        assert_eq!(request.mode, RefreshMode::Forced);
        driver.advance(seconds(duration));
        driver.finish(&request, lost());
        assert_eq!(driver.status().failure.is_some(), is_reported, "{duration} s each");
    }
}

/// A peer has stored the current token again, because it was requested later than another one of a higher generation.
#[test]
fn report_counts_for_the_same_token_of_a_higher_generation() {
    for evidence in [Evidence::Observed, Evidence::Reported] {
        let mut driver = Driver::with_token();
        let held = driver.current().generation();
        driver.load(driver.cached("A", Generation::new(held.get() + 5), 7200));
        let actions = driver.handle(Event::InvalidTokenReported { generation: held, evidence });
        let resolved = actions.iter().find_map(|action| match action {
            Action::ResolveReport(ReportOutcome::Pending { after_generation, .. }) => {
                Some(after_generation.get())
            }
            _ => None,
        });
        assert_eq!(resolved, Some(held.get() + 5), "{actions:?}");
        assert_eq!(driver.status().current.is_none(), evidence == Evidence::Observed);
        fetch(actions);
    }
}

#[test]
fn report_without_token_gets_attempt_or_failure() {
    let mut driver = Driver::new(TokenEndpoint::Token);
    let actions = driver.report_old();
    assert!(matches!(actions.first(), Some(Action::ResolveReport(ReportOutcome::Pending { .. }))));
    let request = fetch(actions);
    driver.finish(&request, reissued());
    driver.advance(seconds(4));
    let actions = driver.report_old();
    let [Action::ResolveReport(ReportOutcome::Rejected(error))] = &*actions else { panic!("{actions:?}") };
    assert_eq!(error.retry_after(), Some(driver.due_in()));
    driver.advance(driver.due_in());
    fetch(driver.handle(Event::Timer));
    let actions = driver.report_old();
    assert!(matches!(&*actions, [Action::ResolveReport(ReportOutcome::Pending { .. })]), "{actions:?}");
}

/// A peer fetched and got no token. The report still needs an attempt.
#[test]
fn report_survives_marker_of_peer() {
    let mut driver = Driver::with_token();
    let request = driver.fetch_after(Evidence::Reported);
    driver.finish(&request, FetchOutcome::LeaseHeldByPeer { holder: None });
    driver.read_store(Some(driver.now.wall));
    driver.read_store(None);
    assert!(driver.due_in() < seconds(5), "{:?}", driver.due_in());
}

fn has_external_invalidation(actions: Vec<Action>) -> bool {
    emitted(actions).iter().any(|event| matches!(event, TokenEvent::InvalidatedExternally { .. }))
}

/// Five minutes of overlap, and one minute for the request.
#[test]
fn lost_response_explains_rejection_for_six_minutes() {
    for (elapsed, is_external) in [(359_999, false), (360_000, true)] {
        let mut driver = Driver::with_token();
        let request = driver.fetch_after(Evidence::Reported);
        let requested_at = driver.now;
        driver.finish(&request, lost());
        driver.now = requested_at + Duration::from_millis(elapsed);
        assert_eq!(
            has_external_invalidation(driver.report(Evidence::Observed)),
            is_external,
            "{elapsed} ms later"
        );
    }
}

#[test]
fn rejection_near_expiry_is_no_external_invalidation() {
    for (age, is_external) in [(6_479, true), (6_480, false)] {
        let mut driver = Driver::with_token();
        driver.advance(seconds(age));
        assert_eq!(has_external_invalidation(driver.report(Evidence::Observed)), is_external, "{age} s old");
    }
}

#[test]
fn rate_limited_rejection_is_retried_when_allowed() {
    let mut driver = Driver::with_token();
    driver.replace_with(&["B", "C", "D", "E", "F"]);
    driver.advance(seconds(10));
    assert!(driver.due_in() > seconds(60));
    driver.report(Evidence::Observed);
    assert_eq!(driver.due_in(), seconds(50));
}

/// Five reports have used up the rate limit. The last attempt fails `wait` before the next one is allowed.
fn rate_limited_for(wait: Duration) -> Driver {
    let mut driver = Driver::with_token();
    let start = driver.now;
    driver.replace_with(&["B", "C", "D", "E"]);
    let request = driver.fetch_after(Evidence::Reported);
    driver.now = start + (seconds(60) - wait);
    driver.finish(&request, FetchOutcome::Failed(TokenErrorKind::RateLimited(seconds(20))));
    driver
}

/// That attempt is not caused by a report.
#[test]
fn scheduled_attempt_uses_no_rate_limit() {
    let wait = rate_limited_for(seconds(30)).due_in();
    let mut driver = rate_limited_for(wait);
    driver.report(Evidence::Observed);
    assert_eq!(driver.due_in(), wait);
    driver.advance(wait);
    let request = fetch(driver.handle(Event::Timer));
    driver.issue(&request, driver.token("F", &request));
    driver.fetch_after(Evidence::Reported);
}

#[test]
fn earlier_of_two_markers_counts() {
    for (first, second) in [(10, 20), (20, 10), (10, 10)] {
        let mut driver = Driver::with_token();
        let start = driver.now;
        driver.advance(seconds(30));
        driver.read_store(Some(start.wall + seconds(first)));
        driver.read_store(Some(start.wall + seconds(second)));
        assert_eq!(driver.status().in_doubt_from, Some(start + seconds(first.min(second) + 240)));
    }
}

#[test]
fn marker_during_an_attempt_is_its_own() {
    let mut driver = Driver::with_token();
    let request = driver.fetch_after(Evidence::Reported);
    driver.read_store(Some(driver.now.wall));
    driver.finish(&request, not_sent());
    assert_eq!(driver.status().in_doubt_from, None);
}

/// A marker that is gone from the store does not mean that the response arrived.
#[test]
fn own_lost_response_outlives_the_marker() {
    let mut driver = Driver::with_token();
    let requested_at = driver.now;
    let request = driver.fetch_after(Evidence::Reported);
    driver.finish(&request, lost());
    driver.read_store(Some(requested_at.wall));
    driver.read_store(None);
    assert_eq!(driver.status().in_doubt_from, Some(requested_at + seconds(240)));
}

#[test]
fn token_in_doubt_expedites_the_refresh() {
    let mut driver = Driver::with_token();
    let since = driver.now.wall;
    driver.advance(seconds(300));
    driver.read_store(Some(since));
    assert!(driver.due_in() <= seconds(5));

    let mut driver = Driver::with_token();
    let request = driver.fetch_after(Evidence::Reported);
    driver.advance(seconds(300));
    driver.finish(&request, reissued());
    let planned = driver.status().next_attempt_at;
    assert!(driver.due_in() > seconds(5));
    driver.read_store(Some(driver.now.wall.before(seconds(300))));
    assert_eq!(driver.status().next_attempt_at, planned);
}

/// Weixin may have handled the lost call after the call of the stored token, which is then invalid.
#[test]
fn only_a_later_requested_token_confirms() {
    for (after, endpoint, is_confirmed) in [
        (10, TokenEndpoint::Token, true),
        (0, TokenEndpoint::Token, false),
        (-10, TokenEndpoint::StableToken, true),
    ] {
        let mut driver = Driver::with_token_of(endpoint);
        let request = driver.fetch_after(Evidence::Reported);
        driver.advance(seconds(15));
        let ended = driver.now.wall;
        driver.finish(&request, lost());
        driver.advance(seconds(15));
        let requested_at = UnixMillis::new(ended.get().saturating_add_signed(after * 1000));
        let generation = request.known.next(requested_at);
        let found = CachedToken::from_shared_store(
            "B".parse().unwrap(),
            generation,
            requested_at,
            seconds(7200),
            driver.now,
        );
        driver.load(Arc::new(found));
        assert_eq!(driver.current().generation(), generation);
        assert_eq!(driver.status().in_doubt_from.is_none(), is_confirmed, "{endpoint:?} {after}");
        assert_eq!(driver.due_in() > seconds(5), is_confirmed, "{endpoint:?} {after}");
    }
}

/// Weixin may have issued the other token later. With `stable_token` it does not matter.
#[test]
fn conflicting_store_puts_own_token_in_doubt() {
    for (endpoint, ahead, in_doubt) in [
        (TokenEndpoint::Token, 1, true),
        (TokenEndpoint::Token, 0, false),
        (TokenEndpoint::Token, -1, false),
        (TokenEndpoint::StableToken, 1, false),
    ] {
        let mut driver = Driver::with_token_of(endpoint);
        driver.advance(seconds(60));
        let request = driver.fetch_after(Evidence::Reported);
        let unleased = driver.token("B", &request);
        let generation = unleased.generation();
        driver.finish(&request, FetchOutcome::IssuedWithoutLease(unleased, no_response()));
        let replaced = Generation::new(request.known.get().saturating_add_signed(ahead));
        driver.handle(Event::StorePublished { generation, replaced });
        assert_eq!(driver.status().in_doubt_from.is_some(), in_doubt, "{endpoint:?} {ahead}");
    }
}

fn make_store_unavailable(driver: &mut Driver) -> Vec<TokenEvent> {
    // The rate limit allows one refresh on report a minute.
    driver.advance(seconds(60));
    let request = driver.fetch_after(Evidence::Reported);
    emitted(driver.finish(&request, FetchOutcome::StoreUnavailable(no_response())))
}

fn store_events(events: &[TokenEvent]) -> Vec<&TokenEvent> {
    events
        .iter()
        .filter(|event| matches!(event, TokenEvent::StoreUnavailable { .. } | TokenEvent::StoreRecovered))
        .collect()
}

#[test]
fn store_outage_and_recovery_are_reported_once() {
    let recoveries: [fn(&mut Driver) -> Vec<Action>; 3] = [
        |driver| driver.load(driver.peer_token(1)),
        |driver| {
            driver.handle(Event::StorePublished {
                generation: driver.current().generation(),
                replaced: Generation::default(),
            })
        },
        |driver| {
            driver.advance(driver.due_in());
            let request = fetch(driver.handle(Event::Timer));
            driver.finish(&request, FetchOutcome::LeaseHeldByPeer { holder: None })
        },
    ];
    let mut driver = Driver::with_token();
    for recover in recoveries {
        assert_eq!(make_store_unavailable(&mut driver), [store_unavailable()]);
        assert_eq!(make_store_unavailable(&mut driver), []);
        assert_eq!(store_events(&emitted(recover(&mut driver))), [&TokenEvent::StoreRecovered]);
    }
}

/// As with a replica: a successful read does not end the outage.
#[test]
fn read_only_store_counts_as_unavailable() {
    let mut driver = Driver::with_token();
    make_store_unavailable(&mut driver);
    for _ in 0..3 {
        driver.read_store(None);
        assert_eq!(make_store_unavailable(&mut driver), []);
    }
}

#[test]
fn failed_read_is_a_problem_at_once_if_time_will_not_help() {
    let wrong_key = StoreError::new(StoreErrorKind::EncryptionKey, "cannot decrypt the token");
    for (error, delay) in [(no_response(), 10), (wrong_key, 0)] {
        let mut driver = Driver::with_token();
        let mut failed = Vec::new();
        for _ in 0..=delay {
            assert!(driver.status().store_problem.is_none());
            failed = emitted(driver.handle(Event::StoreReadFailed(error.clone())));
            driver.advance(seconds(1));
        }
        assert_eq!(failed, [TokenEvent::StoreUnavailable { error: error.clone() }]);
        assert_eq!(driver.status().store_problem.unwrap().error, error);
        assert_eq!(emitted(driver.handle(Event::StoreReadFailed(error))), []);
        assert_eq!(emitted(driver.handle(Event::StoreEmpty)), [TokenEvent::StoreRecovered]);
        assert!(driver.status().store_problem.is_none());
    }
}

#[test]
fn new_kind_of_store_failure_is_reported_with_the_time_of_the_first() {
    let mut driver = Driver::with_token();
    make_store_unavailable(&mut driver);
    let since = driver.status().store_problem.unwrap().since;
    driver.advance(seconds(5));
    let refused = StoreError::new(StoreErrorKind::WrongCredentials, "WRONGPASS");
    let events = emitted(driver.handle(Event::StoreReadFailed(refused.clone())));
    assert_eq!(events, [TokenEvent::StoreUnavailable { error: refused.clone() }]);
    let problem = driver.status().store_problem.unwrap();
    assert_eq!((problem.error, problem.since), (refused, since));
}

#[test]
fn unleased_fetch_keeps_store_unavailable_until_stored() {
    let mut driver = Driver::with_token();
    let request = driver.fetch_after(Evidence::Observed);
    let unleased = driver.token("B", &request);
    let outcome = FetchOutcome::IssuedWithoutLease(Arc::clone(&unleased), no_response());
    assert_eq!(store_events(&emitted(driver.finish(&request, outcome))), [&store_unavailable()]);
    assert_eq!(emitted(driver.load(unleased)), [TokenEvent::StoreRecovered]);
}
