//! The thread that writes: one batch of changes after the other, each in one transaction.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};
use wxsub_core::clock::{Clock, UnixMillis};
use wxsub_outbox::ledger::{Change, Gone, Results, apply};
use wxsub_outbox::{LedgerError, LedgerResult};

use crate::connection::{self, IS_BACKUP, IS_MOVED, SqliteOptions};
use crate::error::{OpenError, OpenErrorKind, failed};
use crate::lock::WriterLock;
use crate::rows::Rows;
use crate::tables::OpenTables;

type Batch = (Vec<Change>, oneshot::Sender<LedgerResult<Results>>);

/// The writing thread. It ends when this is dropped, and gives the lock back.
#[derive(Debug)]
pub(crate) struct Writer {
    batches: Option<mpsc::UnboundedSender<Batch>>,
    thread: Option<JoinHandle<()>>,
    clock: Arc<dyn Clock>,
}

impl Writer {
    /// Starts the thread on an open file.
    pub(crate) fn start(file: OpenFile, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let (batches, waiting) = mpsc::unbounded_channel();
        let writing_clock = Arc::clone(&clock);
        let write = move || file.write(waiting, &*writing_clock);
        let thread = thread::Builder::new().name("wxsub-ledger".to_owned()).spawn(write)?;
        Ok(Self { batches: Some(batches), thread: Some(thread), clock })
    }

    /// The ledger's clock.
    pub(crate) fn now(&self) -> UnixMillis {
        self.clock.now().wall
    }

    pub(crate) async fn commit(&self, changes: Vec<Change>) -> LedgerResult<Results> {
        let (reply, replied) = oneshot::channel();
        let ended = || "its thread has ended: restart the program, whose log has the cause".to_owned();
        if self.batches.as_ref().is_none_or(|batches| batches.send((changes, reply)).is_err()) {
            return Err(LedgerError::Unavailable(ended()));
        }
        replied.await.unwrap_or_else(|_| Err(LedgerError::Unknown(ended())))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by then.
            let _ = thread.join();
        }
    }
}

/// A ledger that this process may write to.
pub(crate) struct OpenFile {
    connection: Connection,
    rows: Rows,
    path: PathBuf,
    lock: WriterLock,
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Use,
    /// Also if it is a backup or was moved.
    Restore,
    /// Also if it was moved: the move may have been interrupted.
    Move,
}

impl OpenFile {
    /// Opens the file under its lock. A file with a mark is opened only for a purpose that allows this mark.
    pub(crate) fn open(
        path: &Path,
        lock: WriterLock,
        options: &SqliteOptions,
        purpose: Purpose,
    ) -> Result<Self, OpenError> {
        let now = options.clock.now().wall;
        let mut connection = connection::open_writer(path)?;
        let version = connection::version(&connection, path)?;
        let mark = connection::mark(&connection).map_err(|error| OpenError::database(path, &error))?;
        match (mark, purpose) {
            (IS_BACKUP, Purpose::Use | Purpose::Move) => {
                return Err(OpenErrorKind::Backup(path.to_owned()).at(path));
            }
            (IS_MOVED, Purpose::Use) => return Err(OpenErrorKind::Moved.at(path)),
            _ => {}
        }
        if options.quick_check {
            connection::quick_check(&connection, path)?;
        }
        connection::migrate(&mut connection, path, version, now)?;
        Ok(Self { connection, rows: Rows::default(), path: path.to_owned(), lock })
    }

