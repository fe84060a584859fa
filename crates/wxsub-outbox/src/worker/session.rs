//! The worker's identity and its heartbeat; and with each beat, what any worker does for all: reclaim, expire, decide, prune.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use wxsub_core::clock::{ClockReading, MonotonicInstant, timeout_at};
use wxsub_proto::AppId;

use crate::id::{MessageId, NoRandomBytes, WorkerId};
use crate::ledger::{Applied, Beat, Change, Gone, LedgerError, LedgerResult};
use crate::message::{Detail, Settlement};
use crate::outbox::Inner;

/// How often a worker shows that it is alive.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// How soon a failed heartbeat is repeated.
const HEARTBEAT_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long after a heartbeat, and after a claim, a POST may begin: half of a lease.
pub(crate) const POST_WINDOW: Duration = Duration::from_secs(30);

/// How long a beat waits for the apps that have something to decide. The worker must not miss its next beat.
const POLICY_READ_TIMEOUT: Duration = Duration::from_secs(2);

/// How soon a failed search for messages that wait too long is repeated. It reads all scheduled messages.
const RESCHEDULE_RETRY_INTERVAL: Duration = Duration::from_secs(3600);

/// How many rows one beat changes of each kind.
const SWEEP_LIMIT: usize = 1_000;

/// An attempt: a message, and which claim of it.
pub(crate) type Attempt = (MessageId, u32);

