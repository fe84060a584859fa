//! Decides when to fetch a token and which token to serve, as a pure state machine. Events and the time go in,
//! actions and the next deadline come out. It does no I/O, reads no clock and takes no lock. All randomness comes
//! from a seed.

use std::sync::Arc;
use std::time::Duration;

use super::certainty::{Certainty, InDoubt};
use super::schedule::{self, RetryContext, UNLEASED_START_DELAY};
use super::status::SAFE_OVERLAP;
use super::store_health::{StoreFailure, StoreHealth};
use super::{
    Action, CachedToken, Event, Evidence, FetchOutcome, FetchRequest, Generation, RefreshMode, ReportOutcome,
    StoreProblem, TokenError, TokenErrorKind, TokenEvent, TokenOrigin, TokenStatus, UpstreamBehavior,
};
use crate::clock::{ClockReading, MonotonicInstant, UnixMillis};
use crate::jitter::Jitter;
use crate::rate_limit::TokenBucket;
use crate::store::{StoreError, StoreErrorKind};

/// How long an attempt with a lost response can explain a rejection: five minutes of overlap, and one minute for
/// the response.
const IN_DOUBT_WINDOW: Duration = Duration::from_secs(360);

/// Longest time between two timer events, so that a jump of the wall clock is noticed.
const WALL_CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Delay after which a client may report the same token again.
const UNCHANGED_RETRY_DELAY: Duration = Duration::from_secs(60);

/// Maximum number of refreshes after reports at once.
const MAX_REPORTS_AT_ONCE: u32 = 5;

/// Interval of further refreshes after reports. Only a refresh that starts counts.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Maximum number of fetches at once. Further ones have the [interval](UpstreamBehavior::fetch_interval) of the upstream.
pub(super) const MAX_FETCHES_AT_ONCE: u32 = 20;

/// Decides when to fetch a token and which token to serve.
///
/// Feed it every [`Event`] with the time at which it happened, and carry out the [`Action`]s. Send [`Event::Timer`]
/// at the [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct RefreshState {
    behavior: UpstreamBehavior,
    jitter: Jitter,
    /// The token that callers get.
    current: Option<Arc<CachedToken>>,
    /// The first generation under which this process got the current token. A peer may have stored it again under a higher one.
    current_since: Generation,
    /// The highest generation seen so far.
    max_generation: Generation,
    /// The last token that Weixin rejected in a call of this process.
    rejected: Option<Arc<CachedToken>>,
    attempt: Option<Attempt>,
    attempts: u64,
    /// When the next attempt starts, if one is planned.
    next_attempt_at: Option<ClockReading>,
    /// Bounds the rate of fetches, however short the lifetimes of tokens are.
    fetch_limit: TokenBucket,
    failures: Failures,
    certainty: Certainty,
    store: StoreHealth,
    reports: Reports,
    /// The actions of the event that is being handled.
    actions: Vec<Action>,
}

/// A running attempt.
#[derive(Debug)]
struct Attempt {
    number: u64,
    mode: RefreshMode,
    started_at: ClockReading,
    /// The highest generation known at its start.
    known: Generation,
}

/// The failures since the last success.
#[derive(Debug, Default)]
struct Failures {
    /// Failed attempts in a row.
    count: u32,
    /// Time of the first of them.
    since: Option<MonotonicInstant>,
    /// Time of the first failure since the last success. Unlike `since`, it stays if a token is rejected meanwhile.
    began_at: Option<UnixMillis>,
    /// The failure that callers get.
    published: Option<TokenError>,
    /// Number of failures published so far.
    seq: u64,
}

/// The reports of clients.
#[derive(Debug)]
struct Reports {
    /// Bounds the rate of refreshes after reports.
    limit: TokenBucket,
    /// The current token's generation, if a client reported it and the running attempt must show whether it still
    /// works.
    pending: Option<Generation>,
    /// Whether the next attempt follows a report and was deferred by the rate limit.
    is_deferred: bool,
}

