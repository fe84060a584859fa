//! The keeper's one task: waits for asks, results and deadlines, and carries out what the lifecycle decides.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, info, warn};

use super::fetch::TokenFetcher;
use crate::clock::MonotonicInstant;
use crate::token::{
    Action, CachedToken, Event, Evidence, FetchOutcome, FetchRequest, Generation, Observer, RefreshState,
    ReportOutcome, TokenErrorKind, TokenEvent, TokenStatus,
};

/// How often a shared store is read.
const STORE_POLL_INTERVAL: Duration = Duration::from_secs(2);

/// What callers tell the task.
pub(super) enum Request {
    Wanted,
    Report { failed: Generation, evidence: Evidence, answer: oneshot::Sender<ReportOutcome> },
}

/// Everything the task needs, and everything that must outlive it.
pub(super) struct RefreshTask {
    lifecycle: RefreshState,
    rounds: Arc<TokenFetcher>,
    /// Whether other keepers use the same store.
    shared: bool,
    inbox: mpsc::Receiver<Request>,
    status: watch::Sender<TokenStatus>,
    current: Arc<ArcSwapOption<CachedToken>>,
    observer: Option<Observer>,
    /// The attempt under way.
    attempt: Option<u64>,
    /// The newest generation the store has hinted at.
    hinted: Generation,
}

/// What the task waits for.
enum Wakeup {
    Asked(Request),
    /// Nobody can ask any more.
    AllHandlesDropped,
    Finished(u64, FetchOutcome),
    Read(Option<Event>),
    /// The store may hold a token of this generation.
    StoreChanged(Generation),
    Deadline,
}

type Fetch = Pin<Box<dyn Future<Output = FetchOutcome> + Send>>;
type Reading = Pin<Box<dyn Future<Output = Option<Event>> + Send>>;

impl RefreshTask {
    pub(super) fn new(
        lifecycle: RefreshState,
        rounds: Arc<TokenFetcher>,
        shared: bool,
        inbox: mpsc::Receiver<Request>,
        status: watch::Sender<TokenStatus>,
        current: Arc<ArcSwapOption<CachedToken>>,
        observer: Option<Observer>,
    ) -> Self {
        Self {
            lifecycle,
            rounds,
            shared,
            inbox,
            status,
            current,
            observer,
            attempt: None,
            hinted: Generation::default(),
        }
    }

    /// Goes on until nobody can ask any more.
    pub(super) async fn run(&mut self) {
        let (mut fetch, mut reading): (Option<Fetch>, Option<Reading>) = (None, None);
        if let Some(attempt) = self.attempt.take() {
            // An earlier task was dropped half-way.
            let outcome = FetchOutcome::Failed(TokenErrorKind::Interrupted);
            fetch = self.step(Event::FetchFinished { attempt, outcome }, None);
        }
        let mut read_at = self.rounds.clock.now().mono.after(STORE_POLL_INTERVAL);
        loop {
            let (event, answer) = match self.wait(&mut fetch, &mut reading, read_at).await {
                Wakeup::AllHandlesDropped => return,
                Wakeup::Asked(Request::Wanted) => (Event::TokenRequested, None),
                Wakeup::Asked(Request::Report { failed, evidence, answer }) => {
                    (Event::InvalidTokenReported { generation: failed, evidence }, Some(answer))
                }
                Wakeup::Finished(attempt, outcome) => {
                    fetch = None;
                    (Event::FetchFinished { attempt, outcome }, None)
                }
                Wakeup::Read(found) => {
                    reading = None;
                    read_at = self.rounds.clock.now().mono.after(STORE_POLL_INTERVAL);
                    (found.unwrap_or(Event::Timer), None)
                }
                Wakeup::StoreChanged(generation) => {
                    // Heeded once, so that a false one costs one reading.
                    self.hinted = generation;
                    read_at = self.rounds.clock.now().mono;
                    (Event::Timer, None)
                }
                Wakeup::Deadline => (Event::Timer, None),
            };
            if let Some(started) = self.step(event, answer) {
                fetch = Some(started);
            }
            if self.shared && reading.is_none() && self.rounds.clock.now().mono >= read_at {
                let rounds = Arc::clone(&self.rounds);
                let held = self.status.borrow().held.clone();
                reading = Some(Box::pin(async move { rounds.sync_with_store(held).await }));
            }
        }
    }

    /// A panic has ended the task. Gives the time from which it may be started again.
    pub(super) fn on_panic(&mut self) -> MonotonicInstant {
        let now = self.rounds.clock.now();
        warn!(appid = self.rounds.appid.as_str(), "the keeper's task has panicked; it will be started again");
        let notices = self.lifecycle.on_worker_panic(now);
        debug!(?notices, "left untold, since the observer may be what panicked");
        self.publish();
        self.lifecycle.poll_timeout(now).unwrap_or(now.mono)
    }

