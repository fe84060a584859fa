//! The one task of a token cache. It waits for requests, results and deadlines, and carries out the actions of the
//! refresh state. It starts again after its runtime ended or it panicked.
//!
//! Requests come through a channel of `futures-channel`. One of tokio takes 1.3 kB from the start, and a server has thousands
//! of caches, most of which get a request an hour.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_channel::mpsc::UnboundedReceiver;
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tracing::{debug, info, warn};

use super::fetch::TokenFetcher;
use crate::clock::{Clock, MonotonicInstant, timeout_at};
use crate::store::StoreChange;
use crate::token::{
    Action, CachedToken, Event, Evidence, FetchOutcome, FetchRequest, Generation, Observer, RefreshState,
    ReportOutcome, TokenError, TokenErrorKind, TokenEvent, TokenStatus,
};

/// Delay before a shared store is read without a change: after an attempt, and after a read or write that failed.
const STORE_REREAD_DELAY: Duration = Duration::from_secs(2);

/// How long a running attempt may go on when the cache is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A message from a caller to the task.
pub(super) enum Request {
    /// The caller needs a token and sees none.
    Token,
    /// The token of this generation no longer works.
    Report { generation: Generation, evidence: Evidence, response: oneshot::Sender<ReportOutcome> },
    /// The process ends. The sender is dropped when nothing runs any more.
    Close(oneshot::Sender<()>),
}

/// What the task needs, and what must outlive a panic.
pub(super) struct RefreshTask {
    pub(super) state: RefreshState,
    pub(super) fetcher: Arc<TokenFetcher>,
    /// Whether peers use the same store.
    pub(super) is_shared: bool,
    /// It ends when all handles of the token cache were dropped.
    pub(super) requests: UnboundedReceiver<Request>,
    pub(super) status: watch::Sender<TokenStatus>,
    pub(super) current: Arc<ArcSwapOption<CachedToken>>,
    pub(super) observer: Option<Observer>,
    /// The number of the running attempt.
    pub(super) attempt: Option<u64>,
    /// The mark of the last change of the store.
    pub(super) seen_change: u64,
    /// The earliest next start. After a panic it bounds how often the task starts.
    pub(super) restart_not_before: MonotonicInstant,
}

/// What woke the task.
enum Wakeup {
    /// `None` if all handles of the token cache were dropped.
    Request(Option<Request>),
    FetchFinished(u64, FetchOutcome),
    StoreRead(Event),
    /// The record may have changed, or changes cannot be seen.
    StoreChanged(StoreChange),
    Deadline,
}

type Fetch = Pin<Box<dyn Future<Output = FetchOutcome> + Send>>;
type StoreRead = Pin<Box<dyn Future<Output = Event> + Send>>;

impl RefreshTask {
    /// Runs until all handles of the token cache were dropped.
    pub(super) async fn run(&mut self) {
        let (mut fetch, mut store_read): (Option<Fetch>, Option<StoreRead>) = (None, None);
        if let Some(attempt) = self.attempt.take() {
            // The runtime of an earlier task ended during an attempt.
            let outcome = FetchOutcome::Failed(TokenErrorKind::Interrupted);
            fetch = self.step(Event::FetchFinished { attempt, outcome }, None);
        }
        // The store may have the token of an attempt that was dropped.
        let mut next_store_read =
            self.fetcher.publishing.lock().take().map(|_| self.fetcher.clock.now().mono);
        loop {
            let (event, response) = match self.wait(&mut fetch, &mut store_read, next_store_read).await {
                Wakeup::Request(None) => return,
                Wakeup::Request(Some(Request::Close(closed))) => {
                    self.finish_attempt(fetch).await;
                    if let Some(fallback) = &self.fetcher.fallback {
                        fallback.finish().await;
                    }
                    drop(closed);
                    return;
                }
                Wakeup::Request(Some(Request::Token)) => (Event::TokenRequested, None),
                Wakeup::Request(Some(Request::Report { generation, evidence, response })) => {
                    (Event::InvalidTokenReported { generation, evidence }, Some(response))
                }
                Wakeup::FetchFinished(attempt, outcome) => {
                    fetch = None;
                    // What was read during the attempt may have been taken for its own work.
                    next_store_read.get_or_insert(self.fetcher.clock.now().mono + STORE_REREAD_DELAY);
                    (Event::FetchFinished { attempt, outcome }, None)
                }
                Wakeup::StoreRead(found) => {
                    store_read = None;
                    if matches!(found, Event::StoreReadFailed(_) | Event::Timer) {
                        next_store_read.get_or_insert(self.fetcher.clock.now().mono + STORE_REREAD_DELAY);
                    }
                    (found, None)
                }
                Wakeup::StoreChanged(StoreChange { mark, failure }) => {
                    self.seen_change = mark;
                    match failure {
                        Some(error) => (Event::StoreReadFailed(error), None),
                        None => {
                            next_store_read = Some(self.fetcher.clock.now().mono);
                            (Event::Timer, None)
                        }
                    }
                }
                Wakeup::Deadline => (Event::Timer, None),
            };
            fetch = self.step(event, response).or(fetch);
            let now = self.fetcher.clock.now().mono;
            let can_read = self.is_shared && store_read.is_none();
            if can_read && next_store_read.take_if(|due| now >= *due).is_some() {
                let fetcher = Arc::clone(&self.fetcher);
                let (current, is_unleased) =
                    (self.status.borrow().current.clone(), self.state.unleased().is_some());
                store_read =
                    Some(Box::pin(async move { fetcher.sync_with_store(current, is_unleased).await }));
            }
        }
    }

