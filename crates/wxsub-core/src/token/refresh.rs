//! Decides when to fetch a token and which token to serve, as a pure state machine. Events and the time go in,
//! actions and the next deadline come out. It does no I/O, reads no clock and takes no lock. All randomness comes
//! from a seed.

mod attempt;
mod outage;
mod report;

use std::sync::Arc;
use std::time::Duration;

use self::attempt::Attempt;
use self::outage::StoreOutage;
use super::rate_limit::TokenBucket;
use super::schedule;
use super::{
    Action, CachedToken, Event, FetchRequest, Generation, RefreshMode, TokenError, TokenErrorKind,
    TokenEvent, TokenOrigin, TokenStatus, UpstreamBehavior,
};
use crate::clock::{ClockReading, MonotonicInstant, UnixMillis};
use crate::jitter::Jitter;

/// How long after a lost response the current token is surely valid. Weixin keeps the old token valid for five
/// minutes; one minute is reserve.
const IN_DOUBT_GRACE: Duration = Duration::from_secs(240);

/// Delay before the refresh task starts again after a panic.
const PANIC_RESTART_DELAY: Duration = Duration::from_secs(10);

/// Longest time between two timer events, so that a jump of the wall clock is noticed.
const WALL_CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Decides when to fetch a token and which token to serve.
///
/// Feed it every [`Event`] with the time at which it happened, and carry out the [`Action`]s. Send [`Event::Timer`]
/// at the [`poll_timeout`](Self::poll_timeout).
///
/// The fields are the state: there is a current token or none, a running attempt or none, and a planned attempt or
/// none.
#[derive(Debug)]
pub struct RefreshState {
    behavior: UpstreamBehavior,
    jitter: Jitter,
    /// The token that callers get.
    current: Option<Arc<CachedToken>>,
    /// The highest generation seen so far.
    max_generation: Generation,
    /// The last token that Weixin rejected in a call of this process.
    rejected: Option<Arc<CachedToken>>,
    attempt: Option<Attempt>,
    attempts: u64,
    /// When the next attempt starts, if one is planned.
    next_attempt_at: Option<ClockReading>,
    failures: u32,
    /// Time of the first failure since the last success.
    failing_since: Option<MonotonicInstant>,
    failure: Option<TokenError>,
    failure_seq: u64,
    /// Start of the first attempt since the last success whose response was lost.
    in_doubt_since: Option<ClockReading>,
    /// Whether that attempt was a peer's, known from the marker in the store.
    in_doubt_from_peer: bool,
    /// Start of the last attempt whose response was lost.
    last_lost: Option<MonotonicInstant>,
    /// End of our last call with unknown effect. Only a token that was requested later confirms which token works.
    unconfirmed_call_at: Option<MonotonicInstant>,
    store_outage: StoreOutage,
    /// Bounds the rate of refreshes after reports.
    report_limit: TokenBucket,
    /// Bounds the rate of fetches, however short the lifetimes of tokens are.
    fetch_limit: TokenBucket,
    /// The current token's generation, if a client reported it and the running attempt must show whether it still
    /// works.
    pending_report: Option<Generation>,
    /// Whether the next attempt follows a report and was deferred by the rate limit.
    deferred_by_rate_limit: bool,
}

impl RefreshState {
    /// Creates a state without a token and without a planned attempt. The first [`Event::TokenRequested`] starts an
    /// attempt. `seed` determines the jitter of all delays.
    #[must_use]
    pub fn new(behavior: UpstreamBehavior, seed: u64) -> Self {
        Self {
            behavior,
            jitter: Jitter::seeded(seed),
            current: None,
            max_generation: Generation::default(),
            rejected: None,
            attempt: None,
            attempts: 0,
            next_attempt_at: None,
            failures: 0,
            failing_since: None,
            failure: None,
            failure_seq: 0,
            in_doubt_since: None,
            in_doubt_from_peer: false,
            last_lost: None,
            unconfirmed_call_at: None,
            store_outage: StoreOutage::default(),
            report_limit: TokenBucket::for_reports(),
            fetch_limit: TokenBucket::for_fetches(behavior.fetch_interval),
            pending_report: None,
            deferred_by_rate_limit: false,
        }
    }

    /// Processes an event and returns the actions to carry out. [`Action::ResolveReport`] comes first.
    ///
    /// `now` is the time of the event.
    pub fn handle_event(&mut self, now: ClockReading, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.drop_expired(now, &mut actions);
        match event {
            Event::Timer => {}
            Event::TokenRequested => self.on_token_requested(now),
            Event::InvalidTokenReported { generation, evidence } => {
                self.on_invalid_token_reported(now, generation, evidence, &mut actions);
            }
            Event::FetchFinished { attempt, outcome } => {
                self.on_fetch_finished(now, attempt, outcome, &mut actions);
            }
            Event::StorePublished { generation, replaced } => {
                self.record_store_up(&mut actions);
                self.on_store_published(now, generation, replaced);
            }
            Event::StoreLoaded { token, in_doubt_since } => {
                self.on_store_loaded(now, &token, in_doubt_since, &mut actions);
            }
        }
        if self.attempt.is_none() && self.next_attempt_at.is_some_and(|due| due.is_past(now)) {
            actions.push(self.start_attempt(now, RefreshMode::Normal));
        }
        actions
    }

