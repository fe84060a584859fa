//! A transaction from its BEGIN to its COMMIT.

use wxsub_core::clock::Clock;
use wxsub_outbox::ledger::{Applied, Change, Results};

use crate::error::Failure;
use crate::named::{Named, can_write_endpoints, is_sweep};
use crate::session::Session;
use crate::transaction::Part;
use crate::{own_inbox, sql};

/// Applies changes in one transaction, and commits it. Nothing is kept if it fails, unless the failure is
/// [`Failure::Unknown`].
pub(crate) async fn commit(
    session: &Session,
    clock: Option<&dyn Clock>,
    shard: i16,
    changes: &[Change],
) -> Result<Results, Failure> {
    let applied = match apply_all(session, clock, shard, changes).await {
        Ok(applied) => applied,
        Err(failure) => {
            if !matches!(failure, Failure::Disconnected(_)) {
                session.batch("ROLLBACK").await?;
            }
            return Err(failure);
        }
    };
    match session.batch("COMMIT").await {
        Ok(()) if session.may_be_unreplicated() => {
            Err(Failure::Unknown("the server did not wait for its replica; check the replica".to_owned()))
        }
        Ok(()) => Ok(applied),
        // The server says what it did. A FATAL error ends the connection and can follow the commit.
        Err(error) => match Failure::from(error) {
            Failure::Disconnected(what) => Err(Failure::Unknown(what)),
            failure => Err(failure),
        },
    }
}

async fn apply_all(
    session: &Session,
    clock: Option<&dyn Clock>,
    shard: i16,
    changes: &[Change],
) -> Result<Results, Failure> {
    let mut results = Vec::with_capacity(changes.len());
    // Endpoints are written as a whole, so nothing may change them after they are read.
    let mut begin: &[_] = if changes.iter().any(can_write_endpoints) {
        &[sql::BEGIN, sql::LOCK_ENDPOINTS]
    } else {
        &[sql::BEGIN]
    };
    // A sweep sees what was written before.
    for changes in changes.chunk_by(|one, next| !is_sweep(one) && !is_sweep(next)) {
        let begin = std::mem::take(&mut begin);
        if let [Change::MoveInbox { apps, limit }] = changes {
            for statement in begin {
                session.batch(statement).await?;
            }
            let outcomes = own_inbox::move_rows(session, clock, shard, apps, *limit).await?;
            results.push(Ok(Applied::Moved(outcomes)));
            continue;
        }
        let mut part = Part::begin(session, clock, Named::new(changes), begin).await?;
        results.extend(part.apply(changes).await?);
        part.write(shard).await?;
        if let Some(Ok(Applied::Restored(report))) = results.last_mut() {
            report.inbox_rows = own_inbox::doubt_rows(session).await?;
        }
    }
    Ok(results)
}