pub(crate) struct WorkerSession {
    inner: Arc<Inner>,
    state: Mutex<SessionState>,
    /// An attempt or a claim has ended.
    ended: Notify,
    /// The first heartbeat has succeeded or failed, or there will be none.
    started: watch::Sender<bool>,
    /// The synchronous sends.
    sends: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct SessionState {
    worker: WorkerId,
    /// No POST begins from here on; `None` while the heartbeat fails.
    post_until: Option<ClockReading>,
    /// Attempts that are not settled yet.
    running: HashSet<Attempt>,
    /// Claims whose reply has not come, by their number.
    claims: BTreeSet<u64>,
    next_claim: u64,
    suspects: Suspects,
    /// No queued message is claimed any more.
    queue_closed: bool,
    /// Nothing is claimed any more.
    closed: bool,
}

/// Attempts that the ledger knew at an earlier beat and this process did not: the reply to their claim may be lost.
#[derive(Debug, Default)]
struct Suspects {
    attempts: BTreeSet<Attempt>,
    /// The number of the next claim at that beat.
    before_claim: u64,
    /// Attempts that this process was given since that beat.
    received: HashSet<Attempt>,
}

impl WorkerSession {
    /// Under a fresh id. The first beat registers it.
    pub(super) fn start(inner: Arc<Inner>) -> Result<Self, NoRandomBytes> {
        let worker = inner.ids.worker(inner.clock.now().wall)?;
        let (running, claims, suspects) = (HashSet::new(), BTreeSet::new(), Suspects::default());
        let (post_until, next_claim, queue_closed, closed) = (None, 0, false, false);
        let state =
            SessionState { worker, post_until, running, claims, next_claim, suspects, queue_closed, closed };
        let (state, ended, started) = (Mutex::new(state), Notify::new(), watch::Sender::new(false));
        Ok(Self { inner, state, ended, started, sends: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who may claim, and the number of the claim; `None` while the heartbeat fails, and when the worker ends.
    pub(crate) fn begin_claim(&self) -> Option<(WorkerId, u64)> {
        let mut state = self.state();
        if state.closed || !state.may_post(self.inner.clock.now()) {
            return None;
        }
        let claim = state.next_claim;
        state.next_claim += 1;
        state.claims.insert(claim);
        Some((state.worker, claim))
    }

    /// The claim has ended with these attempts.
    pub(crate) fn end_claim(&self, claim: u64, claimed: impl IntoIterator<Item = Attempt>) {
        let mut state = self.state();
        state.claims.remove(&claim);
        for attempt in claimed {
            state.running.insert(attempt);
            state.suspects.received.insert(attempt);
        }
        self.ended.notify_one();
    }

    /// The attempt is settled.
    pub(super) fn end_attempt(&self, attempt: Attempt) {
        self.state().running.remove(&attempt);
        self.ended.notify_one();
    }

    /// Runs a synchronous send, until it ends or [`abandon`](Self::abandon).
    pub(crate) fn spawn(&self, send: impl Future<Output = ()> + Send + 'static) {
        let mut sends = self.sends.lock().unwrap_or_else(PoisonError::into_inner);
        while sends.try_join_next().is_some() {}
        sends.spawn(send);
    }

    /// Waits for the first heartbeat.
    pub(crate) async fn started(&self) {
        // `self` holds the sender, so the wait cannot fail.
        let _ = self.started.subscribe().wait_for(|started| *started).await;
    }

    /// Ends the synchronous sends: their attempts end as those of a process that is killed. Nothing is claimed any more.
    pub(super) fn abandon(&self) {
        self.close();
        self.started.send_replace(true);
        self.sends.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    /// Claims nothing from now on.
    pub(super) fn close(&self) {
        self.state().closed = true;
    }

    /// Claims no queued messages from now on.
    pub(crate) fn close_queue(&self) {
        self.state().queue_closed = true;
    }

    pub(super) fn is_queue_closed(&self) -> bool {
        self.state().queue_closed
    }

    /// Waits until no attempt and no claim is under way.
    pub(super) async fn drain(&self) {
        let is_idle = || {
            let state = self.state();
            state.running.is_empty() && state.claims.is_empty()
        };
        while !is_idle() {
            self.ended.notified().await;
        }
    }

    /// Whether a POST may begin for a claim of this worker.
    pub(super) fn may_post(&self, claimed_by: WorkerId) -> bool {
        let state = self.state();
        state.worker == claimed_by && state.may_post(self.inner.clock.now())
    }

    /// Beats for ever.
    pub(super) async fn beat(&self) -> Result<(), NoRandomBytes> {
        let Inner { clock, .. } = &*self.inner;
        let mut registered = false;
        let mut reschedule_at = None;
        loop {
            let before = clock.now();
            let alive = match registered {
                true => self.beat_once().await,
                false => self.register().await,
            };
            // The clock may have been ahead before this process began.
            if !registered || matches!(alive, Ok(Some(true))) {
                reschedule_at = Some(before.mono);
            }
            let interval = match alive {
                Ok(Some(_)) => {
                    registered = true;
                    if self.state().post_until.replace(before + POST_WINDOW).is_none() {
                        // Until now nothing could be claimed, so earlier wakes had no effect.
                        self.inner.wake.wake_all();
                    }
                    self.started.send_replace(true);
                    self.sweep().await;
                    if reschedule_at.is_some_and(|at| at <= before.mono) {
                        reschedule_at = self.reschedule(before.mono).await;
                    }
                    HEARTBEAT_INTERVAL
                }
                Ok(None) => {
                    // Another process marked this worker as gone. Its attempts settle under the old id.
                    registered = false;
                    self.be_another()?;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "heartbeat failed");
                    self.state().post_until = None;
                    self.started.send_replace(true);
                    HEARTBEAT_RETRY_INTERVAL
                }
            };
            clock.sleep_until(clock.now().mono + interval).await;
        }
    }

    async fn register(&self) -> LedgerResult<Option<bool>> {
        let worker = self.state().worker;
        self.inner.writer.submit(Change::Register(worker)).await.map(|()| Some(false))
    }

    /// Whether the ledger's clock was set back since the last beat; `None` if this worker is gone.
    async fn beat_once(&self) -> LedgerResult<Option<bool>> {
        let worker = self.state().worker;
        let beat: Option<Beat> = self.inner.writer.submit(Change::Heartbeat(worker)).await?;
        let Some(Beat { attempts, was_clock_set_back }) = beat else { return Ok(None) };
        for (message, attempt) in self.lost_claims(attempts.into_iter().collect()) {
            tracing::warn!(%message, attempt, "the reply to a claim was lost");
            let settlement = Settlement::NotSent(Detail::not_posted("the reply to its claim was lost"));
            // The limit is that of its app. The next failure is measured against it.
            let settle = Change::Settle { message, worker, attempt, settlement, max_failures: u32::MAX };
            self.inner.writer.submit::<Applied>(settle).await?;
        }
        Ok(Some(was_clock_set_back))
    }

    /// Makes due what waits for a time that the ledger's clock set while it was ahead. Gives when to look again.
    async fn reschedule(&self, now: MonotonicInstant) -> Option<MonotonicInstant> {
        match self.inner.writer.submit::<usize>(Change::Reschedule(SWEEP_LIMIT)).await {
            Ok(number) => (number >= SWEEP_LIMIT).then_some(now),
            Err(error) => {
                tracing::warn!(%error, "looking for messages that wait too long failed");
                Some(now + RESCHEDULE_RETRY_INTERVAL)
            }
        }
    }

    /// Attempts that certainly no task of this process has or had. The ledger still runs them; at an earlier beat this process
    /// did not have them, it was not given them since, and all claims of that time have ended.
    fn lost_claims(&self, known_to_ledger: BTreeSet<Attempt>) -> Vec<Attempt> {
        let mut state = self.state();
        let SessionState { running, claims, next_claim, suspects, .. } = &mut *state;
        if claims.first().is_some_and(|first| *first < suspects.before_claim) {
            return Vec::new();
        }
        let lost = suspects.attempts.intersection(&known_to_ledger);
        let lost = lost.filter(|attempt| !suspects.received.contains(attempt)).copied().collect();
        let attempts = known_to_ledger.into_iter().filter(|attempt| !running.contains(attempt)).collect();
        *suspects = Suspects { attempts, before_claim: *next_claim, received: HashSet::new() };
        lost
    }

    fn be_another(&self) -> Result<(), NoRandomBytes> {
        let worker = self.inner.ids.worker(self.inner.clock.now().wall)?;
        let mut state = self.state();
        tracing::warn!(gone = %state.worker, %worker, "this worker was taken for gone; going on under a new id");
        state.worker = worker;
        state.post_until = None;
        state.suspects = Suspects::default();
        Ok(())
    }

    /// Reclaims what an earlier beat marked, and marks what the next one reclaims: two transactions.
    async fn sweep(&self) {
        let policies = self.due_policies().await;
        let first = [Change::Reclaim(SWEEP_LIMIT), Change::Expire(SWEEP_LIMIT)];
        let last = [Change::MarkGone(Gone::LeaseOver), Change::Prune(self.inner.retention, SWEEP_LIMIT)];
        let changes = first.into_iter().chain(policies).chain(last);
        for swept in join_all(changes.map(|change| self.inner.writer.submit::<Applied>(change))).await {
            if let Err(error) = swept {
                tracing::warn!(%error, "sweep failed");
            }
        }
    }

    /// The policies of the apps that have something to decide.
    async fn due_policies(&self) -> Vec<Change> {
        let Inner { ledger, apps, clock, .. } = &*self.inner;
        if apps.values().all(|app| app.maybe_sent.decision().is_none()) {
            return Vec::new();
        }
        // The next heartbeat waits for this.
        let deadline = clock.now().mono + POLICY_READ_TIMEOUT;
        let read = timeout_at(&**clock, deadline, ledger.undecided_apps()).await;
        let read = read.unwrap_or_else(|| Err(LedgerError::Unavailable("no response in time".to_owned())));
        let undecided = read.unwrap_or_else(|error| {
            tracing::warn!(%error, "reading the apps with undecided messages failed");
            Vec::new()
        });
        let policy = |appid: AppId| {
            let decision = apps.get(&appid)?.maybe_sent.decision()?;
            Some(Change::ApplyPolicy(appid, decision, SWEEP_LIMIT))
        };
        undecided.into_iter().filter_map(policy).collect()
    }

    /// The process ends: whatever it has not settled is unknown.
    pub(super) async fn stop(&self) {
        let worker = self.state().worker;
        if let Err(error) = self.inner.writer.submit::<usize>(Change::MarkGone(Gone::One(worker))).await {
            tracing::warn!(%error, "the worker could not be signed off; its lease will end");
        }
    }
}

impl SessionState {
    fn may_post(&self, now: ClockReading) -> bool {
        self.post_until.is_some_and(|until| !until.is_past(now))
    }
}