    /// Returns when to send [`Event::Timer`], also if no other event comes. `None` if nothing is planned.
    #[must_use]
    pub fn poll_timeout(&self, now: ClockReading) -> Option<MonotonicInstant> {
        let expires_at = self.current.as_ref().map(|token| token.expires_at());
        let attempt_at = self.next_attempt_at.filter(|_| self.attempt.is_none());
        let next = [expires_at, attempt_at].into_iter().flatten().map(|time| time.remaining(now)).min()?;
        Some(now.mono + next.min(WALL_CLOCK_CHECK_INTERVAL))
    }

    /// Returns a snapshot for callers and observers.
    #[must_use]
    pub fn status(&self) -> TokenStatus {
        TokenStatus {
            current: self.current.clone(),
            failure: self.failure.clone(),
            failure_seq: self.failure_seq,
            fetching: self.attempt.is_some(),
            in_doubt_from: self.in_doubt_since.map(|since| since + IN_DOUBT_GRACE),
            next_attempt_at: self.next_attempt_at,
            invalidates_previous: self.behavior.invalidates_previous,
        }
    }

    /// Drops an expired token. Expiry is final: a clock that goes back does not revive the token.
    fn drop_expired(&mut self, now: ClockReading, actions: &mut Vec<Action>) {
        if self.current.as_ref().is_some_and(|token| !token.is_valid(now)) {
            self.current = None;
            if self.failures == 0 {
                // No fetch has failed, so only the rate limit can delay the next attempt.
                let wait = self.fetch_limit.wait(now.mono);
                self.failure = None;
                self.next_attempt_at = Some(now + wait);
                if wait > Duration::ZERO && self.attempt.is_none() {
                    self.on_fetch_limit_reached(wait, actions);
                }
            }
        }
    }

    /// Publishes that tokens expire faster than the rate limit allows fetches. Callers get the delay.
    fn on_fetch_limit_reached(&mut self, wait: Duration, actions: &mut Vec<Action>) {
        let failure = TokenErrorKind::ShortLived(wait);
        actions.push(Action::Emit(TokenEvent::FetchFailed {
            failure: failure.clone(),
            retry_in: wait,
            remaining: Duration::ZERO,
            silent: false,
        }));
        self.publish_failure(TokenError::new(failure, Some(wait)));
    }

    /// Returns `due`, or a later time if the rate limit does not allow a fetch by then.
    fn not_before_fetch_limit(&self, due: ClockReading, now: ClockReading) -> ClockReading {
        let wait = self.fetch_limit.wait(now.mono);
        if due.remaining(now) < wait { now + wait } else { due }
    }

    fn on_token_requested(&mut self, now: ClockReading) {
        if self.current.is_none() && self.attempt.is_none() && self.next_attempt_at.is_none() {
            self.next_attempt_at = Some(now);
        }
    }

    /// Adopts the stored token if it is newer. An expired one only raises the known generation: it stays expired
    /// even if the wall clock goes back.
    fn on_store_loaded(
        &mut self,
        now: ClockReading,
        token: &Arc<CachedToken>,
        in_doubt_since: Option<UnixMillis>,
        actions: &mut Vec<Action>,
    ) {
        if token.generation() > self.max_generation && !self.was_rejected(token) {
            self.record_store_up(actions);
            match token.is_valid(now) {
                true => self.install_token(now, Arc::clone(token), TokenOrigin::Adopted, actions),
                false => self.max_generation = token.generation(),
            }
        }
        if self.current.as_ref().is_some_and(|current| current.generation() == token.generation()) {
            self.reconcile_same_generation(now, token, in_doubt_since, actions);
        }
    }

    /// Applies the store's marker for the current token: since when a fetch of any process may have invalidated it.
    fn on_in_doubt_marker(&mut self, now: ClockReading, in_doubt_since: Option<UnixMillis>) {
        match in_doubt_since.map(|since| now.before(now.wall.since(since))) {
            // The marker belongs to our own running attempt.
            Some(_) if self.attempt.is_some() => {}
            Some(since) if self.in_doubt_since.is_none_or(|known| since.mono < known.mono) => {
                self.in_doubt_since = Some(since);
                self.in_doubt_from_peer = true;
                self.last_lost = Some(since.mono);
                self.schedule_takeover(now);
            }
            None if self.in_doubt_from_peer => {
                self.in_doubt_since = None;
                self.in_doubt_from_peer = false;
                self.schedule_refresh(now);
            }
            _ => {}
        }
        if self.is_in_doubt(now) && self.failures == 0 {
            self.expedite_refresh(now);
        }
    }

