//! Where a process is killed, and what is broken on purpose.

use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, getpid, kill_process};
use wxsub_core::proto::named_enum;

named_enum! {
    /// A point of a process's run.
    pub(super) enum Point {
        BeforeConsent = "before a consent is committed",
        AfterConsent = "after a consent is committed",
        BeforeEnqueue = "before an enqueue is committed",
        AfterEnqueue = "after an enqueue is committed",
        BeforeCopy = "before the copy of an inbox row is committed",
        AfterCopy = "after the copy of an inbox row is committed",
        BeforeMove = "before the move of rows in the ledger's inbox is committed",
        MidMove = "between the copy and the deletion of rows in the ledger's inbox",
        AfterMove = "after the move of rows in the ledger's inbox is committed",
        BeforeDelete = "before the deletion of copied inbox rows",
        MidDelete = "between the deletion of copied inbox rows and its commit",
        AfterDelete = "after the deletion of copied inbox rows is committed",
        BeforeBegin = "before a synchronous send is committed",
        AfterBegin = "after a synchronous send is committed",
        BeforeClaim = "before a claim is committed",
        AfterClaim = "after a claim is committed",
        BeforeConnect = "before the connection of a POST",
        AfterConnect = "after the connection of a POST",
        MidBody = "in the middle of a POST",
        AfterRequest = "after the last byte of a POST",
        AfterResponse = "after the response to a POST",
        BeforeSettle = "before a settlement is committed",
        AfterSettle = "after a settlement is committed",
    }
}

impl Point {
    /// Only a ledger in PostgreSQL has an inbox of its own.
    pub(super) fn is_of_own_inbox(self) -> bool {
        matches!(self, Self::BeforeMove | Self::MidMove | Self::AfterMove)
    }

    /// A copier passes it.
    pub(super) fn is_of_copier(self) -> bool {
        let deletes = matches!(self, Self::BeforeDelete | Self::MidDelete | Self::AfterDelete);
        deletes || matches!(self, Self::BeforeCopy | Self::AfterCopy)
    }
}

named_enum! {
    /// A fault that the judge must find.
    pub(super) enum Fault {
        /// Attempts of the process before are queued again: what job queues do.
        Requeue = "requeue",
        /// Attempts of the process before count as sent.
        AssumeSent = "assume-sent",
        /// A message is acknowledged before it is recorded.
        EarlyReply = "early-reply",
        /// A row of the inbox is deleted before it is recorded.
        DeleteFirst = "delete-first",
        /// Settlements are thrown away.
        ForgetSettlements = "forget-settlements",
        /// Syncs do nothing, which matters when the power fails.
        IgnoreSyncs = "ignore-syncs",
    }
}

/// Kills a process when this one comes to its point for the nth time.
#[derive(Debug)]
pub(super) struct KillSwitch {
    point: Option<Point>,
    passes: AtomicU32,
    target: Pid,
}

impl KillSwitch {
    /// Kills this process, unless there is another target.
    pub(super) fn new(point: Option<Point>, passes: u32, target: Option<u32>) -> Self {
        let target = target.map(|pid| Pid::from_raw(i32::try_from(pid).unwrap()).unwrap());
        Self { point, passes: AtomicU32::new(passes), target: target.unwrap_or_else(getpid) }
    }

    pub(super) fn pass(&self, point: Point) {
        if self.point == Some(point) && self.passes.fetch_sub(1, Ordering::Relaxed) == 1 {
            kill_process(self.target, Signal::KILL).unwrap();
        }
    }
}
