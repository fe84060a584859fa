//! The ledger of the worker: a process can be killed before and after each commit.

use std::sync::Arc;

use async_trait::async_trait;
use wxsub_core::proto::{AppId, OpenId};
use wxsub_outbox::app::StoredApp;
use wxsub_outbox::grant::StoredGrant;
use wxsub_outbox::id::MessageId;
use wxsub_outbox::ledger::{Applied, Change, MessageQuery};
use wxsub_outbox::message::{StoredEvent, StoredMessage};
use wxsub_outbox::{Ledger, LedgerError};
use wxsub_sqlite::SqliteLedger;

use super::plan::{Fault, Point, Trap};

#[derive(Debug)]
pub(super) struct CrashLedger {
    pub(super) ledger: SqliteLedger,
    pub(super) trap: Arc<Trap>,
    pub(super) fault: Option<Fault>,
}

/// The points before and after the commit of a change.
fn points(change: &Change) -> Option<(Point, Point)> {
    match change {
        Change::RecordConsent(_) => Some((Point::BeforeConsent, Point::AfterConsent)),
        Change::Enqueue(_) => Some((Point::BeforeEnqueue, Point::AfterEnqueue)),
        Change::Begin(..) => Some((Point::BeforeBegin, Point::AfterBegin)),
        Change::Claim { .. } => Some((Point::BeforeClaim, Point::AfterClaim)),
        Change::Settle { .. } => Some((Point::BeforeSettle, Point::AfterSettle)),
        _ => None,
    }
}

#[async_trait]
impl Ledger for CrashLedger {
    async fn commit(
        &self,
        mut changes: Vec<Change>,
    ) -> Result<Vec<Result<Applied, LedgerError>>, LedgerError> {
        let points: Vec<_> = changes.iter().filter_map(points).collect();
        points.iter().for_each(|(before, _)| self.trap.pass(*before));
        let forgets = |change: &Change| matches!(change, Change::Settle { .. });
        let forgotten = self.fault == Some(Fault::ForgetSettlements) && changes.iter().any(forgets);
        if forgotten {
            changes.retain(|change| !forgets(change));
        }
        let mut applied = self.ledger.commit(changes).await?;
        if forgotten {
            // Settlements come first in a batch.
            let missing = points.iter().filter(|(before, _)| *before == Point::BeforeSettle).count();
            applied.splice(0..0, std::iter::repeat_n(Ok(Applied::Settled(None)), missing));
        }
        // A claim of nothing is none.
        let claimed =
            applied.iter().any(|one| matches!(one, Ok(Applied::Messages(messages)) if !messages.is_empty()));
        let after = points.iter().map(|(_, after)| *after);
        after.filter(|after| *after != Point::AfterClaim || claimed).for_each(|after| self.trap.pass(after));
        Ok(applied)
    }

    async fn message(&self, id: MessageId) -> Result<Option<StoredMessage>, LedgerError> {
        self.ledger.message(id).await
    }

    async fn history(&self, id: MessageId) -> Result<Vec<StoredEvent>, LedgerError> {
        self.ledger.history(id).await
    }

    async fn messages(&self, query: &MessageQuery) -> Result<Vec<StoredMessage>, LedgerError> {
        self.ledger.messages(query).await
    }

    async fn grants(&self, appid: &AppId, openid: &OpenId) -> Result<Vec<StoredGrant>, LedgerError> {
        self.ledger.grants(appid, openid).await
    }

    async fn app(&self, appid: &AppId) -> Result<StoredApp, LedgerError> {
        self.ledger.app(appid).await
    }
}
