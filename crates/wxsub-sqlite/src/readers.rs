//! Connections that only read. They see what was committed before the read began, and hold up no writer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Params};
use tokio::sync::Semaphore;
use tokio::task;
use wxsub_outbox::ledger::FromColumns;
use wxsub_outbox::{LedgerError, LedgerResult};

use crate::columns;
use crate::connection::open_reader;
use crate::error::failed;

/// How many idle connections are kept.
const MAX_IDLE: usize = 4;

/// How many connections are open at once. Each has three files and a cache. Other reads wait.
const MAX_READS: usize = 8;

#[derive(Debug, Clone)]
pub(crate) struct Readers {
    path: Arc<PathBuf>,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path: Arc::new(path), idle: Arc::default(), permits: Arc::new(Semaphore::new(MAX_READS)) }
    }

    /// Reads on a thread for blocking work, in one transaction.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> LedgerResult<T> {
        let readers = self.clone();
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|error| LedgerError::Unavailable(error.to_string()))?;
        let reading = task::spawn_blocking(move || {
            // The work goes on if the caller gives up.
            let _permit = permit;
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn reads_share_a_few_connections() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE one (id INTEGER)").unwrap();
        let (readers, running, most) =
            (Readers::new(path), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut reads = task::JoinSet::new();
        for _ in 0..100 {
            let (readers, running, most) = (readers.clone(), Arc::clone(&running), Arc::clone(&most));
            reads.spawn(async move {
                let read = readers.read(move |connection| {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    (0..2_000).for_each(|_| std::thread::yield_now());
                    running.fetch_sub(1, Ordering::SeqCst);
                    connection.query_row("SELECT count(*) FROM one", [], |row| row.get::<_, u64>(0))
                });
                assert_eq!(read.await, Ok(0));
            });
        }
        reads.join_all().await;
        assert!((1..=8).contains(&most.load(Ordering::SeqCst)), "{most:?} at once");
    }
}
