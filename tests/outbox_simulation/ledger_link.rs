//! The way from one process to the ledger, on which commits fail, and at which processes end.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;
use tokio::sync::Notify;
use wxsub_outbox::ledger::{Applied, Change};
use wxsub_outbox::testing::CommitLayer;
use wxsub_outbox::{Ledger, LedgerError, MemoryLedger};

use super::node_clock::NodeClock;
use super::oracle::Oracle;
use super::plan::{CommitFault, Plan, meets};

pub(super) struct LedgerLink {
    pub(super) ledger: Arc<MemoryLedger>,
    pub(super) plan: Arc<Plan>,
    pub(super) clock: Arc<NodeClock>,
    pub(super) oracle: Arc<Oracle>,
    pub(super) dice: Mutex<Rng>,
    /// Ends the process.
    pub(super) kill: Arc<Notify>,
}

impl LedgerLink {
    async fn wait(&self, millis: std::ops::Range<u64>) {
        let millis = self.dice.lock().unwrap().u64(millis);
        self.clock.sleep(Duration::from_millis(millis)).await;
    }

    async fn end_of_process<T>(&self) -> T {
        self.kill.notify_one();
        pending().await
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

type Committed = Result<Vec<Result<Applied, LedgerError>>, LedgerError>;

#[async_trait]
impl CommitLayer for LedgerLink {
    fn ledger(&self) -> &dyn Ledger {
        &*self.ledger
    }

    async fn commit_through(&self, changes: Vec<Change>) -> Committed {
        self.wait(1..4).await;
        let lost = || {
            self.oracle.lost_reply();
            Err(LedgerError::Unknown("reset".to_owned()))
        };
        let fault = self.fault();
        if let Some(fault) = fault {
            self.oracle.trace(|| format!("{fault:?}: {changes:?}"));
        }
        let committed = match fault {
            None => self.ledger.commit(changes).await,
            Some(CommitFault::Unavailable) => Err(LedgerError::Unavailable("away".to_owned())),
            Some(CommitFault::ReplyIsLost) => {
                let _ = self.ledger.commit(changes).await;
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
                self.ledger.commit(changes).await
            }
            Some(CommitFault::CrashBefore) => self.end_of_process().await,
            Some(CommitFault::CrashAfter) => {
                let _ = self.ledger.commit(changes).await;
                self.end_of_process().await
            }
        };
        self.wait(1..4).await;
        committed
    }
}
