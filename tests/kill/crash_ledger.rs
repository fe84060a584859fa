//! The ledger of the worker: a process can be killed before and after each commit.

use std::sync::Arc;

use wxsub_outbox::ledger::{Applied, Change, KeyKind, LedgerLayer, Results};
use wxsub_outbox::{Ledger, LedgerResult};

use super::plan::{Fault, KillSwitch, Point};

#[derive(Debug)]
pub(super) struct CrashLedger {
    pub(super) ledger: Box<dyn Ledger>,
    pub(super) kill_switch: Arc<KillSwitch>,
    pub(super) fault: Option<Fault>,
}

/// The points before and after the commit of a change.
fn points(change: &Change) -> Option<(Point, Point)> {
    match change {
        Change::RecordConsent(_) => Some((Point::BeforeConsent, Point::AfterConsent)),
        Change::Enqueue(new) if new.key.as_ref().is_some_and(|key| key.kind == KeyKind::Inbox) => {
            Some((Point::BeforeCopy, Point::AfterCopy))
        }
        Change::Enqueue(_) => Some((Point::BeforeEnqueue, Point::AfterEnqueue)),
        Change::Begin(..) => Some((Point::BeforeBegin, Point::AfterBegin)),
        Change::Claim { .. } => Some((Point::BeforeClaim, Point::AfterClaim)),
        Change::Settle { .. } => Some((Point::BeforeSettle, Point::AfterSettle)),
        Change::MoveInbox { .. } => Some((Point::BeforeMove, Point::AfterMove)),
        _ => None,
    }
}

impl LedgerLayer for CrashLedger {
    async fn ledger(&self) -> LedgerResult<&dyn Ledger> {
        Ok(&*self.ledger)
    }

    async fn commit_through(&self, mut changes: Vec<Change>) -> LedgerResult<Results> {
        let points: Vec<_> = changes.iter().filter_map(points).collect();
        points.iter().for_each(|(before, _)| self.kill_switch.pass(*before));
        let forgets = |change: &Change| matches!(change, Change::Settle { .. });
        let forgotten = self.fault == Some(Fault::ForgetSettlements) && changes.iter().any(forgets);
        if forgotten {
            changes.retain(|change| !forgets(change));
        }
        let mut applied = self.ledger.commit(changes).await?;
        if forgotten {
            // Settlements come first in a batch.
            let missing = points.iter().filter(|(before, _)| *before == Point::BeforeSettle).count();
            applied.splice(
                0..0,
                std::iter::repeat_n(Ok(Applied::Settled { message: None, is_late: false }), missing),
            );
        }
        // A claim or a move of nothing is none.
        let is_empty = |after| {
            let is_some = |one: &_| match one {
                Ok(Applied::Messages(messages)) => after == Point::AfterClaim && !messages.is_empty(),
                Ok(Applied::Moved(rows)) => after == Point::AfterMove && !rows.recorded.is_empty(),
                _ => false,
            };
            matches!(after, Point::AfterClaim | Point::AfterMove) && !applied.iter().any(is_some)
        };
        let after = points.iter().map(|(_, after)| *after);
        after.filter(|after| !is_empty(*after)).for_each(|after| self.kill_switch.pass(after));
        Ok(applied)
    }
}
