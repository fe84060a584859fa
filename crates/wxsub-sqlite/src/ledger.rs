//! The ledger in one SQLite file.

use std::fmt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};
use tokio::task;
use wxsub_outbox::app::StoredApp;
use wxsub_outbox::grant::StoredGrant;
use wxsub_outbox::id::MessageId;
use wxsub_outbox::ledger::{Applied, Change, MessageQuery, RestoreReport};
use wxsub_outbox::message::{StoredEvent, StoredMessage};
use wxsub_outbox::state::MessageState;
use wxsub_outbox::{Ledger, LedgerError};
use wxsub_proto::{AppId, OpenId};

use crate::connection::SqliteOptions;
use crate::error::OpenError;
use crate::readers::Readers;
use crate::tables::{at_most, read_app};
use crate::writer::{OpenFile, Writer};
use crate::{backup, columns, connection, file_system, sql};

/// The ledger in one SQLite file. When it is dropped, its thread ends after the commit under way and gives the lock back;
/// the drop waits for that.
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
        let path = path.as_ref().to_owned();
        on_blocking_thread(path, move |path| {
            let mut file = open_file(path, &options, false)?;
            file.reclaim(&*options.clock)?;
            let failed = |error| OpenError::file(path, "its thread cannot be started", error);
            let writer = Writer::start(file, options.clock).map_err(failed)?;
            let path = connection::resolve(path)?;
            Ok(Self { readers: Readers::new(path.clone()), path, writer: Some(writer) })
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

    /// Writes a copy of a ledger, also while another process writes. The copy is marked: it must be
    /// [restored](Self::restore) before it is opened.
    ///
    /// # Errors
    /// [`OpenError`] if one of the files cannot be used; then there is no copy.
    ///
    /// # Cancel safety
    /// The copy is written all the same.
    pub async fn backup(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), OpenError> {
        let to = to.as_ref().to_owned();
        on_blocking_thread(from.as_ref().to_owned(), move |from| backup::back_up(from, &to)).await
    }

    /// Makes a backup usable, its own or a copy made with other means. What happened after the backup is unknown: messages
    /// that were not final become `maybe_sent`, and grants that were not used become `in_doubt`.
    ///
    /// # Errors
    /// [`OpenError`] if the file cannot be used; then it is as it was.
    ///
    /// # Cancel safety
    /// It is restored all the same. Restoring it once more changes nothing that the outbox has not done since.
    pub async fn restore(path: impl AsRef<Path>, options: SqliteOptions) -> Result<RestoreReport, OpenError> {
        on_blocking_thread(path.as_ref().to_owned(), move |path| {
            let mut file = open_file(path, &options, true)?;
            backup::restore(&mut file, path, &*options.clock)
        })
        .await
    }

    /// The file, without links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn open_file(path: &Path, options: &SqliteOptions, restores: bool) -> Result<OpenFile, OpenError> {
    let path = connection::resolve(path)?;
    file_system::check(path.parent().unwrap_or(&path), &path)?;
    if restores && !path.exists() {
        return Err(OpenError::file(&path, "it cannot be restored", std::io::ErrorKind::NotFound.into()));
    }
    OpenFile::open(&path, options, restores)
}

async fn on_blocking_thread<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce(&Path) -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    let shown = path.clone();
    let done = task::spawn_blocking(move || work(&path)).await;
    done.unwrap_or_else(|error| Err(OpenError::Database { path: shown, what: error.to_string() }))
}

impl fmt::Debug for SqliteLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SqliteLedger").field(&self.path).finish()
    }
}

#[async_trait]
impl Ledger for SqliteLedger {
    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<Result<Applied, LedgerError>>, LedgerError> {
        match &self.writer {
            Some(writer) => writer.commit(changes).await,
            None => Err(LedgerError::Unavailable("it was opened for reading".to_owned())),
        }
    }

    async fn message(&self, id: MessageId) -> Result<Option<StoredMessage>, LedgerError> {
        self.readers
            .read(move |connection| {
                let mut statement = connection.prepare_cached(sql::MESSAGE)?;
                statement.query_row([id.as_bytes()], columns::read_message).optional()
            })
            .await
    }

    async fn history(&self, id: MessageId) -> Result<Vec<StoredEvent>, LedgerError> {
        self.readers
            .read(move |connection| {
                let mut statement = connection.prepare_cached(sql::HISTORY)?;
                statement.query_map([id.as_bytes()], columns::read_event)?.collect()
            })
            .await
    }

    async fn messages(&self, query: &MessageQuery) -> Result<Vec<StoredMessage>, LedgerError> {
        let query = query.clone();
        self.readers.read(move |connection| list(connection, &query)).await
    }

    async fn grants(&self, appid: &AppId, openid: &OpenId) -> Result<Vec<StoredGrant>, LedgerError> {
        let (appid, openid) = (appid.clone(), openid.clone());
        self.readers
            .read(move |connection| {
                let mut statement = connection.prepare_cached(sql::GRANTS_OF_USER)?;
                let values = [openid.as_str(), appid.as_str()];
                statement.query_map(values, columns::read_grant)?.collect()
            })
            .await
    }

    async fn app(&self, appid: &AppId) -> Result<StoredApp, LedgerError> {
        let appid = appid.clone();
        let stored = self.readers.read(move |connection| read_app(connection, &appid)).await?;
        Ok(stored.unwrap_or_default())
    }
}

fn list(connection: &rusqlite::Connection, query: &MessageQuery) -> rusqlite::Result<Vec<StoredMessage>> {
    let MessageQuery { appid, state, openid, undecided, after, limit } = query;
    let after = after.as_ref().map_or(&[][..], |id| id.as_bytes());
    let (appid, limit) = (appid.as_str(), at_most(*limit));
    let read = columns::read_message;
    if let Some(openid) = openid {
        let state = state.map(MessageState::as_str);
        let values = params![appid, after, limit, openid.as_str(), state, undecided];
        return connection.prepare_cached(sql::LIST_USER)?.query_map(values, read)?.collect();
    }
    let values = params![appid, after, limit];
    match (state, undecided) {
        (None | Some(MessageState::MaybeSent), true) => {
            connection.prepare_cached(sql::LIST_UNDECIDED)?.query_map(values, read)?.collect()
        }
        (Some(_), true) => Ok(Vec::new()),
        (None, false) => connection.prepare_cached(sql::LIST)?.query_map(values, read)?.collect(),
        (Some(MessageState::Sent), false) => {
            connection.prepare_cached(sql::LIST_SENT)?.query_map(values, read)?.collect()
        }
        (Some(state), false) => {
            let values = params![appid, after, limit, state.as_str()];
            connection.prepare_cached(sql::LIST_STATE)?.query_map(values, read)?.collect()
        }
    }
}
