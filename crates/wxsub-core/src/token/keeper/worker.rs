//! The keeper's one task: waits for asks, results and deadlines, and carries out what the lifecycle decides.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, info, warn};

use super::round::Rounds;
use crate::clock::Mono;
use crate::token::{
    Command, Event, Evidence, Failure, Generation, Issued, Lifecycle, Notice, Observer, Order, Outcome,
    Status, Verdict,
};

/// How often a shared store is read.
const POLL: Duration = Duration::from_secs(2);

/// What callers tell the task.
pub(super) enum Ask {
    Wanted,
    Report { failed: Generation, evidence: Evidence, answer: oneshot::Sender<Verdict> },
}

/// Everything the task needs, and everything that must outlive it.
pub(super) struct Worker {
    lifecycle: Lifecycle,
    rounds: Arc<Rounds>,
    /// Whether other keepers use the same store.
    shared: bool,
    inbox: mpsc::Receiver<Ask>,
    status: watch::Sender<Status>,
    current: Arc<ArcSwapOption<Issued>>,
    observer: Option<Observer>,
    /// The attempt under way.
    attempt: Option<u64>,
    /// The newest generation the store has hinted at.
    hinted: Generation,
}

/// What the task waits for.
enum Woken {
    Asked(Ask),
    /// Nobody can ask any more.
    Forsaken,
    Finished(u64, Outcome),
    Read(Option<Event>),
    /// The store may hold a token of this generation.
    Hinted(Generation),
    Deadline,
}

type Fetch = Pin<Box<dyn Future<Output = Outcome> + Send>>;
type Reading = Pin<Box<dyn Future<Output = Option<Event>> + Send>>;

