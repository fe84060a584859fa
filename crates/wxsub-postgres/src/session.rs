//! A connection to the database, with its prepared statements.

use std::collections::{BTreeSet, HashMap};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, Error, Row, SimpleQueryMessage, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;
use wxsub_core::clock::{Clock, timeout_at};
use wxsub_outbox::ledger::ToColumns;

use crate::columns::{self, Param};

/// Maximum time for statements that are sent together. The server ends each of them after 30 s, so a longer silence means that
/// the connection is lost.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection. It is closed when this is dropped.
#[derive(derive_more::Debug)]
#[debug("Session {{ .. }}")]
pub(crate) struct Session {
    client: Client,
    statements: Mutex<HashMap<&'static str, Statement>>,
    /// The task that reads and writes the socket.
    driver: AbortHandle,
    /// The server has ended its wait for a synchronous replica.
    unreplicated: Arc<AtomicBool>,
    clock: Arc<dyn Clock>,
}

/// Statements that are sent together. The database runs them in this order, each when the one before has ended.
#[derive(Default)]
pub(crate) struct Pipeline<'a>(Vec<(&'static str, Vec<Param<'a>>)>);

impl<'a> Pipeline<'a> {
    /// Appends a statement. Gives the place of its rows among the results.
    pub(crate) fn push(&mut self, sql: &'static str, params: Vec<Param<'a>>) -> usize {
        self.0.push((sql, params));
        self.0.len() - 1
    }

    /// Appends a statement for rows, if there are any.
    pub(crate) fn push_rows<const N: usize, R: ToColumns<N>>(
        &mut self,
        sql: &'static str,
        rows: &'a BTreeSet<R>,
    ) -> Option<usize> {
        self.push_if(!rows.is_empty(), sql, || columns::columns(rows))
    }

    /// Appends a statement if it is needed.
    pub(crate) fn push_if(
        &mut self,
        is_needed: bool,
        sql: &'static str,
        params: impl FnOnce() -> Vec<Param<'a>>,
    ) -> Option<usize> {
        is_needed.then(|| self.push(sql, params()))
    }
}

/// The rows of each statement of a pipeline.
pub(crate) struct Found(Vec<Vec<Row>>);

impl Found {
    /// The rows of these statements.
    pub(crate) fn of(&self, places: impl IntoIterator<Item = usize>) -> impl Iterator<Item = &Row> {
        places.into_iter().filter_map(|at| self.0.get(at)).flatten()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Row> {
        self.0.iter().flatten()
    }
}

fn as_params<'a>(params: &'a [Param<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    params.iter().map(|param| &**param as &(dyn ToSql + Sync)).collect()
}

impl Session {
    /// Opens the connection, and notifies for each notification that it gets.
    pub(crate) async fn open(
        config: &Config,
        tls: MakeRustlsConnect,
        notified: Arc<Notify>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let (client, mut connection) = config.connect(tls).await?;
        let unreplicated = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&unreplicated);
        let driver = tokio::spawn(async move {
            // A caller that waits for a reply gets the error, too.
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    AsyncMessage::Notification(_) => notified.notify_one(),
                    // Its text depends on the language of the server.
                    AsyncMessage::Notice(notice) if notice.routine() == Some("SyncRepWaitForLSN") => {
                        noted.store(true, Ordering::Relaxed);
                    }
                    _ => {}
                }
            }
        });
        Ok(Self { client, statements: Mutex::default(), driver: driver.abort_handle(), unreplicated, clock })
    }

    /// Whether a synchronous replica may lack a transaction of this session.
    pub(crate) fn may_be_unreplicated(&self) -> bool {
        self.unreplicated.load(Ordering::Relaxed)
    }

    /// Closes the connection if there is no reply within [`REPLY_TIMEOUT`]. Then the work fails.
    async fn with_timeout<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let deadline = self.clock.now().mono + REPLY_TIMEOUT;
        match timeout_at(&*self.clock, deadline, work.as_mut()).await {
            Some(output) => output,
            None => {
                self.driver.abort();
                work.await
            }
        }
    }

    /// Closes the connection. What still waits for a reply fails.
    pub(crate) fn close(&self) {
        self.driver.abort();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    async fn statement(&self, sql: &'static str) -> Result<Statement, Error> {
        let known = self.statements.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.lock().unwrap_or_else(PoisonError::into_inner).insert(sql, statement.clone());
        Ok(statement)
    }

    /// Runs statements without parameters and without rows.
    pub(crate) async fn batch(&self, sql: &str) -> Result<(), Error> {
        self.with_timeout(self.client.batch_execute(sql)).await
    }

    /// Runs statements without parameters, and gives the first column of their first row as a text.
    pub(crate) async fn first_text(&self, sql: &str) -> Result<Option<String>, Error> {
        let messages = self.with_timeout(self.client.simple_query(sql)).await?;
        Ok(messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    }

    pub(crate) async fn query(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        self.with_timeout(async {
            let statement = self.statement(sql).await?;
            self.client.query(&statement, params).await
        })
        .await
    }

    /// Runs a statement once, without keeping it.
    pub(crate) async fn query_once(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        self.with_timeout(self.client.query(sql, params)).await
    }

    /// Runs a statement without a time limit.
    pub(crate) async fn query_without_timeout(&self, sql: &str) -> Result<Vec<Row>, Error> {
        self.client.query(sql, &[]).await
    }

    /// Runs statements in one round trip, and gives the rows of each.
    pub(crate) async fn run(&self, pipeline: &Pipeline<'_>) -> Result<Found, Error> {
        self.with_timeout(async {
            let statements = self.statements_of(pipeline).await?;
            let running = statements
                .iter()
                .zip(&pipeline.0)
                .map(async |(statement, (_, params))| self.client.query(statement, &as_params(params)).await);
            try_join_all(running).await.map(Found)
        })
        .await
    }

    /// Runs statements that write, in one round trip. Gives how many rows each of them wrote.
    pub(crate) async fn write(&self, pipeline: &Pipeline<'_>) -> Result<Vec<u64>, Error> {
        self.with_timeout(async {
            let statements = self.statements_of(pipeline).await?;
            let running = statements.iter().zip(&pipeline.0).map(async |(statement, (_, params))| {
                self.client.execute(statement, &as_params(params)).await
            });
            try_join_all(running).await
        })
        .await
    }

    /// Prepares all statements first, so that they are sent in their order.
    async fn statements_of(&self, pipeline: &Pipeline<'_>) -> Result<Vec<Statement>, Error> {
        let mut statements = Vec::with_capacity(pipeline.0.len());
        for (sql, _) in &pipeline.0 {
            statements.push(self.statement(sql).await?);
        }
        Ok(statements)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
