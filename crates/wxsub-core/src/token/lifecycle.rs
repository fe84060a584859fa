//! The life of an app's token as a pure state machine: events and the time go in, commands and the next deadline come
//! out. No I/O, no clock, no lock; everything random comes from a seed.

mod alone;
mod attempt;
mod report;

use std::sync::Arc;
use std::time::Duration;

use self::alone::Alone;
use self::attempt::Attempt;
use super::ration::TokenBucket;
use super::schedule;
use super::{
    Command, Event, Failure, Generation, Issued, Mode, Notice, Obtained, Order, Status, TokenEndpoint,
    TokenError,
};
use crate::clock::{Moment, Mono, UnixMillis};
use crate::jitter::Jitter;

/// After a lost reply the old token lives for five more minutes; one of them is kept in reserve.
const SUSPECT_AFTER: Duration = Duration::from_secs(240);

/// How long to wait before beginning again after a panic.
const BROKEN_OFF: Duration = Duration::from_secs(10);

/// The wall clock is looked at this often, so that a jump is noticed.
const LOOK_AT_WALL: Duration = Duration::from_secs(60);

/// Decides when to fetch a token and which token may be handed out.
///
/// Feed it every [`Event`] with the time it happened, carry out the [`Command`]s, and come back with [`Event::Timer`] at
/// the [`deadline`](Self::deadline). The states of the design are read off the fields: a token is held or not, an attempt
/// is under way or not, and another is due at some time or not at all.
#[derive(Debug)]
pub struct Lifecycle {
    endpoint: TokenEndpoint,
    jitter: Jitter,
    /// The token handed out.
    held: Option<Arc<Issued>>,
    /// The newest generation ever seen.
    known: Generation,
    /// The last token Weixin rejected to our face.
    rejected: Option<Arc<Issued>>,
    attempt: Option<Attempt>,
    attempts: u64,
    /// When the next attempt starts.
    due: Option<Moment>,
    failures: u32,
    /// When the present run of failures began.
    failing_since: Option<Mono>,
    failure: Option<TokenError>,
    announced: u64,
    /// The first attempt whose reply was lost, since the last success.
    lost_since: Option<Moment>,
    /// Whether that was another process's, known from its mark in the store.
    lost_elsewhere: bool,
    /// The last attempt whose reply was lost, ever.
    last_lost: Option<Mono>,
    /// When the last call of our own ended whose token is not known to be the one that works: only a token asked for later is.
    unsettled: Option<Mono>,
    alone: Alone,
    /// Limits refreshes on report.
    ration: TokenBucket,
    /// Limits how often tokens are fetched, however short their lives are.
    fetches: TokenBucket,
    /// The token that was reported, if a report that is only a claim waits for an attempt.
    claimed: Option<Generation>,
    /// Whether the next attempt is on report, put off until the ration allows it.
    put_off: bool,
}

impl Lifecycle {
    /// Nothing held, nothing due: the first [`Event::Wanted`] starts it. The seed spreads its attempts in time.
    #[must_use]
    pub fn new(endpoint: TokenEndpoint, seed: u64) -> Self {
        Self {
            endpoint,
            jitter: Jitter::seeded(seed),
            held: None,
            known: Generation::default(),
            rejected: None,
            attempt: None,
            attempts: 0,
            due: None,
            failures: 0,
            failing_since: None,
            failure: None,
            announced: 0,
            lost_since: None,
            lost_elsewhere: false,
            last_lost: None,
            unsettled: None,
            alone: Alone::default(),
            ration: TokenBucket::for_reports(),
            fetches: TokenBucket::for_fetches(endpoint),
            claimed: None,
            put_off: false,
        }
    }

    /// Takes an event in and says what to do. An answer to a report comes first.
    pub fn handle(&mut self, now: Moment, event: Event) -> Vec<Command> {
        let mut commands = Vec::new();
        self.forget_ended(now, &mut commands);
        match event {
            Event::Timer => {}
            Event::Wanted => self.wanted(now),
            Event::Reported { generation, evidence } => {
                self.reported(now, generation, evidence, &mut commands);
            }
            Event::Finished { attempt, outcome } => self.finished(now, attempt, outcome, &mut commands),
            Event::Published { generation, replaced } => {
                self.store_answers(&mut commands);
                self.published(now, generation, replaced);
            }
            Event::Loaded { issued, lost_since } => self.loaded(now, &issued, lost_since, &mut commands),
        }
        if self.attempt.is_none() && self.due.is_some_and(|due| due.reached(now)) {
            commands.push(self.start(now, Mode::Normal));
        }
        commands
    }