    /// Lets a running attempt end, within [`CLOSE_TIMEOUT`]. After that gives it up, and releases its lease.
    async fn finish_attempt(&mut self, fetch: Option<Fetch>) {
        let Some(fetch) = fetch else { return };
        let deadline = self.fetcher.clock.now().mono + CLOSE_TIMEOUT;
        let (attempt, clock) = (self.attempt.unwrap_or_default(), Arc::clone(&self.fetcher.clock));
        match timeout_at(&*clock, deadline, fetch).await {
            Some(outcome) => drop(self.step(Event::FetchFinished { attempt, outcome }, None)),
            None => self.fetcher.release_lease().await,
        }
    }

    /// Records a panic of the task, which may start again after a delay.
    fn on_panic(&mut self) {
        let now = self.fetcher.clock.now();
        warn!(
            appid = self.fetcher.appid.as_str(),
            "the refresh task panicked; it starts again after a delay"
        );
        let events = self.state.on_task_panic(now);
        debug!(?events, "events not reported, because the observer may have panicked");
        self.publish();
        self.restart_not_before = self.state.poll_timeout(now).unwrap_or(now.mono);
    }

    async fn wait(
        &mut self,
        fetch: &mut Option<Fetch>,
        store_read: &mut Option<StoreRead>,
        next_store_read: Option<MonotonicInstant>,
    ) -> Wakeup {
        let now = self.fetcher.clock.now();
        let can_read = self.is_shared && store_read.is_none();
        let next_store_read = next_store_read.filter(|_| can_read);
        let deadline = [self.state.poll_timeout(now), next_store_read].into_iter().flatten().min();
        let clock = &self.fetcher.clock;
        let sleep = async {
            match deadline {
                Some(deadline) => clock.sleep_until(deadline).await,
                None => pending().await,
            }
        };
        let (fetcher, seen, attempt) = (&self.fetcher, self.seen_change, self.attempt);
        let change = async {
            match can_read {
                true => fetcher.store.wait_for_change(&fetcher.appid, seen).await,
                false => pending().await,
            }
        };
        tokio::select! {
            biased;
            request = self.requests.next() => Wakeup::Request(request),
            outcome = await_optional(fetch) => Wakeup::FetchFinished(attempt.unwrap_or_default(), outcome),
            found = await_optional(store_read) => Wakeup::StoreRead(found),
            change = change => Wakeup::StoreChanged(change),
            () = sleep => Wakeup::Deadline,
        }
    }

    /// Passes an event to the refresh state, publishes the new status and carries out the actions. Returns the
    /// fetch that it started, if any.
    fn step(&mut self, event: Event, mut response: Option<oneshot::Sender<ReportOutcome>>) -> Option<Fetch> {
        let now = self.fetcher.clock.now();
        let (mut fetch_started, mut events) = (None, Vec::new());
        let actions = self.state.handle_event(now, event);
        self.publish();
        for action in actions {
            match action {
                Action::Fetch(request) => fetch_started = Some(self.start(request)),
                Action::Emit(event) => events.push(event),
                Action::ResolveReport(outcome) => {
                    // The caller may have given up.
                    let _ = response.take().map(|response| response.send(outcome));
                }
            }
        }
        let refreshed = events.iter().any(|event| matches!(event, TokenEvent::Refreshed { .. }));
        if let Some(current) = self.status.borrow().current.as_deref().filter(|_| refreshed) {
            self.fetcher.save_fallback(current);
        }
        // The observer comes last, because it may panic.
        events.iter().for_each(|event| self.emit(event));
        fetch_started
    }

    fn start(&mut self, request: FetchRequest) -> Fetch {
        self.attempt = Some(request.attempt);
        let fetcher = Arc::clone(&self.fetcher);
        Box::pin(async move { fetcher.execute(&request).await })
    }

    fn publish(&mut self) {
        let status = self.state.status();
        if !status.fetching {
            self.attempt = None;
        }
        // Each waiting caller that wakes sends a request, so they wake only for a change.
        self.status.send_if_modified(|published| {
            let changed = *published != status;
            if changed {
                self.current.store(status.current.clone());
                *published = status;
            }
            changed
        });
    }

