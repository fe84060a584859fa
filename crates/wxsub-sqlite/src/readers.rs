//! Connections that only read. They see what was committed before the read began, and hold up no writer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Params};
use tokio::task;
use wxsub_outbox::ledger::FromColumns;
use wxsub_outbox::{LedgerError, LedgerResult};

use crate::columns;
use crate::connection::open_reader;
use crate::error::failed;

/// How many idle connections are kept.
const MAX_IDLE: usize = 4;

#[derive(Debug, Clone)]
pub(crate) struct Readers {
    path: Arc<PathBuf>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path: Arc::new(path), idle: Arc::default() }
    }

    /// Reads on a thread for blocking work, in one transaction.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> LedgerResult<T> {
        let readers = self.clone();
        let reading = task::spawn_blocking(move || {
            let mut connection = readers.take()?;
            let result = connection.transaction().and_then(|transaction| read(&transaction)).map_err(failed);
            readers.give_back(connection);
            result
        });
        reading.await.unwrap_or_else(|error| Err(LedgerError::Unavailable(error.to_string())))
    }

    /// Reads the rows of one statement.
    pub(crate) async fn all<T: FromColumns + Send + 'static>(
        &self,
        sql: &'static str,
        params: impl Params + Send + 'static,
    ) -> LedgerResult<Vec<T>> {
        self.read(move |connection| columns::all(connection, sql, params)).await
    }

    fn take(&self) -> LedgerResult<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(connection) => Ok(connection),
            None => open_reader(&self.path).map_err(|error| LedgerError::Unavailable(error.to_string())),
        }
    }

    fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
    }
}
