//! Writes the rows of another ledger to an empty one: all of them or none.

use std::collections::BTreeMap;

use wxsub_outbox::ledger::Written;
use wxsub_outbox::{LedgerError, LedgerResult};

use crate::columns::column;
use crate::connection::{Connector, PostgresOptions};
use crate::error::{ConnectError, Failure, ServerProblem};
use crate::session::Session;
use crate::{check, schema, sql, write};

/// The tables that must be empty, and how many of the rows go to each.
fn lengths(rows: &Written) -> [(&'static str, usize); 7] {
    [
        ("wxsub_grant", rows.grants.len()),
        ("wxsub_nonce", rows.nonces.len()),
        ("wxsub_message", rows.messages.len()),
        ("wxsub_event", rows.events.len()),
        ("wxsub_key", rows.keys.len()),
        ("wxsub_webhook_delivery", rows.deliveries.len()),
        ("wxsub_audit", rows.audit.len()),
    ]
}

/// One open transaction that writes the rows of another ledger. Nothing is kept if it is dropped.
#[derive(Debug)]
pub struct PostgresImport {
    session: Session,
    written: BTreeMap<&'static str, usize>,
    /// Whether rows were not written. PostgreSQL then replies to COMMIT without an error, and undoes the transaction.
    has_failed: bool,
}

impl PostgresImport {
    /// Connects to a ledger without messages, grants, keys, webhooks and lines of the audit. Its schema is made, or brought up to date.
    ///
    /// # Errors
    /// [`ConnectError`] says why it cannot be used, and what to do: [`ServerProblem::NotEmpty`] if it has rows.
    ///
    /// # Cancel safety
    /// The schema may have been brought up to date.
    pub async fn begin(options: &PostgresOptions) -> Result<Self, ConnectError> {
        let connector = Connector::new(options)?;
        let session = connector.connect().await?;
        let prepared = schema::prepare(&session, options.migrate, None).await;
        prepared.map_err(|problem| problem.at(&connector.host))?;
        let failed = |error| ConnectError::database(&connector.host, &error);
        // Reading the other ledger can take long, for example on a slow disk.
        let begin = "SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0; BEGIN";
        session.batch(begin).await.map_err(failed)?;
        let tables = lengths(&Written::default()).map(|(table, _)| table);
        // No other process writes to them meanwhile.
        let lock = format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", tables.join(", "));
        session.batch(&lock).await.map_err(failed)?;
        for table in tables {
            if count(&session, table).await.map_err(failed)? > 0 {
                return Err(ServerProblem::NotEmpty(table).at(&connector.host));
            }
        }
        Ok(Self { session, written: BTreeMap::new(), has_failed: false })
    }

    /// Writes rows. Grants come before messages, and those of a user in the order of their recording.
    ///
    /// # Errors
    /// [`LedgerError`] if a row cannot be written; then nothing can be committed any more.
    ///
    /// # Cancel safety
    /// Drop it then: some of the rows may be written.
    pub async fn write(&mut self, rows: &Written) -> LedgerResult<()> {
        for (table, length) in lengths(rows) {
            *self.written.entry(table).or_default() += length;
        }
        // Also if this is dropped.
        let has_failed = std::mem::replace(&mut self.has_failed, true);
        let apps = column(&rows.apps, |app| app.appid.as_str());
        let insert_apps = self.session.query(sql::INSERT_APPS, &[&*apps]).await;
        insert_apps.map_err(|error| Failure::from(error).into_error())?;
        write::write(&self.session, 0, None, rows).await.map_err(Failure::into_error)?;
        self.has_failed = has_failed;
        Ok(())
    }

    /// Compares the number of rows in each table with that of the rows that were given, and looks for rows that contradict
    /// each other.
    ///
    /// # Errors
    /// [`LedgerError::Inconsistent`] names the first difference.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn check(&self) -> LedgerResult<()> {
        let unreadable = |error| Failure::from(error).into_error();
        for (table, expected) in &self.written {
            let found = count(&self.session, table).await.map_err(unreadable)?;
            if i64::try_from(*expected).ok() != Some(found) {
                let text = format!("{table} has {found} rows instead of {expected}");
                return Err(LedgerError::Inconsistent(text));
            }
        }
        match check::contradictions(&self.session).await.map_err(unreadable)?.into_iter().next() {
            Some(problem) => Err(LedgerError::Inconsistent(problem)),
            None => Ok(()),
        }
    }

    /// How many messages were written.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.written.get("wxsub_message").copied().unwrap_or_default()
    }

    /// Commits.
    ///
    /// # Errors
    /// [`LedgerError::Inconsistent`] if rows were not written: none is kept. [`LedgerError::Unknown`] if the reply of the
    /// database was lost: all rows are there or none.
    ///
    /// # Cancel safety
    /// All rows are there or none.
    pub async fn commit(self) -> LedgerResult<()> {
        if self.has_failed {
            return Err(LedgerError::Inconsistent(
                "rows were not written; begin the import again".to_owned(),
            ));
        }
        let committed = self.session.batch("COMMIT").await;
        committed.map_err(|error| match Failure::from(error) {
            Failure::Disconnected(what) => LedgerError::Unknown(what),
            failure => failure.into_error(),
        })
    }
}

async fn count(session: &Session, table: &str) -> Result<i64, tokio_postgres::Error> {
    let counted = session.query_without_timeout(&format!("SELECT count(*) FROM {table}")).await?;
    Ok(counted.first().map_or(0, |row| row.get(0)))
}