impl RefreshState {
    /// Creates a state without a token and without a planned attempt. The first [`Event::TokenRequested`] starts an
    /// attempt. `seed` determines the jitter of all delays.
    pub fn new(behavior: UpstreamBehavior, seed: u64) -> Self {
        Self {
            behavior,
            jitter: Jitter::seeded(seed),
            current: None,
            current_since: Generation::default(),
            max_generation: Generation::default(),
            rejected: None,
            attempt: None,
            attempts: 0,
            next_attempt_at: None,
            fetch_limit: TokenBucket::new(MAX_FETCHES_AT_ONCE, behavior.fetch_interval),
            failures: Failures::default(),
            certainty: Certainty::default(),
            store: StoreHealth::default(),
            reports: Reports {
                limit: TokenBucket::new(MAX_REPORTS_AT_ONCE, REPORT_INTERVAL),
                pending: None,
                is_deferred: false,
            },
            actions: Vec::new(),
        }
    }

    /// Processes an event and returns the actions to carry out. [`Action::ResolveReport`] comes first.
    ///
    /// `now` is the time of the event.
    pub fn handle_event(&mut self, now: ClockReading, event: Event) -> Vec<Action> {
        self.drop_expired(now);
        if self.attempt.is_none() && schedule::is_overdue(self.next_attempt_at, now) {
            self.failures.restart();
        }
        match event {
            Event::Timer => {}
            Event::TokenRequested => {
                if self.current.is_none() && self.attempt.is_none() && self.next_attempt_at.is_none() {
                    self.next_attempt_at = Some(now);
                }
            }
            Event::InvalidTokenReported { generation, evidence } => {
                self.on_invalid_token_reported(now, generation, evidence);
            }
            Event::FetchFinished { attempt, outcome } => self.on_fetch_finished(now, attempt, outcome),
            Event::StoreEmpty => self.update_store(StoreHealth::read_succeeded),
            Event::RecordBroken(error) => {
                self.update_store(|store| store.record_is_odd(now, error));
                if self.attempt.is_none() && self.failures.count == 0 {
                    self.expedite_refresh(now);
                }
            }
            Event::StoreReadFailed(error) => self.update_store(|store| store.read_failed(now, error)),
            Event::StorePublished { generation, replaced } => {
                self.update_store(StoreHealth::works);
                self.on_store_published(now, generation, replaced);
            }
            Event::StoreLoaded { token, in_doubt_since, other_endpoint } => {
                self.update_store(|store| match other_endpoint {
                    Some(error) => store.record_is_odd(now, error),
                    None => store.read_succeeded(),
                });
                self.on_store_loaded(now, &token, in_doubt_since);
            }
        }
        if self.attempt.is_none() && self.next_attempt_at.is_some_and(|due| due.is_past(now)) {
            self.start_attempt(now, RefreshMode::Normal);
        }
        std::mem::take(&mut self.actions)
    }

    /// Returns when to send [`Event::Timer`], also if no other event comes. `None` if nothing is planned.
    pub fn poll_timeout(&self, now: ClockReading) -> Option<MonotonicInstant> {
        let expires_at = self.current.as_ref().map(|token| token.expires_at());
        let attempt_at = self.next_attempt_at.filter(|_| self.attempt.is_none());
        let next = [expires_at, attempt_at].into_iter().flatten().map(|time| time.remaining(now)).min()?;
        Some(now.mono + next.min(WALL_CLOCK_CHECK_INTERVAL))
    }

    /// Returns a snapshot for callers and observers.
    pub fn status(&self) -> TokenStatus {
        TokenStatus {
            current: self.current.clone(),
            failure: self.failures.published.clone(),
            failing_since: self.failures.began_at,
            failure_seq: self.failures.seq,
            fetching: self.attempt.is_some(),
            in_doubt_from: self.certainty.in_doubt.map(|doubt| doubt.since + SAFE_OVERLAP),
            next_attempt_at: self.next_attempt_at,
            store_problem: self
                .store
                .problem
                .as_ref()
                .map(|problem| StoreProblem { error: problem.error.clone(), since: problem.since.wall }),
            invalidates_previous: self.behavior.invalidates_previous,
            is_polled: self.behavior.poll_interval.is_some() && !self.behavior.invalidates_previous,
        }
    }

    /// Returns the current token if it was fetched without lease and the store does not know it.
    pub(super) fn unleased(&self) -> Option<Arc<CachedToken>> {
        self.current.clone().filter(|_| self.store.unleased_after.is_some())
    }

