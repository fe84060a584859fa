//! The ledger in one SQLite file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{ToSql, params};
use tokio::task;
use wxsub_core::clock::UnixMillis;
use wxsub_outbox::app::{Pauses, StoredApp};
use wxsub_outbox::audit::StoredAudit;
use wxsub_outbox::grant::StoredGrant;
use wxsub_outbox::id::{GrantId, MessageId};
use wxsub_outbox::ledger::{
    Change, InboxBacklog, MessageQuery, RestoreReport, Results, StoredWorker, at_most, millis,
};
use wxsub_outbox::message::{StoredEvent, StoredMessage};
use wxsub_outbox::state::{GrantState, MessageState, Priority};
use wxsub_outbox::webhook::{EndpointStatus, MAX_COUNTED_DELIVERIES, StoredDelivery};
use wxsub_outbox::{Ledger, LedgerError, LedgerResult};
use wxsub_proto::{AppId, OpenId};

use crate::connection::SqliteOptions;
use crate::error::{OpenError, OpenErrorKind};
use crate::lock::WriterLock;
use crate::move_out::SqliteMove;
use crate::readers::Readers;
use crate::tables::read_app;
use crate::writer::{OpenFile, Purpose, Writer};
use crate::{backup, columns, connection, file_system, sql};

/// The ledger in one SQLite file. When it is dropped, its thread ends after the commit under way and gives the lock back;
/// the drop waits for that.
#[derive(derive_more::Debug)]
#[debug("SqliteLedger({path:?})")]
pub struct SqliteLedger {
    path: PathBuf,
    readers: Readers,
    /// `None` if it was opened for reading.
    writer: Option<Writer>,
}

impl SqliteLedger {
    /// Opens a ledger for this process alone, and makes it if there is none. Its schema is brought up to date. Attempts
    /// that another process left behind become `maybe_sent`.
    ///
    /// # Errors
    /// [`OpenError`] says why the file is refused, and what to do.
    ///
    /// # Cancel safety
    /// The file may have been made or brought up to date. The lock is given back.
    pub async fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self, OpenError> {
        let (path, lock) = lock(path.as_ref(), &options, true).await?;
        on_blocking_thread(path, move |path| {
            let mut file = OpenFile::open(path, lock, &options, Purpose::Use)?;
            file.reclaim(&*options.clock)?;
            let failed = |error| OpenError::file(path, "its thread cannot be started", error);
            let writer = Writer::start(file, options.clock).map_err(failed)?;
            Ok(Self { readers: Readers::new(path.to_owned()), path: path.to_owned(), writer: Some(writer) })
        })
        .await
    }

    /// Opens a ledger to read from, also while another process writes. A commit fails with [`LedgerError::Unavailable`].
    ///
    /// # Errors
    /// [`OpenError`] says why the file is refused, and what to do.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn open_read_only(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        on_blocking_thread(path.as_ref().to_owned(), |path| {
            let path = connection::resolve(path)?;
            connection::open_current_reader(&path)?;
            Ok(Self { readers: Readers::new(path.clone()), path, writer: None })
        })
        .await
    }

    /// Looks for everything that is wrong with a ledger: damage, rows that refer to nothing, and counts that a recount does
    /// not give. Gives one line for each problem. Other processes may go on.
    ///
    /// # Errors
    /// [`OpenError`] if the file cannot be read at all.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn check(path: impl AsRef<Path>) -> Result<Vec<String>, OpenError> {
        on_blocking_thread(path.as_ref().to_owned(), backup::check).await
    }

    /// Writes a copy of a ledger, also while another process writes. Only its owner can read the copy. It is marked: it must
    /// be [restored](Self::restore_backup) before it is opened.
    ///
    /// # Errors
    /// [`OpenError`] if one of the files cannot be used, or the copy exists; then nothing was written.
    ///
    /// # Cancel safety
    /// The copy is written all the same.
    pub async fn backup(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), OpenError> {
        let to = to.as_ref().to_owned();
        on_blocking_thread(from.as_ref().to_owned(), move |from| backup::back_up(from, &to)).await
    }

    /// Puts a [backup](Self::backup) in the place of a ledger, and makes it usable. The backup stays as it is. The files of the
    /// ledger are kept under another name, which is returned with the report. What happened after the backup is unknown:
    /// messages that were not final become `maybe_sent`, and grants that were not used become `in_doubt`.
    ///
    /// # Errors
    /// [`OpenError`] if a file cannot be used, or is no backup. Then the ledger is as it was, unless its files cannot be
    /// replaced.
    ///
    /// # Cancel safety
    /// It is restored all the same.
    pub async fn restore_backup(
        backup: impl AsRef<Path>,
        ledger: impl AsRef<Path>,
        options: SqliteOptions,
    ) -> Result<(RestoreReport, Option<PathBuf>), OpenError> {
        let backup = backup.as_ref().to_owned();
        let (path, lock) = lock(ledger.as_ref(), &options, true).await?;
        on_blocking_thread(path, move |path| backup::replace(&backup, path, lock, &options)).await
    }

    /// The same for a ledger that came back with a snapshot of the disk, where it is.
    ///
    /// # Errors
    /// [`OpenError`] if the file cannot be used; then it is as it was.
    ///
    /// # Cancel safety
    /// It is restored all the same. Restoring it once more changes nothing that the outbox has not done since.
    pub async fn restore_snapshot(
        path: impl AsRef<Path>,
        options: SqliteOptions,
    ) -> Result<RestoreReport, OpenError> {
        let (path, lock) = lock(path.as_ref(), &options, false).await?;
        on_blocking_thread(path, move |path| {
            let mut file = OpenFile::open(path, lock, &options, Purpose::Restore)?;
            let report = backup::restore(&mut file, path, &*options.clock)?;
            file.close()?;
            Ok(report)
        })
        .await
    }

    /// Opens a ledger to move its rows to another one. Attempts that another process left behind become `maybe_sent`.
    ///
    /// # Errors
    /// [`OpenError`] says why the file is refused, and what to do.
    ///
    /// # Cancel safety
    /// The lock is given back.
    pub async fn move_out(path: impl AsRef<Path>, options: SqliteOptions) -> Result<SqliteMove, OpenError> {
        let (path, lock) = lock(path.as_ref(), &options, false).await?;
        on_blocking_thread(path, move |path| SqliteMove::open(path, lock, &options)).await
    }

    /// What [`restore_snapshot`](Self::restore_snapshot) would change now, without `last_event_at`.
    ///
    /// # Errors
    /// [`OpenError`] if the file cannot be read, or is a backup.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn unfinished(path: impl AsRef<Path>) -> Result<RestoreReport, OpenError> {
        on_blocking_thread(path.as_ref().to_owned(), backup::unfinished).await
    }

    /// The file, without links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// How often a process looks whether the lock is free.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Waits for the lock of a ledger. Gives it with the path without links.
