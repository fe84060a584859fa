//! A ledger that can be away, and that says whether it is at work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use tokio::sync::Barrier;
use wxsub_core::testing::ManualClock;
use wxsub_outbox::ledger::{Change, LedgerLayer, Results};
use wxsub_outbox::{Ledger, LedgerError, LedgerResult, MemoryLedger};

/// How commits fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    None,
    /// Every commit.
    Away,
    /// The commit is done, and its reply is lost.
    LostReply,
    /// Only the outcomes of attempts are not taken.
    NoSettle,
    /// The next claim of webhooks is committed, and its reply waits for [`TestLedger::reply_to_claim`].
    HeldClaim,
    /// No commit ends.
    Silent,
    /// The reading of undecided apps does not end.
    SilentPolicies,
    /// The reading of workers does not end.
    SilentWorkers,
    /// The next reading of an app does not end.
    SilentApp,
    /// The reading of an app ends when that of another one has begun.
    PairedApps,
}

#[derive(Debug)]
pub(crate) struct TestLedger {
    rows: Box<dyn Ledger>,
    fault: AtomicU8,
    running: AtomicUsize,
    /// How many commits do not end.
    silent: AtomicUsize,
    /// How many claims of webhooks were committed.
    webhook_claims: AtomicUsize,
    app_reads: AtomicUsize,
    message_lists: AtomicUsize,
    pair: Barrier,
}

/// A call of the ledger.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl TestLedger {
    /// In memory.
    pub(crate) fn new(clock: Arc<ManualClock>) -> Self {
        Self::around(MemoryLedger::with_clock(clock))
    }

    pub(crate) fn around(rows: impl Ledger + 'static) -> Self {
        let fault = AtomicU8::new(Fault::None as u8);
        let (running, silent, webhook_claims, app_reads, message_lists) = Default::default();
        let (rows, pair) = (Box::new(rows), Barrier::new(2));
        Self { rows, fault, running, silent, webhook_claims, app_reads, message_lists, pair }
    }

    /// Whether no call is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.load(Ordering::SeqCst) == 0
    }

    /// Whether a commit waits for ever.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn webhook_claims(&self) -> usize {
        self.webhook_claims.load(Ordering::SeqCst)
    }

    pub(crate) async fn reply_to_claim(&self) {
        self.pair.wait().await;
    }

    /// How often an app was read.
    pub(crate) fn app_reads(&self) -> usize {
        self.app_reads.load(Ordering::SeqCst)
    }

    /// How often messages were listed.
    pub(crate) fn message_lists(&self) -> usize {
        self.message_lists.load(Ordering::SeqCst)
    }

    fn begin(&self) -> Running<'_> {
        self.running.fetch_add(1, Ordering::SeqCst);
        Running(&self.running)
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.fault.store(fault as u8, Ordering::SeqCst);
    }

    fn fails(&self, fault: Fault) -> bool {
        self.fault.load(Ordering::SeqCst) == fault as u8
    }
}

impl LedgerLayer for TestLedger {
    async fn ledger(&self) -> LedgerResult<&dyn Ledger> {
        Ok(&*self.rows)
    }

    async fn commit_through(&self, changes: Vec<Change>) -> LedgerResult<Results> {
        let claims = changes.iter().filter(|change| matches!(change, Change::ClaimDeliveries { .. })).count();
        self.webhook_claims.fetch_add(claims, Ordering::SeqCst);
        let settles = changes.iter().any(|change| matches!(change, Change::Settle { .. }));
        if self.fails(Fault::Away) || (settles && self.fails(Fault::NoSettle)) {
            return Err(LedgerError::Unavailable("the disk is full".to_owned()));
        }
        if self.fails(Fault::Silent) {
            self.silent.fetch_add(1, Ordering::SeqCst);
            return std::future::pending().await;
        }
        let running = self.begin();
        let applied = self.rows.commit(changes).await;
        drop(running);
        if claims > 0 && self.fails(Fault::HeldClaim) {
            self.fail(Fault::None);
            self.pair.wait().await;
        }
        if self.fails(Fault::LostReply) { Err(LedgerError::Unknown("reset".to_owned())) } else { applied }
    }

    async fn read_through<'a, T: Send>(
        &'a self,
        method: &'static str,
        read: impl FnOnce(&'a dyn Ledger) -> BoxFuture<'a, LedgerResult<T>> + Send,
    ) -> LedgerResult<T> {
        let is_silent = match method {
            "undecided_apps" => self.fails(Fault::SilentPolicies),
            "workers" => self.fails(Fault::SilentWorkers),
            "app" => self.fails(Fault::SilentApp),
            _ => false,
        };
        if is_silent {
            if method == "app" {
                self.fail(Fault::None);
            }
            return std::future::pending().await;
        }
        if method == "app" && self.fails(Fault::PairedApps) {
            self.pair.wait().await;
        }
        let _running = self.begin();
        self.app_reads.fetch_add(usize::from(method == "app"), Ordering::SeqCst);
        self.message_lists.fetch_add(usize::from(method == "messages"), Ordering::SeqCst);
        read(&*self.rows).await
    }
}