    /// Moves the log into the file and closes it, so that a copy of the file alone is whole. Readers may have it open.
    pub(crate) fn close(self) -> Result<WriterLock, OpenError> {
        let failed = |error| OpenError::database(&self.path, &error);
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)?;
        self.connection.close().map_err(|(_, error)| OpenError::database(&self.path, &error))?;
        Ok(self.lock)
    }

    /// The file, without the rows that are kept in memory.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Ends the attempts of the process that had the lock before: they may have been sent.
    pub(crate) fn reclaim(&mut self, clock: &dyn Clock) -> Result<(), OpenError> {
        let changes = vec![Change::MarkGone(Gone::All), Change::Reclaim(usize::MAX)];
        self.commit(changes, clock)
            .and_then(|results| results.into_iter().try_for_each(|result| result.map(drop)))
            .map_err(|error| OpenError::ledger(&self.path, &error))
    }

    /// Applies the changes in one transaction.
    pub(crate) fn commit(&mut self, changes: Vec<Change>, clock: &dyn Clock) -> LedgerResult<Results> {
        let now = clock.now().wall;
        let together = self.transact(|tables| {
            changes.iter().map(|change| apply(tables, change.clone(), now).map(Ok)).collect()
        });
        if !matches!(together, Err(LedgerError::Inconsistent(_))) {
            return together;
        }
        // One of them fails. The others are applied all the same.
        self.transact(|tables| {
            let apply = |change| match tables.separately(|tables| apply(tables, change, now)) {
                // SQLite may have undone the transaction.
                Err(error @ (LedgerError::Unavailable(_) | LedgerError::Unknown(_))) => Err(error),
                applied => Ok(applied),
            };
            changes.into_iter().map(apply).collect()
        })
    }

    /// Runs this in one transaction. Nothing is kept if it fails.
    pub(crate) fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut OpenTables<'_>) -> LedgerResult<T>,
    ) -> LedgerResult<T> {
        if !self.connection.is_autocommit() {
            // Undoing the last one failed.
            let reopened = connection::open_writer(&self.path);
            self.connection = reopened.map_err(|error| LedgerError::Unavailable(error.to_string()))?;
        }
        // After a failure, all rows are read again.
        let mut rows = std::mem::take(&mut self.rows);
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let mut tables = OpenTables::new(&transaction, &mut rows);
        let done = work(&mut tables)?;
        tables.finish()?;
        transaction.commit().map_err(not_committed)?;
        self.rows = rows;
        Ok(done)
    }

    fn write(mut self, mut waiting: mpsc::UnboundedReceiver<Batch>, clock: &dyn Clock) {
        while let Some((changes, reply)) = waiting.blocking_recv() {
            // A caller that has gone needs no reply.
            let _ = reply.send(self.commit(changes, clock));
        }
        // After a failure the log stays beside the file, and the next process reads it.
        let _ = self.close();
    }
}