    /// Forgets who asked: they ask again. Gives what wakes them.
    pub(super) fn discard_pending_requests(&mut self) -> watch::Sender<TokenStatus> {
        while self.inbox.try_recv().is_ok() {}
        self.status.clone()
    }

    async fn wait(
        &mut self,
        fetch: &mut Option<Fetch>,
        reading: &mut Option<Reading>,
        read_at: MonotonicInstant,
    ) -> Wakeup {
        let now = self.rounds.clock.now();
        let read_at = (self.shared && reading.is_none()).then_some(read_at);
        let deadline = [self.lifecycle.poll_timeout(now), read_at].into_iter().flatten().min();
        let clock = &self.rounds.clock;
        let sleep = async {
            match deadline {
                Some(deadline) => clock.sleep_until(deadline).await,
                None => pending().await,
            }
        };
        let (rounds, newest, attempt) = (&self.rounds, self.newest(), self.attempt);
        let hint = async {
            match (read_at, attempt) {
                (Some(_), None) => rounds.store.wait_for_change(&rounds.appid, newest).await,
                // Read already, or by the attempt, whose own token would be hinted at.
                _ => pending().await,
            }
        };
        tokio::select! {
            biased;
            ask = self.inbox.recv() => ask.map_or(Wakeup::AllHandlesDropped, Wakeup::Asked),
            outcome = await_optional(fetch) => Wakeup::Finished(attempt.unwrap_or_default(), outcome),
            found = await_optional(reading) => Wakeup::Read(found),
            generation = hint => Wakeup::StoreChanged(generation),
            () = sleep => Wakeup::Deadline,
        }
    }

    /// The newest generation held or hinted at.
    fn newest(&self) -> Generation {
        let held = self.status.borrow().held.as_ref().map(|issued| issued.generation());
        self.hinted.max(held.unwrap_or_default())
    }

    /// Feeds the lifecycle, carries out what it says and shows what it knows. Gives the fetch that was started, if any.
    fn step(&mut self, event: Event, mut answer: Option<oneshot::Sender<ReportOutcome>>) -> Option<Fetch> {
        let now = self.rounds.clock.now();
        let (mut started, mut notices) = (None, Vec::new());
        let commands = self.lifecycle.handle_event(now, event);
        self.publish();
        for command in commands {
            match command {
                Action::Fetch(order) => started = Some(self.start(order)),
                Action::Emit(notice) => notices.push(notice),
                Action::ResolveReport(verdict) => {
                    // A reporter that gave up does not want to know.
                    let _ = answer.take().map(|answer| answer.send(verdict));
                }
            }
        }
        // Last, because an observer is foreign code and may panic.
        notices.iter().for_each(|notice| self.emit(notice));
        started
    }

    fn start(&mut self, order: FetchRequest) -> Fetch {
        self.attempt = Some(order.attempt);
        let rounds = Arc::clone(&self.rounds);
        Box::pin(async move { rounds.execute(&order).await })
    }

    fn publish(&mut self) {
        let status = self.lifecycle.status();
        if !status.fetching {
            self.attempt = None;
        }
        // Waking ten thousand waiters for nothing would have each of them ask again.
        self.status.send_if_modified(|shown| {
            let changed = !shown.same_as(&status);
            if changed {
                self.current.store(status.held.clone());
                *shown = status;
            }
            changed
        });
    }

    fn emit(&self, notice: &TokenEvent) {
        let appid = self.rounds.appid.as_str();
        match notice {
            TokenEvent::Refreshed { generation, fingerprint, life, obtained } => {
                info!(appid, %generation, %fingerprint, ?life, ?obtained, "a new access token is held");
            }
            TokenEvent::StoreUnavailable => {
                warn!(appid, "the token store does not answer; fetching is put off");
            }
            TokenEvent::StoreRecovered => info!(appid, "the token store answers again"),
            TokenEvent::FetchFailed { failure, retry_in, silent: true, .. } => {
                debug!(appid, %failure, ?retry_in, "fetching an access token failed; trying again");
            }
            TokenEvent::FetchFailed { failure, retry_in, remaining, silent: false } => {
                warn!(appid, %failure, ?retry_in, ?remaining, "fetching an access token failed");
            }
            TokenEvent::FetchResponseLost { generation } => {
                warn!(appid, %generation, "the reply to a fetch was lost; the token held may die before its time");
            }
            TokenEvent::Rejected { generation, remaining } => {
                debug!(appid, %generation, ?remaining, "Weixin rejected the access token");
            }
            TokenEvent::InvalidatedExternally { generation, remaining } => {
                warn!(appid, %generation, ?remaining, "somebody else is fetching tokens for this app");
            }
        }
        if let Some(observer) = &self.observer {
            observer(notice);
        }
    }
}

/// Waits for work that may not be there; without any, for ever.
async fn await_optional<T>(work: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match work {
        Some(work) => work.await,
        None => pending().await,
    }
}