    /// If the peer crashes, take over when its lease expires, unless our own attempts are failing.
    fn schedule_takeover(&mut self, now: ClockReading) {
        if self.failures > 0 {
            return;
        }
        let lease = schedule::lease(self.current.as_deref());
        let takeover_at = now + self.jitter.within_percent(lease * 9 / 10, 5);
        if self.next_attempt_at.is_none_or(|due| due.remaining(now) > takeover_at.remaining(now)) {
            self.next_attempt_at = Some(takeover_at);
        }
    }

    /// Returns to the normal schedule after the peer cleared its marker. Does nothing while an attempt, a report or
    /// a retry is pending.
    fn schedule_refresh(&mut self, now: ClockReading) {
        let is_idle = self.failures == 0 && self.attempt.is_none() && self.pending_report.is_none();
        let Some(current) = self.current.as_ref().filter(|_| is_idle) else { return };
        let due = schedule::refresh(self.behavior, current, now, &mut self.jitter);
        self.next_attempt_at = Some(self.not_before_fetch_limit(due, now));
        if let Some(since) = self.unconfirmed_since(now) {
            self.mark_in_doubt(now, since);
        }
    }

    fn was_rejected(&self, token: &CachedToken) -> bool {
        self.rejected.as_ref().is_some_and(|rejected| rejected.token().ct_eq(token.token()))
    }

    fn is_in_doubt(&self, now: ClockReading) -> bool {
        self.has_unknown_age()
            || self.in_doubt_since.is_some_and(|since| (since + IN_DOUBT_GRACE).is_past(now))
    }

    fn has_unknown_age(&self) -> bool {
        self.current.as_ref().is_some_and(|current| !current.has_known_age())
    }

    /// Makes this token the current one. If it is the current token again, only its times change.
    fn install_token(
        &mut self,
        now: ClockReading,
        token: Arc<CachedToken>,
        origin: TokenOrigin,
        actions: &mut Vec<Action>,
    ) {
        if origin != TokenOrigin::Adopted || self.confirms(now, &token) {
            self.unconfirmed_call_at = None;
        }
        let in_doubt_since = self.conflicting_since(origin).or_else(|| self.unconfirmed_since(now));
        let is_same_token = token.generation() == self.max_generation && self.current.is_some();
        self.max_generation = self.max_generation.max(token.generation());
        self.failures = 0;
        self.failing_since = None;
        self.failure = None;
        self.in_doubt_since = None;
        self.in_doubt_from_peer = false;
        self.pending_report = None;
        self.deferred_by_rate_limit = false;
        let due = schedule::refresh(self.behavior, &token, now, &mut self.jitter);
        self.next_attempt_at = Some(self.not_before_fetch_limit(due, now));
        if !is_same_token {
            actions.push(Action::Emit(TokenEvent::Refreshed {
                generation: token.generation(),
                fingerprint: token.fingerprint(),
                lifetime: token.lifetime(),
                origin,
            }));
        }
        self.store_outage.reset(schedule::unleased_fetch_lead(&token, &mut self.jitter));
        self.current = Some(token);
        if let Some(since) = in_doubt_since {
            self.mark_in_doubt(now, since);
        }
    }

    /// Records that the refresh task panicked. It starts again after a delay.
    pub(crate) fn on_worker_panic(&mut self, now: ClockReading) -> Vec<Action> {
        let mut actions = Vec::new();
        match self.attempt.take() {
            Some(attempt) => self.on_fetch_failed(now, &attempt, TokenErrorKind::Interrupted, &mut actions),
            None => {
                self.failures = self.failures.saturating_add(1);
                self.failing_since.get_or_insert(now.mono);
                self.next_attempt_at = Some(now + self.jitter.within_percent(PANIC_RESTART_DELAY, 25));
            }
        }
        let wait = self.next_attempt_at.map(|due| due.remaining(now));
        self.publish_failure(TokenError::new(TokenErrorKind::Interrupted, wait));
        actions
    }

    fn start_attempt(&mut self, now: ClockReading, mode: RefreshMode) -> Action {
        self.attempts += 1;
        self.next_attempt_at = None;
        if std::mem::take(&mut self.deferred_by_rate_limit) {
            // The attempt was planned for the time at which a permit is available.
            let _ = self.report_limit.try_acquire(now.mono);
        }
        self.attempt =
            Some(Attempt { number: self.attempts, mode, started_at: now, known: self.max_generation });
        Action::Fetch(FetchRequest {
            attempt: self.attempts,
            mode,
            known: self.max_generation,
            timeout: schedule::timeout(self.current.as_deref()),
            lease: schedule::lease(self.current.as_deref()),
            allow_without_lease: self.may_fetch_without_lease(now),
            rejected: self.rejected.clone(),
        })
    }
}
