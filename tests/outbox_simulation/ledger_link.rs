//! The way from one process to the ledger, on which commits fail, and at which processes end.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt;
use wxsub_outbox::ledger::{Change, LedgerLayer, Results};
use wxsub_outbox::message::Settlement;
use wxsub_outbox::{Ledger, LedgerError, LedgerResult};

use super::fault_window::fault_at;
use super::plan::{CommitFault, Defect};
use super::scenario::{Node, Scenario};

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

#[derive(derive_more::Debug)]
#[debug("LedgerLink")]
pub(super) struct LedgerLink {
    pub(super) node: Arc<Node>,
    pub(super) rng: Mutex<Rng>,
}

impl LedgerLink {
    async fn wait(&self, millis: Range<u64>) {
        let millis = self.rng.lock().unwrap().u64(millis);
        self.node.wait(millis).await;
    }

    fn is_cut_off(&self) -> bool {
        let Node { scenario, clock, cut_offs, .. } = &*self.node;
        let is_cut_off = cut_offs.contains(clock.elapsed());
        scenario.oracle.noted().summary.cut_off += usize::from(is_cut_off);
        is_cut_off
    }

    /// What the ledger does with a commit that has arrived.
    async fn apply(&self, changes: Vec<Change>) -> Committed {
        let Scenario { ledger, ledger_clock, plan, .. } = &*self.node.scenario;
        match plan.defect {
            Some(Defect::RepeatsWhatIsUnknown) => {
                ledger.commit(changes.into_iter().map(without_unknown).collect()).await
            }
            Some(Defect::BelievesMachines) => {
                let ahead = plan.ahead[self.node.number];
                ledger_clock.set(ahead);
                let committed = ledger.commit(changes).now_or_never().unwrap();
                ledger_clock.set(-ahead);
                committed
            }
            Some(Defect::DeletesBeforeItRecords) | None => ledger.commit(changes).await,
        }
    }

    fn fault(&self) -> Option<CommitFault> {
        let Node { scenario, clock, .. } = &*self.node;
        fault_at(&scenario.plan.commits, clock.elapsed(), &mut self.rng.lock().unwrap())
    }
}

/// With a defect: what has an unknown outcome is tried again.
fn without_unknown(mut change: Change) -> Change {
    if let Change::Settle { settlement, .. } = &mut change
        && let Settlement::Unknown(detail) = settlement
    {
        *settlement = Settlement::NotSent(std::mem::take(detail));
    }
    change
}

type Committed = LedgerResult<Results>;

impl LedgerLayer for LedgerLink {
    async fn ledger(&self) -> LedgerResult<&dyn Ledger> {
        Ok(&self.node.scenario.ledger)
    }

    async fn commit_through(&self, changes: Vec<Change>) -> Committed {
        let oracle = &self.node.scenario.oracle;
        self.wait(1..4).await;
        let lost = || {
            oracle.noted().summary.lost_replies += 1;
            Err(LedgerError::Unknown("reset".to_owned()))
        };
        if self.is_cut_off() {
            return Err(LedgerError::Unavailable("cut off".to_owned()));
        }
        let fault = self.fault();
        if let Some(fault) = fault {
            oracle.trace(|| format!("{fault:?}: {changes:?}"));
        }
        let committed = match fault {
            None => self.apply(changes).await,
            Some(CommitFault::Unavailable) => Err(LedgerError::Unavailable("unavailable".to_owned())),
            Some(CommitFault::ReplyIsLost) => {
                let _ = self.apply(changes).await;
                lost()
            }
            Some(CommitFault::AppliedLate) => {
                let node = Arc::clone(&self.node);
                let delay = self.rng.lock().unwrap().u64(1..20_000);
                tokio::spawn(async move {
                    node.wait(delay).await;
                    let _ = node.scenario.ledger.commit(changes).await;
                });
                lost()
            }
            Some(CommitFault::Slow) => {
                self.wait(100..50_000).await;
                self.apply(changes).await
            }
            Some(CommitFault::CrashBefore) => self.node.end_of_process().await,
            Some(CommitFault::CrashAfter) => {
                let _ = self.apply(changes).await;
                self.node.end_of_process().await
            }
        };
        self.wait(1..4).await;
        if self.is_cut_off() { lost() } else { committed }
    }
}