async fn lock(
    path: &Path,
    options: &SqliteOptions,
    may_be_new: bool,
) -> Result<(PathBuf, WriterLock), OpenError> {
    let clock = &options.clock;
    let deadline = clock.now().mono + options.lock_timeout;
    loop {
        let now = clock.now();
        let taken = on_blocking_thread(path.to_owned(), move |path| {
            let path = connection::resolve(path)?;
            file_system::check(path.parent().unwrap_or(&path), &path)?;
            if !may_be_new && !path.exists() {
                return Err(OpenErrorKind::Missing.at(&path));
            }
            let lock = WriterLock::take(&path, now.wall)?;
            Ok((path, lock))
        });
        match taken.await {
            Err(OpenError { kind: OpenErrorKind::Locked(_), .. }) if now.mono < deadline => {
                clock.sleep_until(deadline.min(now.mono + LOCK_POLL_INTERVAL)).await;
            }
            taken => return taken,
        }
    }
}

async fn on_blocking_thread<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce(&Path) -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    let shown = path.clone();
    let done = task::spawn_blocking(move || work(&path)).await;
    done.unwrap_or_else(|error| Err(OpenErrorKind::Database(error.to_string()).at(&shown)))
}

#[async_trait]
impl Ledger for SqliteLedger {
    async fn commit(&self, changes: Vec<Change>) -> LedgerResult<Results> {
        match &self.writer {
            Some(writer) => writer.commit(changes).await,
            None => Err(opened_for_reading()),
        }
    }

    async fn message(&self, id: MessageId) -> LedgerResult<Option<StoredMessage>> {
        Ok(self.readers.all(sql::MESSAGE, [*id.as_bytes()]).await?.pop())
    }

    async fn history(&self, id: MessageId) -> LedgerResult<Vec<StoredEvent>> {
        self.readers.all(sql::HISTORY, [*id.as_bytes()]).await
    }

    async fn messages(&self, query: &MessageQuery) -> LedgerResult<Vec<StoredMessage>> {
        let query = query.clone();
        self.readers.read(move |connection| list(connection, &query)).await
    }

    async fn grants(&self, appid: &AppId, openid: &OpenId) -> LedgerResult<Vec<StoredGrant>> {
        let of_user = [openid.as_str().to_owned(), appid.as_str().to_owned()];
        self.readers.all(sql::GRANTS_OF_USER, of_user).await
    }

    async fn grants_in_state(
        &self,
        appid: &AppId,
        state: GrantState,
        after: Option<GrantId>,
        limit: usize,
    ) -> LedgerResult<Vec<StoredGrant>> {
        let after = after.map_or_else(Vec::new, |id| id.as_bytes().to_vec());
        let (appid, limit) = (appid.as_str().to_owned(), at_most(limit));
        match state {
            GrantState::Used => self.readers.all(sql::USED_GRANTS, (appid, after, limit)).await,
            _ => self.readers.all(sql::GRANTS_IN_STATE, (appid, after, limit, state.as_str())).await,
        }
    }

