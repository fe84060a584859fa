//! The ledger in PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio_postgres::types::ToSql;
use wxsub_core::clock::{Clock, MonotonicInstant, UnixMillis};
use wxsub_outbox::app::{Pauses, StoredApp};
use wxsub_outbox::audit::StoredAudit;
use wxsub_outbox::grant::StoredGrant;
use wxsub_outbox::id::{GrantId, MessageId};
use wxsub_outbox::ledger::{
    Change, FromColumns, InboxBacklog, MAX_FOREIGN_ROWS, MessageQuery, Results, StoredWorker, at_most, millis,
};
use wxsub_outbox::message::{StoredEvent, StoredMessage};
use wxsub_outbox::state::{GrantState, MessageState};
use wxsub_outbox::webhook::{EndpointStatus, MAX_COUNTED_DELIVERIES, StoredDelivery};
use wxsub_outbox::{Ledger, LedgerError, LedgerResult};
use wxsub_proto::{AppId, OpenId};

use crate::columns;
use crate::connection::{Connector, PostgresOptions};
use crate::error::{ConnectError, Failure, ServerProblem};
use crate::session::{Pipeline, Session};
use crate::write::UNDECIDED;
use crate::writer::Writer;
use crate::{check, schema, sql};

/// The ledger in a PostgreSQL database, for workers on any number of machines. It keeps two connections: one writes, one reads.
#[derive(derive_more::Debug)]
#[debug("PostgresLedger({:?})", connector.host)]
pub struct PostgresLedger {
    connector: Connector,
    writer: Writer,
    reader: Mutex<Reader>,
    /// In place of the database's, if given.
    clock: Option<Arc<dyn Clock>>,
}

struct Reader {
    session: Option<Arc<Session>>,
    /// The last failure to connect, and when it was.
    failed: Option<(MonotonicInstant, LedgerError)>,
}

impl PostgresLedger {
    /// Connects to a database. Its schema is made, or brought up to date.
    ///
    /// # Errors
    /// [`ConnectError`] says why it cannot be used, and what to do.
    ///
    /// # Cancel safety
    /// The schema may have been brought up to date.
    pub async fn connect(options: PostgresOptions) -> Result<Self, ConnectError> {
        let connector = Connector::new(&options)?;
        let (session, reader) = (connector.connect().await?, connector.connect_reader().await?);
        connector.check_pooler(&session, &reader).await?;
        let now = options.clock.as_ref().map(|clock| clock.now().wall);
        let prepared = schema::prepare(&session, options.migrate, now).await;
        prepared.map_err(|problem| problem.at(&connector.host))?;
        let shard = session.query_once("SELECT pg_backend_pid()", &[]).await;
        let shard = shard.map_err(|error| ConnectError::database(&connector.host, &error))?;
        let [shard, ..] = shard.first().map_or(0, |row| row.get::<_, i32>(0)).to_le_bytes();
        let writer = Writer::start(connector.clone(), session, options.clock.clone(), shard);
        let reader = Mutex::new(Reader { session: Some(Arc::new(reader)), failed: None });
        Ok(Self { connector, writer, reader, clock: options.clock })
    }