/// What a failed commit means. If the disk is full, the end of the transaction is not in the log, so it is undone. After other
/// errors the log may be whole, though it could not be synced: it counts if the process is killed now.
fn not_committed(error: rusqlite::Error) -> LedgerError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => failed(error),
        _ => LedgerError::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rusqlite::types::Value;
    use wxsub_core::testing::ManualClock;
    use wxsub_outbox::id::{IdGenerator, MessageId, WorkerId};
    use wxsub_outbox::ledger::{Applied, FromApplied, NewMessage};
    use wxsub_outbox::message::{Detail, Settlement, StoredMessage};
    use wxsub_proto::{AppId, Grant, Message};

    use super::*;

    struct Full {
        file: OpenFile,
        clock: Arc<ManualClock>,
        ids: IdGenerator,
        _folder: tempfile::TempDir,
    }

    impl Full {
        /// A ledger that cannot grow by more than these pages.
        fn new(pages: i64) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let clock = Arc::new(ManualClock::new());
            let options = SqliteOptions::new().clock(clock.clone());
            let path = folder.path().join("ledger.db");
            let lock = WriterLock::take(&path, clock.now().wall).unwrap();
            let file = OpenFile::open(&path, lock, &options, Purpose::Use).unwrap();
            let full = Self { file, clock, ids: IdGenerator::new(Some(1)), _folder: folder };
            full.let_grow(pages);
            full
        }

        fn let_grow(&self, pages: i64) {
            let connection = &self.file.connection;
            let now: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
            connection.pragma_update_and_check(None, "max_page_count", now + pages, |_| Ok(())).unwrap();
        }

        fn appid(&self) -> AppId {
            "wx1".parse().unwrap()
        }

        fn enqueue(&mut self, user: usize) -> LedgerResult<MessageId> {
            let user = format!("user{user}");
            let grant = Grant::assume_verified(user, "T", 7).unwrap();
            let id = self.ids.message(self.clock.now().wall).unwrap();
            let body = Message::builder(grant).title("Title").content("c".repeat(200)).build().unwrap();
            let new = NewMessage::new(id, self.appid(), body);
            self.commit(Change::Enqueue(Box::new(new))).map(|_| id)
        }

        fn commit(&mut self, change: Change) -> LedgerResult<Applied> {
            let clock = Arc::clone(&self.clock);
            self.file.commit(vec![change], &*clock).map(|mut results| results.remove(0).unwrap())
        }

        fn claim(&mut self, worker: WorkerId, limit: usize) -> LedgerResult<Vec<StoredMessage>> {
            Vec::from_applied(self.commit(Change::Claim { worker, appid: self.appid(), limit })?)
        }

        /// All that is stored of messages, events and counts.
        fn rows(&self) -> BTreeMap<&'static str, Vec<Vec<Value>>> {
            let rows = |table| {
                let mut statement = self.file.connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
                let columns = statement.column_count();
                let read = |row: &rusqlite::Row<'_>| (0..columns).map(|at| row.get(at)).collect();
                (table, statement.query_map([], read).unwrap().collect::<rusqlite::Result<_>>().unwrap())
            };
            ["wxsub_message", "wxsub_event", "wxsub_count", "wxsub_worker"].map(rows).into()
        }
    }

    /// What fails leaves nothing behind, in whichever step the disk is full; and then it goes on.
    #[test]
    fn a_full_disk_undoes_the_whole_change() {
        let mut failed = [0; 3];
        for pages in 0..4 {
            let mut full = Full::new(1_000);
            let worker = full.ids.worker(full.clock.now().wall).unwrap();
            full.commit(Change::Register(worker)).unwrap();
            (0..4).try_for_each(|user| full.enqueue(user).map(drop)).unwrap();
            let claimed = full.claim(worker, 4).unwrap();
            (10..60).try_for_each(|user| full.enqueue(user).map(drop)).unwrap();
            full.let_grow(pages);
            let mut user = 60;
            loop {
                let before = full.rows();
                let mut steps: Vec<LedgerResult<()>> = vec![full.enqueue(user).map(drop)];
                user += 1;
                if steps[0].is_ok() {
                    continue;
                }
                assert_eq!(full.rows(), before, "a failed enqueue left something behind");
                steps.push(full.claim(worker, 50).map(drop));
                if steps[1].is_err() {
                    assert_eq!(full.rows(), before, "a failed claim left something behind");
                }
                for message in &claimed {
                    let before = full.rows();
                    let detail = Detail::unknown(&"x".repeat(3_000));
                    let (message, attempt) = (message.id, message.attempt);
                    let settlement = Settlement::Unknown(detail);
                    let settled =
                        full.commit(Change::Settle { message, worker, attempt, settlement, max_failures: 9 });
                    if settled.is_err() {
                        assert_eq!(full.rows(), before, "a failed settlement left something behind");
                    }
                    steps.push(settled.map(drop));
                }
                let errors = steps.iter().filter_map(|step| step.as_ref().err());
                let full_disk = LedgerError::Unavailable("the disk is full".to_owned());
                errors.for_each(|error| assert_eq!(*error, full_disk));
                failed[0] += usize::from(steps[0].is_err());
                failed[1] += usize::from(steps[1].is_err());
                failed[2] += usize::from(steps.iter().skip(2).any(Result::is_err));
                break;
            }
            full.let_grow(1_000);
            full.enqueue(user).unwrap();
            full.claim(worker, 100).unwrap();
        }
        assert!(failed.iter().all(|failed| *failed > 0), "enqueue, claim, settle: {failed:?}");
    }

    #[test]
    fn a_commit_that_fails_has_an_unknown_outcome_and_the_next_one_works() {
        let mut full = Full::new(1_000);
        let before = full.rows();
        let outcome = full.file.transact(|tables| {
            let dangling = "PRAGMA defer_foreign_keys = ON; INSERT INTO wxsub_nonce VALUES (x'01', x'02')";
            tables.connection().execute_batch(dangling).map_err(failed)
        });
        assert!(matches!(outcome, Err(LedgerError::Unknown(_))), "{outcome:?}");
        assert_eq!(full.rows(), before);
        full.enqueue(1).unwrap();
    }

    #[test]
    fn a_transaction_that_was_left_open_does_not_stop_the_next_one() {
        let mut full = Full::new(1_000);
        full.file.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        full.enqueue(1).unwrap();
    }
}