    async fn batch_clients(&self, appid: &AppId, limit: usize) -> LedgerResult<Vec<String>> {
        self.readers.all(sql::BATCHES, (appid.as_str().to_owned(), at_most(limit))).await
    }

    async fn app(&self, appid: &AppId) -> LedgerResult<StoredApp> {
        let appid = appid.clone();
        let stored = self.readers.read(move |connection| read_app(connection, &appid)).await?;
        Ok(stored.unwrap_or_default())
    }

    async fn claimable_apps(&self) -> LedgerResult<Vec<AppId>> {
        let writer = self.writer.as_ref().ok_or_else(opened_for_reading)?;
        let now = writer.now();
        let mut due: Vec<(Pauses, AppId)> = self.readers.all(sql::DUE_APPS, [millis(now)]).await?;
        due.retain(|(pauses, _)| pauses.claimable(1, now) > 0);
        Ok(due.into_iter().map(|(_, appid)| appid).collect())
    }

    async fn first_due_at(&self, appid: &AppId) -> LedgerResult<Option<UnixMillis>> {
        let appid = appid.clone();
        self.readers
            .read(move |connection| {
                let mut statement = connection.prepare_cached(sql::FIRST_DUE)?;
                let mut first = None;
                for priority in Priority::ALL {
                    let values = [appid.as_str(), priority.as_str()];
                    let of_priority: Option<UnixMillis> = statement.query_row(values, columns::read)?;
                    first = first.into_iter().chain(of_priority).min();
                }
                Ok(first)
            })
            .await
    }

    async fn inbox_backlog(&self, _apps: &[AppId]) -> LedgerResult<Option<InboxBacklog>> {
        Ok(None)
    }

    async fn apps(&self) -> LedgerResult<Vec<AppId>> {
        self.readers.all(sql::APPS, []).await
    }

    async fn undecided_apps(&self) -> LedgerResult<Vec<AppId>> {
        self.readers.all(sql::UNDECIDED_APPS, []).await
    }

    async fn workers(&self) -> LedgerResult<Vec<StoredWorker>> {
        self.readers.all(sql::ALL_WORKERS, []).await
    }

    async fn audit(&self, before: Option<u64>, limit: usize) -> LedgerResult<Vec<StoredAudit>> {
        let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
        self.readers.all(sql::AUDIT, [before, at_most(limit)]).await
    }

    async fn webhook_endpoints(&self) -> LedgerResult<Vec<EndpointStatus>> {
        // Without a writer, nothing is claimed.
        let now = self.writer.as_ref().map_or(0, |writer| millis(writer.now()));
        self.readers.all(sql::ENDPOINT_STATUSES, (now, MAX_COUNTED_DELIVERIES)).await
    }

    async fn failed_deliveries(
        &self,
        endpoint: &str,
        after: Option<&StoredDelivery>,
        limit: usize,
    ) -> LedgerResult<Vec<StoredDelivery>> {
        let (created_ms, message, sequence) = after.map_or((-1, [0; 16], 0), |after| {
            let (created_at, message, sequence) = after.position();
            (millis(created_at), *message.as_bytes(), sequence)
        });
        let values = (endpoint.to_owned(), created_ms, message, sequence, at_most(limit));
        self.readers.all(sql::FAILED_DELIVERIES, values).await
    }
}

fn opened_for_reading() -> LedgerError {
    LedgerError::Unavailable("it was opened for reading".to_owned())
}

fn list(connection: &rusqlite::Connection, query: &MessageQuery) -> rusqlite::Result<Vec<StoredMessage>> {
    let MessageQuery { appid, state, openid, undecided, newest_first, after, limit } = query;
    let first = if *newest_first { [u8::MAX; 16] } else { [0; 16] };
    let after = after.as_ref().map_or(&first[..], |id| id.as_bytes());
    let (appid, limit) = (appid.as_str(), at_most(*limit));
    let list = |[oldest, newest]: [&str; 2], values: &[&dyn ToSql]| {
        columns::all(connection, if *newest_first { newest } else { oldest }, values)
    };
    if let Some(openid) = openid {
        let state = state.map(MessageState::as_str);
        let values = params![appid, after, limit, openid.as_str(), state, undecided];
        return list([sql::LIST_USER, sql::LIST_NEWEST_USER], values);
    }
    let statements = match (state, undecided) {
        (None | Some(MessageState::MaybeSent), true) => [sql::LIST_UNDECIDED, sql::LIST_NEWEST_UNDECIDED],
        (Some(_), true) => return Ok(Vec::new()),
        (None, false) => [sql::LIST, sql::LIST_NEWEST],
        (Some(MessageState::Sent), false) => [sql::LIST_SENT, sql::LIST_NEWEST_SENT],
        (Some(MessageState::Attempting), false) => [sql::LIST_ATTEMPTING, sql::LIST_NEWEST_ATTEMPTING],
        (Some(state), false) => {
            let values = params![appid, after, limit, state.as_str()];
            return list([sql::LIST_STATE, sql::LIST_NEWEST_STATE], values);
        }
    };
    list(statements, params![appid, after, limit])
}