    /// Looks for rows that refer to nothing, and for counts that a recount does not give. Gives one line for each problem.
    /// Other processes may go on.
    ///
    /// # Errors
    /// [`ConnectError`] if the database cannot be read at all, or its schema is not the one that this program needs.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn check(options: PostgresOptions) -> Result<Vec<String>, ConnectError> {
        let connector = Connector::new(&options)?;
        let session = connector.connect().await?;
        let checked = async {
            schema::prepare(&session, false, None).await?;
            Ok::<_, ServerProblem>(check::problems(&session).await?)
        };
        checked.await.map_err(|problem| problem.at(&connector.host))
    }

    async fn reader(&self) -> LedgerResult<Arc<Session>> {
        let now = || self.connector.clock.now().mono;
        let asked_at = now();
        let Reader { session, failed } = &mut *self.reader.lock().await;
        match (&*session, &*failed) {
            (Some(session), _) if !session.is_closed() => return Ok(Arc::clone(session)),
            // One after the other, those that waited meanwhile would wait for minutes.
            (_, Some((failed_at, error))) if *failed_at > asked_at => return Err(error.clone()),
            _ => {}
        }
        match self.connector.connect_reader().await {
            Ok(opened) => Ok(Arc::clone(session.insert(Arc::new(opened)))),
            Err(error) => {
                let error = LedgerError::Unavailable(error.to_string());
                *failed = Some((now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn read<T: FromColumns>(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> LedgerResult<Vec<T>> {
        let session = self.reader().await?;
        let rows = session.query(sql, params).await.map_err(|error| unreadable(&session, error))?;
        rows.iter().map(columns::read).collect()
    }
}

/// Nothing was changed by a read. The next one gets another session if this one is of no use any more.
fn unreadable(session: &Session, error: tokio_postgres::Error) -> LedgerError {
    let failure = Failure::from(error);
    if let Failure::Disconnected(_) = failure {
        session.close();
    }
    failure.into_error()
}

#[async_trait]
impl Ledger for PostgresLedger {
    async fn commit(&self, changes: Vec<Change>) -> LedgerResult<Results> {
        self.writer.commit(changes).await
    }

    async fn message(&self, id: MessageId) -> LedgerResult<Option<StoredMessage>> {
        let found = self.read(sql::MESSAGE, &[&columns::id(&id)]).await?;
        Ok(found.into_iter().next())
    }

    async fn history(&self, id: MessageId) -> LedgerResult<Vec<StoredEvent>> {
        self.read(sql::HISTORY, &[&columns::id(&id)]).await
    }

    async fn messages(&self, query: &MessageQuery) -> LedgerResult<Vec<StoredMessage>> {
        let MessageQuery { appid, state, openid, undecided, newest_first, after, limit } = query;
        let state_name = state.map(MessageState::as_str);
        let first = MessageId::from_bytes([if *newest_first { u8::MAX } else { 0 }; 16]);
        let after = columns::id(after.as_ref().unwrap_or(&first));
        let (appid, limit, user) = (appid.as_str(), at_most(*limit), openid.as_ref().map(OpenId::as_str));
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&appid, &after, &limit];
        let [oldest, newest] = match (openid, state, undecided) {
            (Some(_), ..) => {
                params.extend([&user as &(dyn ToSql + Sync), &state_name, undecided]);
                [sql::LIST_USER, sql::LIST_NEWEST_USER]
            }
            (None, None | Some(MessageState::MaybeSent), true) => {
                [sql::LIST_UNDECIDED, sql::LIST_NEWEST_UNDECIDED]
            }
            (None, Some(_), true) => return Ok(Vec::new()),
            (None, None, false) => [sql::LIST, sql::LIST_NEWEST],
            (None, Some(MessageState::Sent), false) => [sql::LIST_SENT, sql::LIST_NEWEST_SENT],
            (None, Some(_), false) => {
                params.push(&state_name);
                [sql::LIST_STATE, sql::LIST_NEWEST_STATE]
            }
        };
        let sql = if *newest_first { newest } else { oldest };
        self.read(sql, &params).await
    }

    async fn grants(&self, appid: &AppId, openid: &OpenId) -> LedgerResult<Vec<StoredGrant>> {
        self.read(sql::GRANTS_OF_USER, &[&openid.as_str(), &appid.as_str()]).await
    }

    async fn inbox_backlog(&self, apps: &[AppId]) -> LedgerResult<Option<InboxBacklog>> {
        let apps: Vec<_> = apps.iter().map(AppId::as_str).collect();
        Ok(self.read(sql::INBOX_BACKLOG, &[&apps, &i64::from(MAX_FOREIGN_ROWS)]).await?.pop())
    }

    async fn webhook_endpoints(&self) -> LedgerResult<Vec<EndpointStatus>> {
        let now = self.clock.as_ref().map(|clock| millis(clock.now().wall));
        self.read(sql::ENDPOINT_STATUSES, &[&now, &MAX_COUNTED_DELIVERIES.cast_signed()]).await
    }

    async fn failed_deliveries(
        &self,
        endpoint: &str,
        after: Option<&StoredDelivery>,
        limit: usize,
    ) -> LedgerResult<Vec<StoredDelivery>> {
        let first = (UnixMillis::default(), MessageId::from_bytes([0; 16]), 0);
        let (created_at, message, sequence) = after.map_or(first, StoredDelivery::position);
        let sequence = i32::try_from(sequence).unwrap_or(i32::MAX);
        let params: [&(dyn ToSql + Sync); 5] =
            [&endpoint, &millis(created_at), &columns::id(&message), &sequence, &at_most(limit)];
        self.read(sql::FAILED_DELIVERIES, &params).await
    }

    async fn grants_in_state(
        &self,
        appid: &AppId,
        state: GrantState,
        after: Option<GrantId>,
        limit: usize,
    ) -> LedgerResult<Vec<StoredGrant>> {
        let after = after.as_ref().map(columns::id);
        let sql = match state {
            GrantState::Used | GrantState::Void => sql::SPENT_GRANTS_IN_STATE,
            _ => sql::GRANTS_IN_STATE,
        };
        self.read(sql, &[&appid.as_str(), &state.as_str(), &after, &at_most(limit)]).await
    }

    async fn batch_clients(&self, appid: &AppId, limit: usize) -> LedgerResult<Vec<String>> {
        self.read(sql::BATCHES, &[&appid.as_str(), &at_most(limit)]).await
    }

    async fn app(&self, appid: &AppId) -> LedgerResult<StoredApp> {
        let mut pipeline = Pipeline::default();
        let pauses = pipeline.push(sql::APPS, vec![Box::new(vec![appid.as_str()])]);
        let counts = pipeline.push(sql::COUNTS, vec![Box::new(appid.as_str())]);
        let session = self.reader().await?;
        let found = session.run(&pipeline).await.map_err(|error| unreadable(&session, error))?;
        let mut app = StoredApp::default();
        if let Some(row) = found.of(Some(pauses)).next() {
            app.pauses = columns::read(row)?;
        }
        for row in found.of(Some(counts)) {
            let (state, messages): (&str, i64) = (row.get(0), row.get(1));
            let messages = u64::try_from(messages).unwrap_or(0);
            match state.parse() {
                _ if messages == 0 => {}
                Ok(state) => drop(app.counts.insert(state, messages)),
                Err(_) if state == UNDECIDED => app.undecided = messages,
                Err(_) => {}
            }
        }
        Ok(app)
    }

    async fn claimable_apps(&self) -> LedgerResult<Vec<AppId>> {
        let now = self.clock.as_ref().map(|clock| millis(clock.now().wall));
        let mut due: Vec<(Pauses, (AppId, Option<UnixMillis>))> = self.read(sql::DUE_APPS, &[&now]).await?;
        due.retain(|(pauses, (_, now))| pauses.claimable(1, now.unwrap_or_default()) > 0);
        Ok(due.into_iter().map(|(_, (appid, _))| appid).collect())
    }

    async fn first_due_at(&self, appid: &AppId) -> LedgerResult<Option<UnixMillis>> {
        let found: Vec<(Option<UnixMillis>, (Option<_>, Option<_>))> =
            self.read(sql::FIRST_DUE, &[&appid.as_str()]).await?;
        Ok(found.into_iter().flat_map(|(high, (normal, low))| [high, normal, low]).flatten().min())
    }

    async fn notified(&self) {
        self.connector.notified.notified().await;
    }

    async fn apps(&self) -> LedgerResult<Vec<AppId>> {
        self.read(sql::ALL_APPS, &[]).await
    }

    async fn undecided_apps(&self) -> LedgerResult<Vec<AppId>> {
        self.read(sql::UNDECIDED_APPS, &[]).await
    }

    async fn workers(&self) -> LedgerResult<Vec<StoredWorker>> {
        self.read(sql::ALL_WORKERS, &[]).await
    }

    async fn audit(&self, before: Option<u64>, limit: usize) -> LedgerResult<Vec<StoredAudit>> {
        let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
        self.read(sql::AUDIT, &[&before, &at_most(limit)]).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wxsub_test_support::Postgres;

    /// A pooler that gives each transaction another server connection loses them. Its configuration may be corrected later.
    #[tokio::test]
    #[ignore = "needs postgresql: scripts/test runs it"]
    async fn a_session_whose_statements_are_lost_is_replaced() {
        let postgres = Postgres::start();
        let ledger = PostgresLedger::connect(PostgresOptions::new(postgres.url())).await.unwrap();
        ledger.apps().await.unwrap();
        ledger.reader().await.unwrap().batch("DEALLOCATE ALL").await.unwrap();
        let lost = ledger.apps().await.unwrap_err();
        assert!(lost.to_string().contains("pool_mode=session"), "{lost}");
        while !ledger.reader.lock().await.session.as_ref().unwrap().is_closed() {
            tokio::task::yield_now().await;
        }
        assert_eq!(ledger.apps().await, Ok(Vec::new()));
    }
}