impl Worker {
    pub(super) fn new(
        lifecycle: Lifecycle,
        rounds: Arc<Rounds>,
        shared: bool,
        inbox: mpsc::Receiver<Ask>,
        status: watch::Sender<Status>,
        current: Arc<ArcSwapOption<Issued>>,
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
            let outcome = Outcome::Failed(Failure::Interrupted);
            fetch = self.take_in(Event::Finished { attempt, outcome }, None);
        }
        let mut read_at = self.rounds.clock.now().mono.after(POLL);
        loop {
            let (event, answer) = match self.wait(&mut fetch, &mut reading, read_at).await {
                Woken::Forsaken => return,
                Woken::Asked(Ask::Wanted) => (Event::Wanted, None),
                Woken::Asked(Ask::Report { failed, evidence, answer }) => {
                    (Event::Reported { generation: failed, evidence }, Some(answer))
                }
                Woken::Finished(attempt, outcome) => {
                    fetch = None;
                    (Event::Finished { attempt, outcome }, None)
                }
                Woken::Read(found) => {
                    reading = None;
                    read_at = self.rounds.clock.now().mono.after(POLL);
                    (found.unwrap_or(Event::Timer), None)
                }
                Woken::Hinted(generation) => {
                    // Heeded once, so that a false one costs one reading.
                    self.hinted = generation;
                    read_at = self.rounds.clock.now().mono;
                    (Event::Timer, None)
                }
                Woken::Deadline => (Event::Timer, None),
            };
            if let Some(started) = self.take_in(event, answer) {
                fetch = Some(started);
            }
            if self.shared && reading.is_none() && self.rounds.clock.now().mono >= read_at {
                let rounds = Arc::clone(&self.rounds);
                let held = self.status.borrow().held.clone();
                reading = Some(Box::pin(async move { rounds.stored(held).await }));
            }
        }
    }

    /// A panic has ended the task. Gives the time from which it may be started again.
    pub(super) fn broken_off(&mut self) -> Mono {
        let now = self.rounds.clock.now();
        warn!(appid = self.rounds.appid.as_str(), "the keeper's task has panicked; it will be started again");
        let notices = self.lifecycle.broken_off(now);
        debug!(?notices, "left untold, since the observer may be what panicked");
        self.publish();
        self.lifecycle.deadline(now).unwrap_or(now.mono)
    }

    /// Forgets who asked: they ask again. Gives what wakes them.
    pub(super) fn put_down(&mut self) -> watch::Sender<Status> {
        while self.inbox.try_recv().is_ok() {}
        self.status.clone()
    }

    async fn wait(
        &mut self,
        fetch: &mut Option<Fetch>,
        reading: &mut Option<Reading>,
        read_at: Mono,
    ) -> Woken {
        let now = self.rounds.clock.now();
        let read_at = (self.shared && reading.is_none()).then_some(read_at);
        let deadline = [self.lifecycle.deadline(now), read_at].into_iter().flatten().min();
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
                (Some(_), None) => rounds.store.newer_than(&rounds.appid, newest).await,
                // Read already, or by the attempt, whose own token would be hinted at.
                _ => pending().await,
            }
        };
        tokio::select! {
            biased;
            ask = self.inbox.recv() => ask.map_or(Woken::Forsaken, Woken::Asked),
            outcome = ready(fetch) => Woken::Finished(attempt.unwrap_or_default(), outcome),
            found = ready(reading) => Woken::Read(found),
            generation = hint => Woken::Hinted(generation),
            () = sleep => Woken::Deadline,
        }
    }

    /// The newest generation held or hinted at.
    fn newest(&self) -> Generation {
        let held = self.status.borrow().held.as_ref().map(|issued| issued.generation());
        self.hinted.max(held.unwrap_or_default())
    }

    /// Feeds the lifecycle, carries out what it says and shows what it knows. Gives the fetch that was started, if any.
    fn take_in(&mut self, event: Event, mut answer: Option<oneshot::Sender<Verdict>>) -> Option<Fetch> {
        let now = self.rounds.clock.now();
        let (mut started, mut notices) = (None, Vec::new());
        let commands = self.lifecycle.handle(now, event);
        self.publish();
        for command in commands {
            match command {
                Command::Fetch(order) => started = Some(self.start(order)),
                Command::Tell(notice) => notices.push(notice),
                Command::Answer(verdict) => {
                    // A reporter that gave up does not want to know.
                    let _ = answer.take().map(|answer| answer.send(verdict));
                }
            }
        }
        // Last, because an observer is foreign code and may panic.
        notices.iter().for_each(|notice| self.tell(notice));
        started
    }

    fn start(&mut self, order: Order) -> Fetch {
        self.attempt = Some(order.attempt);
        let rounds = Arc::clone(&self.rounds);
        Box::pin(async move { rounds.carry_out(&order).await })
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

    fn tell(&self, notice: &Notice) {
        let appid = self.rounds.appid.as_str();
        match notice {
            Notice::Refreshed { generation, fingerprint, life, obtained } => {
                info!(appid, %generation, %fingerprint, ?life, ?obtained, "a new access token is held");
            }
            Notice::StoreAway => warn!(appid, "the token store does not answer; fetching is put off"),
            Notice::StoreBack => info!(appid, "the token store answers again"),
            Notice::FetchFailed { failure, retry_in, quiet: true, .. } => {
                debug!(appid, %failure, ?retry_in, "fetching an access token failed; trying again");
            }
            Notice::FetchFailed { failure, retry_in, remaining, quiet: false } => {
                warn!(appid, %failure, ?retry_in, ?remaining, "fetching an access token failed");
            }
            Notice::AnswerLost { generation } => {
                warn!(appid, %generation, "the reply to a fetch was lost; the token held may die before its time");
            }
            Notice::Rejected { generation, remaining } => {
                debug!(appid, %generation, ?remaining, "Weixin rejected the access token");
            }
            Notice::Stolen { generation, remaining } => {
                warn!(appid, %generation, ?remaining, "somebody else is fetching tokens for this app");
            }
        }
        if let Some(observer) = &self.observer {
            observer(notice);
        }
    }
}

/// Waits for work that may not be there; without any, for ever.
async fn ready<T>(work: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match work {
        Some(work) => work.await,
        None => pending().await,
    }
}
