//! The life of an app's token as a pure state machine: events and the time go in, commands and the next deadline come
//! out. No I/O, no clock, no lock; everything random comes from a seed.

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
    Action, CachedToken, Event, FetchRequest, Generation, RefreshMode, TokenEndpoint, TokenError,
    TokenErrorKind, TokenEvent, TokenOrigin, TokenStatus,
};
use crate::clock::{ClockReading, MonotonicInstant, UnixMillis};
use crate::jitter::Jitter;

/// After a lost reply the old token lives for five more minutes; one of them is kept in reserve.
const IN_DOUBT_GRACE: Duration = Duration::from_secs(240);

/// How long to wait before beginning again after a panic.
const PANIC_RESTART_DELAY: Duration = Duration::from_secs(10);

/// The wall clock is looked at this often, so that a jump is noticed.
const WALL_CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Decides when to fetch a token and which token may be handed out.
///
/// Feed it every [`Event`] with the time it happened, carry out the [`Action`]s, and come back with [`Event::Timer`] at
/// the [`poll_timeout`](Self::poll_timeout). The states of the design are read off the fields: a token is held or not, an attempt
/// is under way or not, and another is due at some time or not at all.
#[derive(Debug)]
pub struct RefreshState {
    endpoint: TokenEndpoint,
    jitter: Jitter,
    /// The token handed out.
    current: Option<Arc<CachedToken>>,
    /// The newest generation ever seen.
    max_generation: Generation,
    /// The last token Weixin rejected to our face.
    rejected: Option<Arc<CachedToken>>,
    attempt: Option<Attempt>,
    attempts: u64,
    /// When the next attempt starts.
    next_attempt_at: Option<ClockReading>,
    failures: u32,
    /// When the present run of failures began.
    failing_since: Option<MonotonicInstant>,
    failure: Option<TokenError>,
    failure_seq: u64,
    /// The first attempt whose reply was lost, since the last success.
    in_doubt_since: Option<ClockReading>,
    /// Whether that was another process's, known from its mark in the store.
    in_doubt_from_peer: bool,
    /// The last attempt whose reply was lost, ever.
    last_lost: Option<MonotonicInstant>,
    /// When the last call of our own ended whose token is not known to be the one that works: only a token asked for later is.
    unconfirmed_call_at: Option<MonotonicInstant>,
    alone: StoreOutage,
    /// Limits refreshes on report.
    ration: TokenBucket,
    /// Limits how often tokens are fetched, however short their lives are.
    fetches: TokenBucket,
    /// The token that was reported, if a report that is only a claim waits for an attempt.
    pending_report: Option<Generation>,
    /// Whether the next attempt is on report, put off until the ration allows it.
    deferred_by_rate_limit: bool,
}

impl RefreshState {
    /// Nothing held, nothing due: the first [`Event::TokenRequested`] starts it. The seed spreads its attempts in time.
    #[must_use]
    pub fn new(endpoint: TokenEndpoint, seed: u64) -> Self {
        Self {
            endpoint,
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
            alone: StoreOutage::default(),
            ration: TokenBucket::for_reports(),
            fetches: TokenBucket::for_fetches(endpoint),
            pending_report: None,
            deferred_by_rate_limit: false,
        }
    }

    /// Takes an event in and says what to do. An answer to a report comes first.
    pub fn handle_event(&mut self, now: ClockReading, event: Event) -> Vec<Action> {
        let mut commands = Vec::new();
        self.drop_expired(now, &mut commands);
        match event {
            Event::Timer => {}
            Event::TokenRequested => self.on_token_requested(now),
            Event::InvalidTokenReported { generation, evidence } => {
                self.reported(now, generation, evidence, &mut commands);
            }
            Event::FetchFinished { attempt, outcome } => self.finished(now, attempt, outcome, &mut commands),
            Event::StorePublished { generation, replaced } => {
                self.record_store_up(&mut commands);
                self.published(now, generation, replaced);
            }
            Event::StoreLoaded { issued, lost_since } => {
                self.on_store_loaded(now, &issued, lost_since, &mut commands);
            }
        }
        if self.attempt.is_none() && self.next_attempt_at.is_some_and(|due| due.is_past(now)) {
            commands.push(self.start(now, RefreshMode::Normal));
        }
        commands
    }