    /// Records that the refresh task panicked. It starts again after a delay.
    pub(crate) fn on_task_panic(&mut self, now: ClockReading) -> Vec<Action> {
        match self.attempt.take() {
            Some(attempt) => self.on_fetch_failed(now, &attempt, TokenErrorKind::Interrupted),
            None => {
                self.failures.record(now);
                self.next_attempt_at = Some(now + schedule::panic_restart_delay(&mut self.jitter));
            }
        }
        let wait = self.next_attempt_at.map(|due| due.remaining(now));
        self.publish_failure(now, TokenError::new(TokenErrorKind::Interrupted, wait));
        std::mem::take(&mut self.actions)
    }

    fn emit(&mut self, event: TokenEvent) {
        self.actions.push(Action::Emit(event));
    }

    /// Records what was seen of the store, and emits what observers must know of it.
    fn update_store(&mut self, update: impl FnOnce(&mut StoreHealth) -> Option<TokenEvent>) {
        let event = update(&mut self.store);
        self.actions.extend(event.map(Action::Emit));
    }

    /// Drops an expired token. Expiry is final: a clock that goes back does not revive the token.
    fn drop_expired(&mut self, now: ClockReading) {
        if self.current.as_ref().is_some_and(|token| !token.is_valid(now)) {
            self.current = None;
            if self.failures.count == 0 {
                // No fetch has failed, so only the rate limit can delay the next attempt.
                let wait = self.fetch_limit.wait(now.mono);
                (self.failures.published, self.failures.began_at) = (None, None);
                self.next_attempt_at = Some(now + wait);
                if wait > Duration::ZERO && self.attempt.is_none() {
                    // Tokens expire faster than the rate limit allows fetches. Callers get the delay.
                    let failure = TokenErrorKind::ShortLived(wait);
                    self.publish_failure(now, TokenError::new(failure.clone(), Some(wait)));
                    let remaining = Duration::ZERO;
                    self.emit(TokenEvent::FetchFailed { failure, retry_in: wait, remaining, silent: false });
                }
            }
        }
    }

    /// Returns `due`, or a later time if the rate limit does not allow a fetch by then.
    fn not_before_fetch_limit(&self, due: ClockReading, now: ClockReading) -> ClockReading {
        let wait = self.fetch_limit.wait(now.mono);
        if due.remaining(now) < wait { now + wait } else { due }
    }

    fn was_rejected(&self, token: &CachedToken) -> bool {
        self.rejected.as_ref().is_some_and(|rejected| rejected.token().ct_eq(token.token()))
    }

    /// Makes this token the current one. If it is the current token again, only its times change.
    fn install_token(&mut self, now: ClockReading, token: Arc<CachedToken>, origin: TokenOrigin) {
        if origin != TokenOrigin::Adopted || self.certainty.is_confirmed_by(&token, now) {
            self.certainty.unconfirmed_call_at = None;
        }
        // Of our token, fetched without the store, and the stored one, Weixin may have issued ours later.
        let has_raced = self.store.unleased_after.is_some()
            && origin == TokenOrigin::Adopted
            && self.behavior.invalidates_previous;
        let conflicting = self.current.as_ref().filter(|_| has_raced).map(|current| current.requested_at());
        let in_doubt_since = conflicting.or_else(|| self.certainty.unconfirmed_since(now));
        let is_same_token = token.generation() == self.max_generation && self.current.is_some();
        self.max_generation = self.max_generation.max(token.generation());
        let has_failed = self.failures.published.is_some();
        self.failures.clear();
        self.certainty.in_doubt = None;
        self.reports.pending = None;
        self.reports.is_deferred = false;
        let due = schedule::refresh(self.behavior, &token, now, &mut self.jitter);
        self.next_attempt_at = Some(self.not_before_fetch_limit(due, now));
        let (generation, fingerprint, lifetime) = (token.generation(), token.fingerprint(), token.lifetime());
        match (is_same_token, origin) {
            (false, _) => self.emit(TokenEvent::Refreshed { generation, fingerprint, lifetime, origin }),
            (true, TokenOrigin::Adopted) => {}
            (true, _) => {
                let remaining = token.remaining(now);
                self.emit(TokenEvent::Unchanged { generation, remaining, has_failed });
            }
        }
        self.store.unleased_after = None;
        self.store.unleased_lead = schedule::unleased_fetch_lead(&token, &mut self.jitter);
        if !self.current.as_ref().is_some_and(|current| current.token().ct_eq(token.token())) {
            self.current_since = token.generation();
        }
        self.current = Some(token);
        if let Some(since) = in_doubt_since {
            self.mark_in_doubt(now, since);
        }
    }