    fn emit(&self, event: &TokenEvent) {
        let appid = self.fetcher.appid.as_str();
        match event {
            TokenEvent::Refreshed { generation, fingerprint, lifetime, origin } => {
                let lifetime_s = lifetime.as_secs();
                info!(appid, %generation, %fingerprint, lifetime_s, ?origin, "access token refreshed");
            }
            TokenEvent::Unchanged { generation, remaining, has_failed: true } => {
                let remaining_s = remaining.as_secs();
                info!(appid, %generation, remaining_s, "access token fetches succeed again; the token is the same");
            }
            TokenEvent::Unchanged { generation, remaining, has_failed: false } => {
                let remaining_s = remaining.as_secs();
                debug!(appid, %generation, remaining_s, "access token fetched; it is the same");
            }
            TokenEvent::StoreUnavailable { error } => {
                let (kind, remedy) = (error.kind().as_str(), error.remedy().as_str());
                warn!(appid, kind, remedy, %error, "token store failed");
            }
            TokenEvent::StoreRecovered => info!(appid, "token store works again"),
            TokenEvent::FetchFailed { failure, retry_in, silent: true, .. } => {
                let retry_in_s = seconds_up(*retry_in);
                debug!(appid, %failure, retry_in_s, "access token fetch failed; retrying");
            }
            TokenEvent::FetchFailed { failure, retry_in, remaining, silent: false } => {
                let (retry_in_s, remaining_s) = (seconds_up(*retry_in), remaining.as_secs());
                let upstream = self.fetcher.behavior.name;
                warn!(appid, %upstream, %failure, retry_in_s, remaining_s, "access token fetch failed");
            }
            TokenEvent::FetchResponseLost { generation } => {
                warn!(appid, %generation, "response to an access token fetch was lost; the current token is in doubt");
            }
            TokenEvent::Rejected { generation, remaining } => {
                let remaining_s = remaining.as_secs();
                debug!(appid, %generation, remaining_s, "access token rejected by Weixin");
            }
            TokenEvent::InvalidatedExternally { generation, remaining } => {
                let remaining_s = remaining.as_secs();
                warn!(appid, %generation, remaining_s, "access token invalidated externally; another program fetches tokens for this app");
            }
        }
        if let Some(observer) = &self.observer {
            observer(event);
        }
    }
}

/// Whole seconds for the log, rounded up: a delay of 0 s would look like none.
fn seconds_up(delay: Duration) -> u128 {
    delay.as_millis().div_ceil(1000)
}

/// Waits for work if there is any, or else forever.
async fn await_optional<T>(work: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match work {
        Some(work) => work.await,
        None => pending().await,
    }
}

/// Holds the refresh task while it is not running.
pub(super) struct TaskSlot {
    // In a box, because a future has room for each value that is moved into it, and a server has thousands of tasks.
    parked: Mutex<Option<Box<RefreshTask>>>,
    /// Whether a task has ended and must be started again. Set under the lock only.
    stopped: AtomicBool,
}

impl TaskSlot {
    /// Creates a slot with a task that has never run.
    pub(super) fn new(task: RefreshTask) -> Self {
        Self { parked: Mutex::new(Some(Box::new(task))), stopped: AtomicBool::new(false) }
    }

    /// Returns whether the task is running.
    pub(super) fn is_running(&self) -> bool {
        self.parked.lock().is_none()
    }

    /// Returns whether a task has ended. Takes no lock.
    pub(super) fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Starts the task unless it is running.
    ///
    /// Fails if there is no runtime, or if the delay after a panic has not passed.
    pub(super) fn ensure_running(self: &Arc<Self>, clock: &dyn Clock) -> Result<(), TokenError> {
        let runtime = Handle::try_current();
        let mut parked = self.parked.lock();
        let Some(task) = &*parked else { return Ok(()) };
        let wait = task.restart_not_before.duration_since(clock.now().mono);
        if !wait.is_zero() {
            return Err(TokenError::new(TokenErrorKind::Interrupted, Some(wait)));
        }
        let Ok(runtime) = runtime else { return Err(TokenError::new(TokenErrorKind::NoRuntime, None)) };
        let task = parked.take();
        self.stopped.store(false, Ordering::Relaxed);
        // Dropping the running task takes this lock.
        drop(parked);
        runtime.spawn(RunningTask { task, slot: Arc::clone(self) }.run());
        Ok(())
    }
}

/// The running task. When it ends, for any reason, it returns to its slot and the next caller can start it again.
struct RunningTask {
    task: Option<Box<RefreshTask>>,
    slot: Arc<TaskSlot>,
}

impl RunningTask {
    async fn run(mut self) {
        if let Some(task) = &mut self.task {
            task.run().await;
        }
    }
}

impl Drop for RunningTask {
    fn drop(&mut self) {
        let Some(mut task) = self.task.take() else { return };
        if std::thread::panicking() {
            task.on_panic();
        }
        // Their callers repeat them when they are woken.
        while task.requests.try_recv().is_ok() {}
        let status = task.status.clone();
        {
            let mut parked = self.slot.parked.lock();
            *parked = Some(task);
            self.slot.stopped.store(true, Ordering::Relaxed);
        }
        // Wakes waiting callers, so that one of them starts the task again.
        status.send_modify(|_| {});
    }
}
