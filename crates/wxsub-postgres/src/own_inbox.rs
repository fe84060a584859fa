//! The inbox in the ledger's own schema: its rows are recorded and deleted in one transaction.

use std::collections::BTreeMap;

use wxsub_core::clock::Clock;
use wxsub_outbox::inbox::{MAX_MESSAGE_BYTES, decide};
use wxsub_outbox::ledger::{RowOutcomes, at_most};
use wxsub_proto::AppId;

use crate::columns::{self, column};
use crate::error::Failure;
use crate::named::Named;
use crate::session::{Pipeline, Session};
use crate::sql;
use crate::transaction::Part;
use crate::write::check_rows;

/// Moves at most `limit` rows within the open transaction. Rows that another process moves are skipped.
pub(crate) async fn move_rows(
    session: &Session,
    clock: Option<&dyn Clock>,
    shard: i16,
    apps: &BTreeMap<AppId, bool>,
    limit: usize,
) -> Result<RowOutcomes, Failure> {
    let appids: Vec<_> = apps.keys().map(AppId::as_str).collect();
    let max_characters = i32::try_from(MAX_MESSAGE_BYTES + 1).unwrap_or(i32::MAX);
    let mut outcomes = RowOutcomes::default();
    let (mut ids, mut changes) = (Vec::new(), Vec::new());
    for row in session.query(sql::LOCK_INBOX, &[&appids, &at_most(limit), &max_characters]).await? {
        let row = columns::read_inbox_row(&row)?;
        match decide(&row, |appid| apps.get(appid).copied()) {
            Ok(change) => {
                ids.push(row.id);
                changes.push(change);
            }
            Err(error) => outcomes.add(row.id, Err(error)),
        }
    }
    if !changes.is_empty() {
        let mut part = Part::begin(session, clock, Named::new(&changes), &[]).await?;
        for (id, applied) in ids.into_iter().zip(part.apply(&changes).await?) {
            outcomes.add(id, Ok(applied));
        }
        part.write(shard).await?;
    }
    finish(session, &outcomes).await?;
    Ok(outcomes)
}

/// Deletes the recorded rows, and writes the errors of the rejected ones.
async fn finish(session: &Session, outcomes: &RowOutcomes) -> Result<(), Failure> {
    let RowOutcomes { recorded, rejected, .. } = outcomes;
    let mut pipeline = Pipeline::default();
    pipeline.push(sql::DELETE_INBOX, vec![column(recorded, String::as_str)]);
    let errors = vec![column(rejected, |row| row.id.as_str()), column(rejected, |row| row.error.as_str())];
    pipeline.push(sql::REJECT_INBOX, errors);
    let written = session.write(&pipeline).await?;
    let expected = [(sql::DELETE_INBOX, recorded.len()), (sql::REJECT_INBOX, rejected.len())];
    expected.into_iter().zip(written).try_for_each(|((sql, expected), rows)| check_rows(sql, expected, rows))
}