    /// Returns to the normal schedule after the peer cleared its marker. Does nothing while an attempt, a report or
    /// a retry is pending.
    fn schedule_refresh(&mut self, now: ClockReading) {
        let is_idle = self.failures.count == 0 && self.attempt.is_none() && self.reports.pending.is_none();
        let Some(current) = self.current.as_ref().filter(|_| is_idle) else { return };
        let due = schedule::refresh(self.behavior, current, now, &mut self.jitter);
        self.next_attempt_at = Some(self.not_before_fetch_limit(due, now));
        if let Some(since) = self.certainty.unconfirmed_since(now) {
            self.mark_in_doubt(now, since);
        }
    }

    /// Fetches within five seconds instead of at the planned time, because the current token may be invalid.
    fn expedite_refresh(&mut self, now: ClockReading) {
        let soon = now + self.jitter.uniform_below(Duration::from_secs(5));
        let soon = self.not_before_fetch_limit(soon, now);
        self.bring_forward(soon, now);
    }

    /// Plans the next attempt for this time, unless an earlier time is planned. Returns whether the plan changed.
    fn bring_forward(&mut self, due: ClockReading, now: ClockReading) -> bool {
        if self.next_attempt_at.is_some_and(|planned| planned.remaining(now) <= due.remaining(now)) {
            return false;
        }
        self.next_attempt_at = Some(due);
        true
    }

    fn start_attempt(&mut self, now: ClockReading, mode: RefreshMode) {
        self.attempts += 1;
        self.next_attempt_at = None;
        if std::mem::take(&mut self.reports.is_deferred) {
            // The attempt was planned for the time at which a permit is available.
            let _ = self.reports.limit.try_acquire(now.mono);
        }
        let (number, known) = (self.attempts, self.max_generation);
        self.attempt = Some(Attempt { number, mode, started_at: now, known });
        self.actions.push(Action::Fetch(FetchRequest {
            attempt: number,
            mode,
            known,
            unleased: self.unleased(),
            timeout: schedule::timeout(self.current.as_deref()),
            lease: schedule::lease(self.current.as_deref()),
            backoff_lease: schedule::backoff_lease(self.current.as_deref()),
            allow_without_lease: self.delay_until_unleased_fetch(now).is_zero(),
            rejected: self.rejected.clone(),
        }));
    }

    fn on_fetch_finished(&mut self, now: ClockReading, number: u64, outcome: FetchOutcome) {
        let Some(attempt) = self.attempt.take_if(|attempt| attempt.number == number) else { return };
        if !matches!(outcome, FetchOutcome::LeaseHeldByPeer { .. }) {
            self.store.awaited_holder = None;
        }
        match outcome {
            FetchOutcome::Issued(token) => {
                self.update_store(StoreHealth::works);
                self.on_token_issued(now, &attempt, token, TokenOrigin::Fetched);
            }
            FetchOutcome::IssuedWithoutLease(token, error) => {
                self.update_store(|store| store.failed(now, error));
                self.on_token_issued(now, &attempt, token, TokenOrigin::FetchedWithoutLease);
            }
            FetchOutcome::Adopted { token, in_doubt_since, lost_race } => {
                self.update_store(StoreHealth::works);
                self.on_token_adopted(now, token, in_doubt_since);
                if lost_race {
                    self.record_unconfirmed_call(now);
                    self.mark_in_doubt(now, attempt.started_at.wall);
                }
            }
            FetchOutcome::LeaseHeldByPeer { holder } => {
                self.update_store(|store| store.lease_is_held(now, holder));
                self.next_attempt_at = Some(now + schedule::peer_poll_delay(&mut self.jitter));
            }
            FetchOutcome::StoreUnavailable(error) => self.on_store_unavailable(now, error),
            FetchOutcome::Failed(failure) => self.on_fetch_failed(now, &attempt, failure),
        }
    }

    fn on_token_adopted(&mut self, now: ClockReading, token: Arc<CachedToken>, marker: Option<UnixMillis>) {
        if token.generation() < self.max_generation || !token.is_valid(now) || self.was_rejected(&token) {
            // The state changed during the attempt. Read the store again.
            self.next_attempt_at = Some(now + Duration::from_millis(100));
            return;
        }
        self.install_token(now, token, TokenOrigin::Adopted);
        self.on_in_doubt_marker(now, marker);
        if marker.is_some() {
            self.expedite_refresh(now);
        }
    }