    /// When to come back with [`Event::Timer`], whatever happens until then.
    #[must_use]
    pub fn poll_timeout(&self, now: ClockReading) -> Option<MonotonicInstant> {
        let ends = self.current.as_ref().map(|issued| issued.expires_at());
        let due = self.next_attempt_at.filter(|_| self.attempt.is_none());
        let next = [ends, due].into_iter().flatten().map(|moment| moment.remaining(now)).min()?;
        Some(now.mono.after(next.min(WALL_CLOCK_CHECK_INTERVAL)))
    }

    /// What waiters and watchers may see.
    #[must_use]
    pub fn status(&self) -> TokenStatus {
        TokenStatus {
            held: self.current.clone(),
            failure: self.failure.clone(),
            announced: self.failure_seq,
            fetching: self.attempt.is_some(),
            suspect_from: self.in_doubt_since.map(|since| since.after(IN_DOUBT_GRACE)),
            next_attempt_at: self.next_attempt_at,
            endpoint: self.endpoint,
        }
    }

    /// An end, once seen, is final: a clock that goes back does not revive the token.
    fn drop_expired(&mut self, now: ClockReading, commands: &mut Vec<Action>) {
        if self.current.as_ref().is_some_and(|issued| !issued.is_valid(now)) {
            self.current = None;
            if self.failures == 0 {
                // Nothing has gone wrong but time itself, so the next attempt waits for the rate limit only.
                let wait = self.fetches.wait(now.mono);
                self.failure = None;
                self.next_attempt_at = Some(now.after(wait));
                if wait > Duration::ZERO && self.attempt.is_none() {
                    self.fetches_are_limited(wait, commands);
                }
            }
        }
    }

    /// Tokens end faster than they may be fetched: callers are told to wait.
    fn fetches_are_limited(&mut self, wait: Duration, commands: &mut Vec<Action>) {
        let failure = TokenErrorKind::ShortLived(wait);
        commands.push(Action::Emit(TokenEvent::FetchFailed {
            failure: failure.clone(),
            retry_in: wait,
            remaining: Duration::ZERO,
            silent: false,
        }));
        self.publish_failure(TokenError::new(failure, Some(wait)));
    }

    /// This moment, or the first at which the rate limit allows another fetch.
    fn within_limit(&self, due: ClockReading, now: ClockReading) -> ClockReading {
        let wait = self.fetches.wait(now.mono);
        if due.remaining(now) < wait { now.after(wait) } else { due }
    }

    fn on_token_requested(&mut self, now: ClockReading) {
        if self.current.is_none() && self.attempt.is_none() && self.next_attempt_at.is_none() {
            self.next_attempt_at = Some(now);
        }
    }

    /// Another process may have put a newer token into the store. One that is over stays over, wherever the wall clock
    /// goes from here.
    fn on_store_loaded(
        &mut self,
        now: ClockReading,
        issued: &Arc<CachedToken>,
        lost_since: Option<UnixMillis>,
        commands: &mut Vec<Action>,
    ) {
        if issued.generation() > self.max_generation && !self.was_rejected(issued) {
            self.record_store_up(commands);
            match issued.is_valid(now) {
                true => self.install_token(now, Arc::clone(issued), TokenOrigin::Adopted, commands),
                false => self.max_generation = issued.generation(),
            }
        }
        if self.current.as_ref().is_some_and(|held| held.generation() == issued.generation()) {
            self.reconcile_same_generation(now, issued, lost_since, commands);
        }
    }

