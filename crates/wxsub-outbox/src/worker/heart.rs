//! The worker's identity and its heartbeat; and with each beat, what any worker does for all: reclaim, expire, decide.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use wxsub_core::clock::Moment;

use crate::id::{MessageId, NoRandomBytes, WorkerId};
use crate::ledger::{Applied, Change, Gone, LedgerError};
use crate::message::{DEFAULT_MAX_FAILURES, Detail, Settlement};
use crate::outbox::Inner;

/// How often a worker shows that it is alive.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// How soon a failed heartbeat is repeated.
const HEARTBEAT_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long after a heartbeat, and after a claim, a POST may begin: half of a lease.
pub(super) const POST_WINDOW: Duration = Duration::from_secs(30);

/// How many rows one beat changes of each kind.
const SWEEP_LIMIT: usize = 1_000;

/// An attempt: a message, and which claim of it.
pub(super) type Attempt = (MessageId, u32);

pub(super) struct Heart {
    inner: Arc<Inner>,
    pulse: Mutex<Pulse>,
}

#[derive(Debug)]
struct Pulse {
    worker: WorkerId,
    /// No POST begins from here on; `None` while the heartbeat fails.
    post_until: Option<Moment>,
    /// Attempts that are not settled yet.
    running: HashSet<Attempt>,
    /// Claims whose reply has not come.
    claiming: usize,
    /// Attempts that the ledger knows and this process does not. If they are still there with the next beat, the reply to their
    /// claim was lost.
    unknown: BTreeSet<Attempt>,
}

impl Heart {
    /// Under a fresh id. The first beat registers it.
    pub(super) fn start(inner: Arc<Inner>) -> Result<Self, NoRandomBytes> {
        let worker = inner.ids.worker(inner.clock.now().wall)?;
        let (running, unknown) = (HashSet::new(), BTreeSet::new());
        let pulse = Mutex::new(Pulse { worker, post_until: None, running, claiming: 0, unknown });
        Ok(Self { inner, pulse })
    }

    fn pulse(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who may claim; `None` while the heartbeat fails.
    pub(super) fn begin_claim(&self) -> Option<WorkerId> {
        let mut pulse = self.pulse();
        if !pulse.may_post(self.inner.clock.now()) {
            return None;
        }
        pulse.claiming += 1;
        Some(pulse.worker)
    }

    /// The claim has ended with these attempts.
    pub(super) fn end_claim(&self, claimed: impl IntoIterator<Item = Attempt>) {
        let mut pulse = self.pulse();
        pulse.claiming -= 1;
        pulse.running.extend(claimed);
    }

    /// The attempt is settled.
    pub(super) fn end_attempt(&self, attempt: Attempt) {
        self.pulse().running.remove(&attempt);
    }

    /// Whether a POST may begin for a claim of this worker.
    pub(super) fn may_post(&self, claimed_by: WorkerId) -> bool {
        let pulse = self.pulse();
        pulse.worker == claimed_by && pulse.may_post(self.inner.clock.now())
    }

    /// Beats for ever.
    pub(super) async fn beat(&self) -> Result<(), NoRandomBytes> {
        let Inner { clock, .. } = &*self.inner;
        let mut registered = false;
        loop {
            let before = clock.now();
            let alive = match registered {
                true => self.beat_once().await,
                false => self.register().await,
            };
            let interval = match alive {
                Ok(true) => {
                    registered = true;
                    self.pulse().post_until = Some(before.after(POST_WINDOW));
                    self.sweep().await;
                    HEARTBEAT_INTERVAL
                }
                Ok(false) => {
                    // Another process took this one for gone. Its attempts settle under the old id.
                    registered = false;
                    self.be_another()?;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "heartbeat failed");
                    self.pulse().post_until = None;
                    HEARTBEAT_RETRY_INTERVAL
                }
            };
            clock.sleep_until(clock.now().mono.after(interval)).await;
        }
    }

    async fn register(&self) -> Result<bool, LedgerError> {
        let worker = self.pulse().worker;
        self.inner.writer.submit(Change::Register(worker)).await.map(|_| true)
    }

    async fn beat_once(&self) -> Result<bool, LedgerError> {
        let worker = self.pulse().worker;
        let applied = self.inner.writer.submit(Change::Heartbeat(worker)).await?;
        let Applied::Beat(Some(attempts)) = applied else { return Ok(false) };
        for (message, attempt) in self.lost_claims(attempts.into_iter().collect()) {
            tracing::warn!(%message, attempt, "the reply to a claim was lost");
            let settlement = Settlement::NotSent(Detail::not_posted("the reply to its claim was lost"));
            let max_failures = DEFAULT_MAX_FAILURES;
            self.inner
                .writer
                .submit(Change::Settle { message, worker, attempt, settlement, max_failures })
                .await?;
        }
        Ok(true)
    }

    /// Attempts that certainly no task of this process has: it did not have them at the last beat, when no reply to a claim
    /// was missing, and the ledger has still not seen them settled.
    fn lost_claims(&self, known_to_ledger: BTreeSet<Attempt>) -> Vec<Attempt> {
        let mut pulse = self.pulse();
        let lost = pulse.unknown.intersection(&known_to_ledger).copied().collect();
        pulse.unknown = match pulse.claiming {
            0 => known_to_ledger.into_iter().filter(|attempt| !pulse.running.contains(attempt)).collect(),
            _ => BTreeSet::new(),
        };
        lost
    }

    fn be_another(&self) -> Result<(), NoRandomBytes> {
        let worker = self.inner.ids.worker(self.inner.clock.now().wall)?;
        let mut pulse = self.pulse();
        tracing::warn!(gone = %pulse.worker, %worker, "this worker was taken for gone; going on under a new id");
        pulse.worker = worker;
        pulse.post_until = None;
        pulse.unknown.clear();
        Ok(())
    }

    /// Reclaims what an earlier beat marked, and marks what the next one reclaims: two transactions.
    async fn sweep(&self) {
        let policies = self.inner.apps.values().filter_map(|app| {
            let decision = app.maybe_sent.decision()?;
            Some(Change::ApplyPolicy(app.appid.clone(), decision, SWEEP_LIMIT))
        });
        let first = [Change::Reclaim(SWEEP_LIMIT), Change::Expire(SWEEP_LIMIT)];
        let changes = first.into_iter().chain(policies).chain([Change::MarkGone(Gone::LeaseOver)]);
        for swept in join_all(changes.map(|change| self.inner.writer.submit(change))).await {
            if let Err(error) = swept {
                tracing::warn!(%error, "sweep failed");
            }
        }
    }

    /// The process ends: whatever it has not settled is unknown.
    pub(super) async fn stop(&self) {
        let worker = self.pulse().worker;
        if let Err(error) = self.inner.writer.submit(Change::MarkGone(Gone::One(worker))).await {
            tracing::warn!(%error, "the worker could not be signed off; its lease will end");
        }
    }
}

impl Pulse {
    fn may_post(&self, now: Moment) -> bool {
        self.post_until.is_some_and(|until| !until.reached(now))
    }
}