    fn on_token_issued(
        &mut self,
        now: ClockReading,
        attempt: &Attempt,
        token: Arc<CachedToken>,
        origin: TokenOrigin,
    ) {
        self.fetch_limit.force_acquire(now.mono);
        if token.generation() < self.max_generation {
            // A peer's newer token arrived during the fetch. It is unknown which of the two Weixin issued later.
            if self.behavior.invalidates_previous && self.current.is_some() {
                self.certainty.record_lost_response(attempt.started_at);
            }
            self.record_unconfirmed_call(now);
            return self.expedite_refresh(now);
        }
        if !token.is_valid(now) {
            return self.on_fetch_failed(now, attempt, TokenErrorKind::ExpiredOnArrival);
        }
        if self.was_rejected(&token) {
            if self.behavior.has_forced_refresh && attempt.mode == RefreshMode::Normal {
                // Callers have waited since the start of this attempt.
                self.failures.since.get_or_insert(attempt.started_at.mono);
                return self.start_attempt(now, RefreshMode::Forced);
            }
            let upstream = self.behavior.name;
            return self.on_fetch_failed(now, attempt, TokenErrorKind::RejectedTokenReissued { upstream });
        }
        // The same token keeps its generation, even if the store has lost the record.
        let token = match &self.current {
            Some(current) if current.token().ct_eq(token.token()) => {
                Arc::new(token.with_generation(current.generation()))
            }
            _ => token,
        };
        let is_unchanged = self.reports.pending == Some(token.generation());
        self.install_token(now, token, origin);
        if origin == TokenOrigin::FetchedWithoutLease {
            self.store.unleased_after = Some(attempt.known);
            self.record_unconfirmed_call(now);
        }
        if is_unchanged {
            let unchanged = TokenErrorKind::TokenUnchanged { upstream: self.behavior.name };
            self.publish_failure(now, TokenError::new(unchanged, Some(UNCHANGED_RETRY_DELAY)));
        }
    }

    fn on_fetch_failed(&mut self, now: ClockReading, attempt: &Attempt, failure: TokenErrorKind) {
        let failing_since = self.failures.record(now);
        if failure.may_have_taken_effect() && self.behavior.invalidates_previous {
            let is_first = self.certainty.in_doubt.is_none();
            self.certainty.record_lost_response(attempt.started_at);
            self.certainty.in_doubt.iter_mut().for_each(|doubt| doubt.is_from_peer = false);
            self.record_unconfirmed_call(now);
            if let Some(current) = self.current.as_ref().filter(|_| is_first) {
                let generation = current.generation();
                self.emit(TokenEvent::FetchResponseLost { generation });
            }
        }
        let limit_delay = self.fetch_limit.wait(now.mono);
        let has_unknown_age = self.current.as_ref().is_some_and(|current| !current.has_known_age());
        let context = RetryContext {
            class: failure.retry_class(),
            failures: self.failures.count,
            failing_for: now.mono.duration_since(failing_since),
            current: self.current.as_deref(),
            in_doubt: self.certainty.in_doubt.is_some() || has_unknown_age,
            elapsed: now.mono.duration_since(attempt.started_at.mono),
        };
        let silent = limit_delay.is_zero() && schedule::is_retried_silently(&context);
        let delay = schedule::retry_delay(&context, silent, now, &mut self.jitter).max(limit_delay);
        self.next_attempt_at = Some(now + delay);
        let remaining = self.current.as_ref().map_or(Duration::ZERO, |token| token.remaining(now));
        if !silent {
            self.publish_failure(now, TokenError::new(failure.clone(), Some(delay)));
        }
        self.emit(TokenEvent::FetchFailed { failure, retry_in: delay, remaining, silent });
    }

    fn publish_failure(&mut self, now: ClockReading, error: TokenError) {
        self.failures.began_at.get_or_insert(now.wall);
        self.reports.pending = None;
        self.failures.published = Some(error);
        self.failures.seq += 1;
    }