    /// What the store says of the token held: since when it may be dying, because of whomever's attempt.
    fn on_in_doubt_marker(&mut self, now: ClockReading, lost_since: Option<UnixMillis>) {
        match lost_since.map(|since| now.before(now.wall.since(since))) {
            // An attempt of our own is under way, and the mark is its.
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
        if self.is_suspect(now) && self.failures == 0 {
            self.expedite_refresh(now);
        }
    }

    /// Another process is fetching. If it dies of that, its lease ends, and then it is looked after; not by those whose own
    /// attempts fail, because they have their pace.
    fn schedule_takeover(&mut self, now: ClockReading) {
        if self.failures > 0 {
            return;
        }
        let lease = schedule::lease(self.current.as_deref());
        let then = now.after(self.jitter.within_percent(lease * 9 / 10, 5));
        if self.next_attempt_at.is_none_or(|due| due.remaining(now) > then.remaining(now)) {
            self.next_attempt_at = Some(then);
        }
    }

    /// There was nothing to look after; all is as planned again, unless something else is to be done sooner.
    fn schedule_refresh(&mut self, now: ClockReading) {
        let idle = self.failures == 0 && self.attempt.is_none() && self.pending_report.is_none();
        let Some(held) = self.current.as_ref().filter(|_| idle) else { return };
        let due = schedule::refresh(self.endpoint, held, now, &mut self.jitter);
        self.next_attempt_at = Some(self.within_limit(due, now));
        if let Some(since) = self.unsettled_since(now) {
            self.mark_in_doubt(now, since);
        }
    }

    fn was_rejected(&self, issued: &CachedToken) -> bool {
        self.rejected.as_ref().is_some_and(|rejected| rejected.token().ct_eq(issued.token()))
    }

    fn is_suspect(&self, now: ClockReading) -> bool {
        self.holds_unknown_age()
            || self.in_doubt_since.is_some_and(|since| since.after(IN_DOUBT_GRACE).is_past(now))
    }

    fn holds_unknown_age(&self) -> bool {
        self.current.as_ref().is_some_and(|held| !held.has_known_age())
    }

    /// A token to hand out from now on. The same token again is no new generation; only its times are renewed.
    fn install_token(
        &mut self,
        now: ClockReading,
        issued: Arc<CachedToken>,
        obtained: TokenOrigin,
        commands: &mut Vec<Action>,
    ) {
        if obtained != TokenOrigin::Adopted || self.confirms(now, &issued) {
            self.unconfirmed_call_at = None;
        }
        let doubtful = self.conflicting_since(obtained).or_else(|| self.unsettled_since(now));
        let renewed = issued.generation() == self.max_generation && self.current.is_some();
        self.max_generation = self.max_generation.max(issued.generation());
        self.failures = 0;
        self.failing_since = None;
        self.failure = None;
        self.in_doubt_since = None;
        self.in_doubt_from_peer = false;
        self.pending_report = None;
        self.deferred_by_rate_limit = false;
        let due = schedule::refresh(self.endpoint, &issued, now, &mut self.jitter);
        self.next_attempt_at = Some(self.within_limit(due, now));
        if !renewed {
            commands.push(Action::Emit(TokenEvent::Refreshed {
                generation: issued.generation(),
                fingerprint: issued.fingerprint(),
                life: issued.lifetime(),
                obtained,
            }));
        }
        self.alone.reset(schedule::unleased_fetch_lead(&issued, &mut self.jitter));
        self.current = Some(issued);
        if let Some(since) = doubtful {
            self.mark_in_doubt(now, since);
        }
    }

    /// Whoever carries out the commands has failed in the middle of it and will begin again, but not at once.
    pub(crate) fn on_worker_panic(&mut self, now: ClockReading) -> Vec<Action> {
        let mut commands = Vec::new();
        match self.attempt.take() {
            Some(attempt) => self.failed(now, &attempt, TokenErrorKind::Interrupted, &mut commands),
            None => {
                self.failures = self.failures.saturating_add(1);
                self.failing_since.get_or_insert(now.mono);
                self.next_attempt_at = Some(now.after(self.jitter.within_percent(PANIC_RESTART_DELAY, 25)));
            }
        }
        let wait = self.next_attempt_at.map(|due| due.remaining(now));
        self.publish_failure(TokenError::new(TokenErrorKind::Interrupted, wait));
        commands
    }

    fn start(&mut self, now: ClockReading, mode: RefreshMode) -> Action {
        self.attempts += 1;
        self.next_attempt_at = None;
        if std::mem::take(&mut self.deferred_by_rate_limit) {
            // It was put off until there is one.
            let _ = self.ration.try_acquire(now.mono);
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