    /// When to come back with [`Event::Timer`], whatever happens until then.
    #[must_use]
    pub fn deadline(&self, now: Moment) -> Option<Mono> {
        let ends = self.held.as_ref().map(|issued| issued.ends());
        let due = self.due.filter(|_| self.attempt.is_none());
        let next = [ends, due].into_iter().flatten().map(|moment| moment.left(now)).min()?;
        Some(now.mono.after(next.min(LOOK_AT_WALL)))
    }

    /// What waiters and watchers may see.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            held: self.held.clone(),
            failure: self.failure.clone(),
            announced: self.announced,
            fetching: self.attempt.is_some(),
            suspect_from: self.lost_since.map(|since| since.after(SUSPECT_AFTER)),
            due: self.due,
            endpoint: self.endpoint,
        }
    }

    /// An end, once seen, is final: a clock that goes back does not revive the token.
    fn forget_ended(&mut self, now: Moment, commands: &mut Vec<Command>) {
        if self.held.as_ref().is_some_and(|issued| !issued.is_usable(now)) {
            self.held = None;
            if self.failures == 0 {
                // Nothing has gone wrong but time itself, so the next attempt waits for the rate limit only.
                let wait = self.fetches.wait(now.mono);
                self.failure = None;
                self.due = Some(now.after(wait));
                if wait > Duration::ZERO && self.attempt.is_none() {
                    self.fetches_are_limited(wait, commands);
                }
            }
        }
    }

    /// Tokens end faster than they may be fetched: callers are told to wait.
    fn fetches_are_limited(&mut self, wait: Duration, commands: &mut Vec<Command>) {
        let failure = Failure::ShortLived(wait);
        commands.push(Command::Tell(Notice::FetchFailed {
            failure: failure.clone(),
            retry_in: wait,
            remaining: Duration::ZERO,
            quiet: false,
        }));
        self.announce(TokenError::new(failure, Some(wait)));
    }

    /// This moment, or the first at which the rate limit allows another fetch.
    fn within_limit(&self, due: Moment, now: Moment) -> Moment {
        let wait = self.fetches.wait(now.mono);
        if due.left(now) < wait { now.after(wait) } else { due }
    }

    fn wanted(&mut self, now: Moment) {
        if self.held.is_none() && self.attempt.is_none() && self.due.is_none() {
            self.due = Some(now);
        }
    }

    /// Another process may have put a newer token into the store. One that is over stays over, wherever the wall clock
    /// goes from here.
    fn loaded(
        &mut self,
        now: Moment,
        issued: &Arc<Issued>,
        lost_since: Option<UnixMillis>,
        commands: &mut Vec<Command>,
    ) {
        if issued.generation() > self.known && !self.was_rejected(issued) {
            self.store_answers(commands);
            match issued.is_usable(now) {
                true => self.accept(now, Arc::clone(issued), Obtained::Adopted, commands),
                false => self.known = issued.generation(),
            }
        }
        if self.held.as_ref().is_some_and(|held| held.generation() == issued.generation()) {
            self.same_generation(now, issued, lost_since, commands);
        }
    }

    /// What the store says of the token held: since when it may be dying, because of whomever's attempt.
    fn marked(&mut self, now: Moment, lost_since: Option<UnixMillis>) {
        match lost_since.map(|since| now.before(now.wall.since(since))) {
            // An attempt of our own is under way, and the mark is its.
            Some(_) if self.attempt.is_some() => {}
            Some(since) if self.lost_since.is_none_or(|known| since.mono < known.mono) => {
                self.lost_since = Some(since);
                self.lost_elsewhere = true;
                self.last_lost = Some(since.mono);
                self.look_after(now);
            }
            None if self.lost_elsewhere => {
                self.lost_since = None;
                self.lost_elsewhere = false;
                self.plan(now);
            }
            _ => {}
        }
        if self.is_suspect(now) && self.failures == 0 {
            self.hurry(now);
        }
    }

    /// Another process is fetching. If it dies of that, its lease ends, and then it is looked after; not by those whose own
    /// attempts fail, because they have their pace.
    fn look_after(&mut self, now: Moment) {
        if self.failures > 0 {
            return;
        }
        let lease = schedule::lease(self.held.as_deref());
        let then = now.after(self.jitter.around(lease * 9 / 10, 5));
        if self.due.is_none_or(|due| due.left(now) > then.left(now)) {
            self.due = Some(then);
        }
    }

    /// There was nothing to look after; all is as planned again, unless something else is to be done sooner.
    fn plan(&mut self, now: Moment) {
        let idle = self.failures == 0 && self.attempt.is_none() && self.claimed.is_none();
        let Some(held) = self.held.as_ref().filter(|_| idle) else { return };
        let due = schedule::refresh(self.endpoint, held, now, &mut self.jitter);
        self.due = Some(self.within_limit(due, now));
        if let Some(since) = self.unsettled_since(now) {
            self.doubt(now, since);
        }
    }

    fn was_rejected(&self, issued: &Issued) -> bool {
        self.rejected.as_ref().is_some_and(|rejected| rejected.token().same_as(issued.token()))
    }

    fn is_suspect(&self, now: Moment) -> bool {
        self.holds_unknown_age()
            || self.lost_since.is_some_and(|since| since.after(SUSPECT_AFTER).reached(now))
    }

    fn holds_unknown_age(&self) -> bool {
        self.held.as_ref().is_some_and(|held| !held.has_known_age())
    }

    /// A token to hand out from now on. The same token again is no new generation; only its times are renewed.
    fn accept(&mut self, now: Moment, issued: Arc<Issued>, obtained: Obtained, commands: &mut Vec<Command>) {
        if obtained != Obtained::Adopted || self.settles(now, &issued) {
            self.unsettled = None;
        }
        let doubtful = self.raced(obtained).or_else(|| self.unsettled_since(now));
        let renewed = issued.generation() == self.known && self.held.is_some();
        self.known = self.known.max(issued.generation());
        self.failures = 0;
        self.failing_since = None;
        self.failure = None;
        self.lost_since = None;
        self.lost_elsewhere = false;
        self.claimed = None;
        self.put_off = false;
        let due = schedule::refresh(self.endpoint, &issued, now, &mut self.jitter);
        self.due = Some(self.within_limit(due, now));
        if !renewed {
            commands.push(Command::Tell(Notice::Refreshed {
                generation: issued.generation(),
                fingerprint: issued.fingerprint(),
                life: issued.life(),
                obtained,
            }));
        }
        self.alone.holds(schedule::alone(&issued, &mut self.jitter));
        self.held = Some(issued);
        if let Some(since) = doubtful {
            self.doubt(now, since);
        }
    }

    /// Whoever carries out the commands has failed in the middle of it and will begin again, but not at once.
    pub(crate) fn broken_off(&mut self, now: Moment) -> Vec<Command> {
        let mut commands = Vec::new();
        match self.attempt.take() {
            Some(attempt) => self.failed(now, &attempt, Failure::Interrupted, &mut commands),
            None => {
                self.failures = self.failures.saturating_add(1);
                self.failing_since.get_or_insert(now.mono);
                self.due = Some(now.after(self.jitter.around(BROKEN_OFF, 25)));
            }
        }
        let wait = self.due.map(|due| due.left(now));
        self.announce(TokenError::new(Failure::Interrupted, wait));
        commands
    }

    fn start(&mut self, now: Moment, mode: Mode) -> Command {
        self.attempts += 1;
        self.due = None;
        if std::mem::take(&mut self.put_off) {
            // It was put off until there is one.
            let _ = self.ration.try_acquire(now.mono);
        }
        self.attempt = Some(Attempt { number: self.attempts, mode, asked: now, known: self.known });
        Command::Fetch(Order {
            attempt: self.attempts,
            mode,
            known: self.known,
            timeout: schedule::timeout(self.held.as_deref()),
            lease: schedule::lease(self.held.as_deref()),
            alone: self.may_fetch_alone(now),
            rejected: self.rejected.clone(),
        })
    }
}