    fn on_invalid_token_reported(&mut self, now: ClockReading, generation: Generation, evidence: Evidence) {
        match self.current.clone() {
            // A newer token is current, or the reported one was never ours.
            Some(current) if !(self.current_since..=current.generation()).contains(&generation) => {
                self.resolve_report(ReportOutcome::AlreadyRefreshed(current));
            }
            Some(current) => {
                let is_rejected = evidence == Evidence::Observed || self.status().is_in_doubt(now);
                if is_rejected {
                    self.reject(now, &current);
                }
                let generation = current.generation();
                if self.attempt.is_some() {
                    self.resolve_as_pending(generation);
                } else if let Err(wait) = self.reports.limit.try_acquire(now.mono) {
                    let error = TokenError::new(TokenErrorKind::RateLimited(wait), Some(wait));
                    if is_rejected {
                        self.reports.is_deferred |= self.bring_forward(now + wait, now);
                        self.publish_failure(now, error.clone());
                    }
                    return self.resolve_report(ReportOutcome::Rejected(error));
                } else {
                    self.resolve_as_pending(generation);
                    self.start_attempt(now, RefreshMode::Normal);
                }
                if !is_rejected {
                    // The current token stays. The attempt shows whether it still works.
                    self.reports.pending = Some(generation);
                }
            }
            None if self.attempt.is_some() => self.resolve_as_pending(generation),
            None => match &self.failures.published {
                Some(failure) => {
                    let failure = failure.with_remaining_delay(self.next_attempt_at, now);
                    self.resolve_report(ReportOutcome::Rejected(failure));
                }
                None => {
                    self.resolve_as_pending(generation);
                    self.next_attempt_at.get_or_insert(now);
                }
            },
        }
    }

    /// Drops a token that Weixin rejected. It is never served again.
    fn reject(&mut self, now: ClockReading, current: &Arc<CachedToken>) {
        let (generation, remaining) = (current.generation(), current.remaining(now));
        self.emit(TokenEvent::Rejected { generation, remaining });
        let last_lost = self.certainty.last_lost;
        let is_explained = !current.has_known_age()
            || last_lost.is_some_and(|lost| now.mono.duration_since(lost) < IN_DOUBT_WINDOW);
        if !is_explained && remaining > current.lifetime() / 10 {
            self.emit(TokenEvent::InvalidatedExternally { generation, remaining });
        }
        self.current = None;
        self.rejected = Some(Arc::clone(current));
        self.failures.restart();
    }

    fn resolve_report(&mut self, outcome: ReportOutcome) {
        self.actions.push(Action::ResolveReport(outcome));
    }

    fn resolve_as_pending(&mut self, reported: Generation) {
        let after_generation = reported.min(self.max_generation);
        self.resolve_report(ReportOutcome::Pending { after_generation, failure_seq: self.failures.seq });
    }

    /// Records the end of a call with unknown effect. It matters if a call invalidates the previous token.
    fn record_unconfirmed_call(&mut self, now: ClockReading) {
        if self.behavior.invalidates_previous {
            self.certainty.unconfirmed_call_at = Some(now.mono);
        }
    }

    /// Puts the current token in doubt and plans a fetch with the lease, which settles it.
    fn mark_in_doubt(&mut self, now: ClockReading, since: UnixMillis) {
        let is_from_peer = self.certainty.in_doubt.is_some_and(|doubt| doubt.is_from_peer);
        let since = now.before(now.wall.since(since));
        self.certainty.in_doubt = Some(InDoubt { since, is_from_peer });
        self.certainty.last_lost = Some(now.mono);
        self.expedite_refresh(now);
    }

    /// Applies the store's marker for the current token: since when a fetch of any process may have invalidated it.
    fn on_in_doubt_marker(&mut self, now: ClockReading, marker: Option<UnixMillis>) {
        let known = self.certainty.in_doubt;
        match marker.map(|since| now.before(now.wall.since(since))) {
            // The marker belongs to our own running attempt.
            Some(_) if self.attempt.is_some() => {}
            Some(since) if known.is_none_or(|known| since.mono < known.since.mono) => {
                self.certainty.in_doubt = Some(InDoubt { since, is_from_peer: true });
                self.certainty.last_lost = Some(since.mono);
                if self.failures.count == 0 {
                    // If the peer crashes, take over when its lease expires.
                    let delay = schedule::takeover_delay(self.current.as_deref(), &mut self.jitter);
                    self.bring_forward(now + delay, now);
                }
            }
            None if known.is_some_and(|known| known.is_from_peer) => {
                self.certainty.in_doubt = None;
                self.schedule_refresh(now);
            }
            _ => {}
        }
        if self.status().is_in_doubt(now) && self.failures.count == 0 {
            self.expedite_refresh(now);
        }
    }

