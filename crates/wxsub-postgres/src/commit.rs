//! A transaction from its BEGIN to its COMMIT.

use wxsub_core::clock::{Clock, UnixMillis};
use wxsub_outbox::ledger::{Applied, Change, FromApplied, RestoreReport, Results};

use crate::error::Failure;
use crate::named::{Named, can_write_endpoints, is_sweep};
use crate::session::Session;
use crate::transaction::{FIRST_ID, Page, Part};
use crate::{columns, own_inbox, sql};

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
        if let [change @ (Change::MoveInbox { .. } | Change::Restore | Change::PruneBatch { .. })] = changes {
            for statement in begin {
                session.batch(statement).await?;
            }
            results.push(Ok(apply_in_parts(session, clock, shard, change).await?));
            continue;
        }
        let mut part = Part::begin(session, clock, Named::new(changes), begin).await?;
        results.extend(part.apply(changes).await?);
        part.write(shard).await?;
    }
    Ok(results)
}

/// Applies a change that may be about more rows than fit into memory.
async fn apply_in_parts(
    session: &Session,
    clock: Option<&dyn Clock>,
    shard: i16,
    change: &Change,
) -> Result<Applied, Failure> {
    match change {
        Change::MoveInbox { apps, limit } => {
            own_inbox::move_rows(session, clock, shard, apps, *limit).await.map(Applied::Moved)
        }
        Change::PruneBatch { .. } => {
            let (mut deleted, mut kept) = (0, 0);
            let first = Page::Keys(String::new());
            for page in apply_to_pages(session, clock, shard, change, first).await? {
                let of_page = <(usize, usize)>::from_applied(page)?;
                (deleted, kept) = (deleted + of_page.0, kept + of_page.1);
            }
            Ok(Applied::BatchPruned { deleted, kept })
        }
        _ => restore(session, clock, shard).await.map(Applied::Restored),
    }
}

async fn restore(session: &Session, clock: Option<&dyn Clock>, shard: i16) -> Result<RestoreReport, Failure> {
    // Whole tables are read and written.
    session.batch("SET LOCAL statement_timeout = 0").await?;
    let last_event = session.query_without_timeout(sql::LAST_EVENT).await?;
    let last_event_at = last_event.first().map(columns::read::<Option<UnixMillis>>).transpose()?.flatten();
    let mut report = RestoreReport { last_event_at, ..RestoreReport::default() };
    let first = Page::Undecided(String::new(), FIRST_ID);
    for page in apply_to_pages(session, clock, shard, &Change::Restore, first).await? {
        let of_page = RestoreReport::from_applied(page)?;
        report.messages += of_page.messages;
        report.grants += of_page.grants;
    }
    report.grants += change_rows(session, sql::DOUBT_GRANTS).await?;
    report.inbox_rows = change_rows(session, sql::DOUBT_INBOX).await?;
    Ok(report)
}

/// Runs a statement that gives the number of rows that it changed.
async fn change_rows(session: &Session, sql: &str) -> Result<usize, Failure> {
    let changed = session.query_without_timeout(sql).await?;
    Ok(changed.first().map_or(0, |row| usize::try_from(row.get::<_, i64>(0)).unwrap_or(usize::MAX)))
}

/// Applies a change of many rows to a page of them at a time. Gives the result for each.
async fn apply_to_pages(
    session: &Session,
    clock: Option<&dyn Clock>,
    shard: i16,
    change: &Change,
    first: Page,
) -> Result<Vec<Applied>, Failure> {
    let (mut next, mut applied) = (Some(first), Vec::new());
    while let Some(page) = next {
        let mut part = Part::begin(session, clock, Named::default(), &[]).await?;
        next = part.load_page(change, &page).await?;
        for of_page in part.apply_loaded(std::slice::from_ref(change), true).await? {
            applied.push(of_page?);
        }
        part.write(shard).await?;
    }
    Ok(applied)
}
