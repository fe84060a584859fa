//! The inbox in another PostgreSQL than the ledger's: read and lock, then delete.

use async_trait::async_trait;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;
use wxsub_outbox::inbox::{CHECKS, Inbox, InboxError, InboxRow, MAX_MESSAGE_BYTES, Rejected};
use wxsub_proto::{Language, LocalizedText};

use crate::columns;
use crate::connection::{Connector, PostgresOptions};
use crate::error::{ConnectError, ServerProblem, text};
use crate::session::Session;

/// The rights that the role of an inbox needs, in the application's database. Replace the name of the role.
pub const INBOX_GRANTS: &str = "GRANT SELECT, DELETE, UPDATE (error) ON wxsub_inbox TO wxsub";

/// The inbox in a table `wxsub_inbox` of an application's PostgreSQL, which
/// [`POSTGRES_TABLE`](wxsub_outbox::inbox::POSTGRES_TABLE) makes. It has one connection, and makes a new one after a failure.
#[derive(derive_more::Debug)]
#[debug("PostgresInbox {{ host: {:?}, .. }}", connector.host)]
pub struct PostgresInbox {
    connector: Connector,
    /// None while a call uses it: a call that is dropped closes it, and the server rolls back.
    session: Option<Session>,
}

impl PostgresInbox {
    /// Connects, and checks version, table and rights. A clock and a migration in the options have no effect.
    ///
    /// # Errors
    /// [`InboxError::Refused`] says what must be changed first.
    ///
    /// # Cancel safety
    /// The connection is closed.
    pub async fn connect(options: &PostgresOptions) -> Result<Self, InboxError> {
        let mut inbox = Self::new(options)?;
        inbox.session = Some(inbox.open().await?);
        Ok(inbox)
    }

    /// The inbox, which connects with the first read.
    ///
    /// # Errors
    /// [`InboxError::Refused`] if the URL or the certificate authorities cannot be used.
    pub fn new(options: &PostgresOptions) -> Result<Self, InboxError> {
        let connector = Connector::new(options).map_err(|error| connect_error(&error))?;
        Ok(Self { connector, session: None })
    }

    async fn open(&self) -> Result<Session, InboxError> {
        let session = self.connector.connect().await.map_err(|error| connect_error(&error))?;
        for check in CHECKS {
            session.batch(check).await.map_err(|error| self.error(&error))?;
        }
        Ok(session)
    }

    fn error(&self, error: &Error) -> InboxError {
        let what = format!("database at {}: {}", self.connector.host, text(error));
        let (remedy, chinese) = match error.code() {
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                ("grant the rights that docs/inbox.md lists", "请按 docs/inbox.md 授予权限")
            }
            Some(&SqlState::UNDEFINED_TABLE | &SqlState::UNDEFINED_COLUMN) => {
                ("make the table as docs/inbox.md says", "请按 docs/inbox.md 建表")
            }
            Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => {
                ("it is a replica or read only; connect to the primary", "该实例是只读的或是从库；请连接主库")
            }
            _ => return InboxError::Unavailable(what),
        };
        InboxError::Refused(LocalizedText::new(format!("{what}; {remedy}"), format!("{what}；{chinese}")))
    }
}

fn connect_error(error: &ConnectError) -> InboxError {
    let texts = error.localized();
    let what = texts.in_language(Language::English).replacen("ledger", "database", 1);
    let chinese = texts.in_language(Language::Chinese).replacen("消息库", "数据库", 1);
    // A statement that finds the same later is refused, too.
    let is_read_only = matches!(error, ConnectError::Server { problem: ServerProblem::ReadOnly, .. });
    if error.is_transient() && !is_read_only {
        return InboxError::Unavailable(what);
    }
    InboxError::Refused(LocalizedText::new(what, chinese))
}

#[async_trait]
impl Inbox for PostgresInbox {
    async fn read(&mut self, limit: usize) -> Result<Vec<InboxRow>, InboxError> {
        let session = match self.session.take().filter(|session| !session.is_closed()) {
            Some(session) => session,
            None => self.open().await?,
        };
        let rows = read(&session, limit).await.map_err(|error| self.error(&error))?;
        self.session = Some(session);
        Ok(rows)
    }

    async fn finish(&mut self, copied: Vec<String>, rejected: Vec<Rejected>) -> Result<(), InboxError> {
        let lost = || InboxError::Unavailable("there is no open transaction".to_owned());
        let session = self.session.take().ok_or_else(lost)?;
        finish(&session, copied, rejected).await.map_err(|error| self.error(&error))?;
        self.session = Some(session);
        Ok(())
    }
}

async fn read(session: &Session, limit: usize) -> Result<Vec<InboxRow>, Error> {
    session.batch("ROLLBACK; BEGIN").await?;
    let select = format!(
        "SELECT id::text, appid::text, left(message::text, {}), send_at_ms, expires_at_ms, priority::text
         FROM wxsub_inbox WHERE error IS NULL ORDER BY wxsub_inbox.id LIMIT {limit} FOR UPDATE SKIP LOCKED",
        MAX_MESSAGE_BYTES + 1
    );
    let rows = session.query_once(&select, &[]).await?;
    if rows.is_empty() {
        session.batch("COMMIT").await?;
    }
    rows.iter().map(columns::read_inbox_row).collect()
}

async fn finish(session: &Session, copied: Vec<String>, rejected: Vec<Rejected>) -> Result<(), Error> {
    let delete = "DELETE FROM wxsub_inbox WHERE id = ANY($1::bpchar[])";
    session.query_once(delete, &[&copied]).await?;
    for Rejected { id, error } in rejected {
        let update = "UPDATE wxsub_inbox SET error = $1 WHERE id = $2::bpchar";
        session.query_once(update, &[&error, &id]).await?;
    }
    session.batch("COMMIT").await
}
