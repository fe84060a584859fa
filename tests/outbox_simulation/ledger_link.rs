//! The way from one process to the ledger, on which commits fail, and at which processes end.

use std::future::pending;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;
use futures_util::FutureExt;
use tokio::sync::Notify;
use wxsub_outbox::ledger::{Change, Results};
use wxsub_outbox::message::Settlement;
use wxsub_outbox::testing::CommitLayer;
use wxsub_outbox::{Ledger, LedgerError, LedgerResult, MemoryLedger};

use super::node_clock::NodeClock;
use super::oracle::Oracle;
use super::plan::{CommitFault, Defect, Plan, meets};

/// The times at which one process is cut off from the ledger.
#[derive(Debug, Default)]
pub(super) struct CutOffs(Mutex<Vec<Range<Duration>>>);

impl CutOffs {
    pub(super) fn add(&self, span: Range<Duration>) {
        self.0.lock().unwrap().push(span);
    }

    fn contains(&self, time: Duration) -> bool {
        self.0.lock().unwrap().iter().any(|span| span.contains(&time))
    }
}

pub(super) struct LedgerLink {
    pub(super) ledger: Arc<MemoryLedger>,
    pub(super) ledger_clock: Arc<NodeClock>,
    pub(super) cut_offs: Arc<CutOffs>,
    /// By how many seconds the clock of the machine is ahead from the start.
    pub(super) ahead: i64,
    pub(super) plan: Arc<Plan>,
    pub(super) clock: Arc<NodeClock>,
    pub(super) oracle: Arc<Oracle>,
    pub(super) dice: Mutex<Rng>,
    /// Ends the process.
    pub(super) kill: Arc<Notify>,
}

impl LedgerLink {
    async fn wait(&self, millis: Range<u64>) {
        let millis = self.dice.lock().unwrap().u64(millis);
        self.clock.sleep(Duration::from_millis(millis)).await;
    }

    async fn end_of_process<T>(&self) -> T {
        self.kill.notify_one();
        pending().await
    }

    fn is_cut_off(&self) -> bool {
        let is_cut_off = self.cut_offs.contains(self.clock.elapsed());
        self.oracle.noted().account.cut_off += usize::from(is_cut_off);
        is_cut_off
    }

    /// What the ledger does with a commit that has arrived.
    async fn apply(&self, changes: Vec<Change>) -> Committed {
        match self.plan.defect {
            Some(Defect::RepeatsWhatIsUnknown) => {
                self.ledger.commit(changes.into_iter().map(without_unknown).collect()).await
            }
            Some(Defect::BelievesMachines) => {
                self.ledger_clock.set(self.ahead);
                let committed = self.ledger.commit(changes).now_or_never().unwrap();
                self.ledger_clock.set(-self.ahead);
                committed
            }
            Some(Defect::DeletesBeforeItRecords) | None => self.ledger.commit(changes).await,
        }
    }

    fn fault(&self) -> Option<CommitFault> {
        meets(&self.plan.commits, self.clock.elapsed(), &mut self.dice.lock().unwrap())
    }
}

impl std::fmt::Debug for LedgerLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LedgerLink")
    }
}

/// With a defect: what has an unknown outcome is tried again.
fn without_unknown(change: Change) -> Change {
    match change {
        Change::Settle {
            message,
            worker,
            attempt,
            settlement: Settlement::Unknown(detail),
            max_failures,
        } => {
            let settlement = Settlement::NotSent(detail);
            Change::Settle { message, worker, attempt, settlement, max_failures }
        }
        other => other,
    }
}

type Committed = LedgerResult<Results>;

#[async_trait]
impl CommitLayer for LedgerLink {
    async fn ledger(&self) -> &dyn Ledger {
        &*self.ledger
    }

    async fn commit_through(&self, changes: Vec<Change>) -> Committed {
        self.wait(1..4).await;
        let lost = || {
            self.oracle.lost_reply();
            Err(LedgerError::Unknown("reset".to_owned()))
        };
        if self.is_cut_off() {
            return Err(LedgerError::Unavailable("cut off".to_owned()));
        }
        let fault = self.fault();
        if let Some(fault) = fault {
            self.oracle.trace(|| format!("{fault:?}: {changes:?}"));
        }
        let committed = match fault {
            None => self.apply(changes).await,
            Some(CommitFault::Unavailable) => Err(LedgerError::Unavailable("away".to_owned())),
            Some(CommitFault::ReplyIsLost) => {
                let _ = self.apply(changes).await;
                lost()
            }
            Some(CommitFault::AppliedLate) => {
                let (ledger, clock) = (Arc::clone(&self.ledger), Arc::clone(&self.clock));
                let delay = Duration::from_millis(self.dice.lock().unwrap().u64(1..20_000));
                tokio::spawn(async move {
                    clock.sleep(delay).await;
                    let _ = ledger.commit(changes).await;
                });
                lost()
            }
            Some(CommitFault::Slow) => {
                self.wait(100..50_000).await;
                self.apply(changes).await
            }
            Some(CommitFault::CrashBefore) => self.end_of_process().await,
            Some(CommitFault::CrashAfter) => {
                let _ = self.apply(changes).await;
                self.end_of_process().await
            }
        };
        self.wait(1..4).await;
        if self.is_cut_off() { lost() } else { committed }
    }
}
