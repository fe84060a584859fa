//! Moves the rows of the inbox in the ledger's own database: record and delete in one transaction.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;

use wxsub_proto::AppId;

use super::InboxError;
use super::copier::{BATCH, pause_after};
use crate::ledger::{Change, InboxBacklog, LedgerResult, RowOutcomes};
use crate::outbox::Inner;

/// Moves rows as long as it is polled, for the apps of this outbox. While the ledger fails, it tries again after a pause of 1
/// to 60 s. Without an inbox it does nothing.
///
/// # Cancel safety
/// The rows of the transaction under way are moved or not.
pub(crate) async fn move_rows(inner: &Inner) {
    let apps: BTreeMap<_, _> =
        inner.apps.values().map(|app| (app.appid.clone(), app.require_grant)).collect();
    let (apps, appids) = (Arc::new(apps), inner.apps.keys().cloned().collect::<Vec<_>>());
    loop {
        let moved = move_batch(inner, &apps, &appids).await.map_err(InboxError::from);
        inner.inbox.send_modify(|status| status.note(&moved));
        let Some(moved) = moved.transpose() else {
            inner.inbox.send_modify(|status| status.is_empty = true);
            return pending().await;
        };
        pause_after(moved, "moving rows", inner, &inner.inbox).await;
    }
}

/// Moves one batch. Gives the number of rows that were recorded or rejected; `None` if there is no inbox.
async fn move_batch(
    inner: &Inner,
    apps: &Arc<BTreeMap<AppId, bool>>,
    appids: &[AppId],
) -> LedgerResult<Option<usize>> {
    let Some(InboxBacklog { has_rows, foreign_rows }) = inner.ledger.inbox_backlog(appids).await? else {
        return Ok(None);
    };
    if foreign_rows > inner.inbox.borrow().foreign_rows {
        tracing::warn!(rows = foreign_rows, "inbox: rows wait for apps that this process does not serve");
    }
    inner.inbox.send_modify(|status| (status.is_empty, status.foreign_rows) = (!has_rows, foreign_rows));
    if !has_rows {
        return Ok(Some(0));
    }
    let change = Change::MoveInbox { apps: Arc::clone(apps), limit: BATCH };
    let outcomes: RowOutcomes = inner.writer.submit(change).await?;
    let (done, error) = (outcomes.done(), outcomes.error.clone());
    inner.inbox.send_modify(|status| status.add(outcomes));
    error.map_or(Ok(Some(done)), Err)
}