    /// Adopts the stored token if it is newer. An expired one only raises the known generation: it stays expired
    /// even if the wall clock goes back.
    fn on_store_loaded(&mut self, now: ClockReading, token: &Arc<CachedToken>, marker: Option<UnixMillis>) {
        if token.generation() > self.max_generation && !self.was_rejected(token) {
            self.update_store(StoreHealth::works);
            match token.is_valid(now) {
                true => self.install_token(now, Arc::clone(token), TokenOrigin::Adopted),
                false => self.max_generation = token.generation(),
            }
        }
        if self.current.as_ref().is_some_and(|current| current.generation() == token.generation()) {
            self.reconcile(now, token, marker);
        }
    }

    /// Compares the stored token with the current one of the same generation.
    fn reconcile(&mut self, now: ClockReading, stored: &CachedToken, marker: Option<UnixMillis>) {
        let is_same = self.current.as_ref().is_some_and(|current| current.token().ct_eq(stored.token()));
        let unleased_after = self.store.unleased_after.take();
        if is_same && unleased_after.is_some() {
            self.update_store(StoreHealth::works);
        }
        match unleased_after {
            _ if is_same => self.on_in_doubt_marker(now, marker),
            // Two processes fetched without the store in the same millisecond.
            Some(_) => self.mark_in_doubt(now, stored.requested_at()),
            None => {}
        }
    }

    /// Records that the store has the current token now. If it held a peer's newer token before, Weixin may have
    /// issued that one later.
    fn on_store_published(&mut self, now: ClockReading, generation: Generation, replaced: Generation) {
        let Some(current) = self.current.as_ref().filter(|current| current.generation() == generation) else {
            return;
        };
        let requested_at = current.requested_at();
        match self.store.unleased_after.take() {
            Some(known) if replaced <= known => self.certainty.unconfirmed_call_at = None,
            Some(_) if self.behavior.invalidates_previous => self.mark_in_doubt(now, requested_at),
            _ => {}
        }
    }

    /// Plans the next attempt after one that failed because the store is unavailable.
    fn on_store_unavailable(&mut self, now: ClockReading, error: StoreError) {
        self.update_store(|store| store.failed(now, error.clone()));
        let unleased_in = self.delay_until_unleased_fetch(now);
        let wait = schedule::peer_poll_delay(&mut self.jitter);
        self.next_attempt_at = Some(now + wait.min(unleased_in.max(Duration::from_millis(100))));
        if (self.current.is_none() && !unleased_in.is_zero()) || self.reports.pending.is_some() {
            let wait = Some(unleased_in.min(UNLEASED_START_DELAY));
            self.publish_failure(now, TokenError::new(TokenErrorKind::StoreUnavailable(error), wait));
        }
    }

    /// Returns the delay until a fetch without the store is better than none. It is zero if a fetch invalidates no
    /// token.
    fn delay_until_unleased_fetch(&self, now: ClockReading) -> Duration {
        if !self.behavior.invalidates_previous {
            return Duration::ZERO;
        }
        match (&self.current, &self.store.problem) {
            (Some(current), _) => current.remaining(now).saturating_sub(self.store.unleased_lead),
            // The last token expired or was rejected, for peers too.
            (None, _) if self.max_generation > Generation::default() => Duration::ZERO,
            // No peer of this upstream can have the lease.
            (None, Some(problem)) if problem.error.kind() == StoreErrorKind::OtherUpstream => Duration::ZERO,
            // A peer that was fetching at the start of the outage has finished after this time.
            (None, problem) => {
                let failing_for = |problem: &StoreFailure| now.mono.duration_since(problem.since.mono);
                UNLEASED_START_DELAY.saturating_sub(problem.as_ref().map_or(Duration::ZERO, failing_for))
            }
        }
    }
}

impl Failures {
    /// Counts a failed attempt. Returns the time of the first one in a row.
    fn record(&mut self, now: ClockReading) -> MonotonicInstant {
        self.count = self.count.saturating_add(1);
        self.began_at.get_or_insert(now.wall);
        *self.since.get_or_insert(now.mono)
    }

    /// After a success.
    fn clear(&mut self) {
        *self = Self { seq: self.seq, ..Self::default() };
    }

    /// The next attempts are made as if none had failed.
    fn restart(&mut self) {
        *self = Self { seq: self.seq, began_at: self.began_at, ..Self::default() };
    }
}
