//! Reads a whole ledger in batches, so that it can be written to another one.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use wxsub_outbox::audit::StoredAudit;
use wxsub_outbox::grant::StoredGrant;
use wxsub_outbox::ledger::{Write, Written, WrittenApp};
use wxsub_outbox::message::{StoredEvent, StoredMessage};
use wxsub_outbox::webhook::{StoredDelivery, StoredEndpoint};
use wxsub_proto::AppId;

use crate::connection::{self, IS_MOVED, SqliteOptions};
use crate::error::OpenError;
use crate::lock::WriterLock;
use crate::writer::{OpenFile, Purpose};
use crate::{columns, sql, tables};

/// How many grants, messages, webhooks or lines of the audit one batch has.
const BATCH: u32 = 1_000;

/// A ledger whose rows are read to be written to another one. It holds the lock of the file.
///
/// Calls block on the disk. In async code, make them with `spawn_blocking`.
#[derive(derive_more::Debug)]
#[debug("SqliteMove({path:?})")]
pub struct SqliteMove {
    file: OpenFile,
    path: PathBuf,
    next: Next,
}

/// What is read next.
enum Next {
    /// Grants after this position.
    Grants(i64),
    /// Messages after this id.
    Messages(Vec<u8>),
    /// Webhooks that were not delivered, after this endpoint, message and sequence.
    Deliveries(String, Vec<u8>, u32),
    /// Lines of the audit after this number.
    Audit(u64),
    Apps,
    Nothing,
}

impl SqliteMove {
    /// Attempts that another process left behind become `maybe_sent` first.
    pub(crate) fn open(path: &Path, lock: WriterLock, options: &SqliteOptions) -> Result<Self, OpenError> {
        let mut file = OpenFile::open(path, lock, options, Purpose::Move)?;
        file.reclaim(&*options.clock)?;
        Ok(Self { file, path: path.to_owned(), next: Next::Grants(0) })
    }

    /// The next rows; `None` if there are no more. No worker is among them: none of them is alive.
    ///
    /// # Errors
    /// [`OpenError`] if a row cannot be read.
    pub fn read(&mut self) -> Result<Option<Written>, OpenError> {
        let connection = self.file.connection();
        let read = match &self.next {
            Next::Grants(after) => grants(connection, *after),
            Next::Messages(after) => messages(connection, after),
            Next::Deliveries(endpoint, message, sequence) => {
                deliveries(connection, endpoint, message, *sequence)
            }
            Next::Audit(after) => audit(connection, *after),
            Next::Apps => apps(connection),
            Next::Nothing => return Ok(None),
        };
        let (written, next) = read.map_err(|error| OpenError::database(&self.path, &error))?;
        self.next = next;
        Ok(Some(written))
    }

    /// Whether the file is marked as moved: an earlier move was complete, or was interrupted at its end.
    ///
    /// # Errors
    /// [`OpenError`] if the mark cannot be read.
    pub fn is_marked(&self) -> Result<bool, OpenError> {
        let mark = connection::mark(self.file.connection());
        mark.map(|mark| mark == IS_MOVED).map_err(|error| OpenError::database(&self.path, &error))
    }

    /// Marks the file as moved, or removes the mark. A marked file can only be read, restored or moved again. The mark is durable
    /// when this returns.
    ///
    /// # Errors
    /// [`OpenError`] if the mark cannot be written.
    pub fn mark(&mut self, is_moved: bool) -> Result<(), OpenError> {
        let mark = if is_moved { IS_MOVED } else { 0 };
        let marked = self.file.connection().pragma_update(None, "user_version", mark);
        marked.map_err(|error| OpenError::database(&self.path, &error))
    }

    /// Moves the log into the file, and gives the lock back.
    ///
    /// # Errors
    /// [`OpenError`] if the file cannot be written.
    pub fn close(self) -> Result<(), OpenError> {
        self.file.close().map(drop)
    }
}

type Read = rusqlite::Result<(Written, Next)>;

fn new<T>(row: T) -> Write<T> {
    Write { before: None, after: Some(row) }
}

/// Grants in the order of their recording, each with its nonces.
fn grants(connection: &Connection, after: i64) -> Read {
    let mut written = Written::default();
    let mut next = Next::Messages(Vec::new());
    for (grant, seq) in
        columns::all::<(StoredGrant, i64)>(connection, sql::MOVE_GRANTS, params![after, BATCH])?
    {
        let nonces = columns::all::<[u8; 16]>(connection, sql::NONCES_OF, [grant.id.as_bytes()])?;
        written.nonces.extend(nonces.into_iter().map(|nonce| (nonce, grant.id)));
        written.grants.push(new(grant));
        next = Next::Grants(seq);
    }
    Ok((written, next))
}

/// Messages with their history and their keys.
fn messages(connection: &Connection, after: &[u8]) -> Read {
    let mut written = Written::default();
    let mut next = Next::Deliveries(String::new(), Vec::new(), 0);
    for message in columns::all::<StoredMessage>(connection, sql::MOVE_MESSAGES, params![after, BATCH])? {
        let id = message.id.as_bytes();
        written.events.extend(columns::all::<StoredEvent>(connection, sql::HISTORY, [id])?);
        written.keys.extend(columns::all(connection, sql::KEYS_OF_MESSAGE, [id])?.into_iter().map(new));
        next = Next::Messages(id.to_vec());
        written.messages.push(new(message));
    }
    Ok((written, next))
}

fn deliveries(connection: &Connection, endpoint: &str, message: &[u8], sequence: u32) -> Read {
    let after = params![endpoint, message, sequence, BATCH];
    let found: Vec<StoredDelivery> = columns::all(connection, sql::MOVE_DELIVERIES, after)?;
    let next = found.last().map_or(Next::Audit(0), |StoredDelivery { id, .. }| {
        Next::Deliveries(id.endpoint.clone(), id.message.as_bytes().to_vec(), id.sequence)
    });
    Ok((Written { deliveries: found.into_iter().map(new).collect(), ..Written::default() }, next))
}

fn audit(connection: &Connection, after: u64) -> Read {
    let after = params![i64::try_from(after).unwrap_or(i64::MAX), BATCH];
    let audit: Vec<StoredAudit> = columns::all(connection, sql::MOVE_AUDIT, after)?;
    let next = audit.last().map_or(Next::Apps, |line| Next::Audit(line.seq));
    Ok((Written { audit, ..Written::default() }, next))
}

/// Endpoints; and apps with their pauses, and how many messages each has.
fn apps(connection: &Connection) -> Read {
    let endpoints: Vec<StoredEndpoint> = columns::all(connection, sql::ENDPOINTS, [])?;
    let mut written = Written { endpoints: Some(endpoints.into()), ..Written::default() };
    for appid in columns::all::<AppId>(connection, sql::APPS, [])? {
        let app = tables::read_app(connection, &appid)?.unwrap_or_default();
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let counts = app.counts.iter().map(|(state, messages)| (*state, number(*messages))).collect();
        written.apps.push(WrittenApp {
            appid,
            pauses: Some(app.pauses),
            counts,
            undecided: number(app.undecided),
        });
    }
    Ok((written, Next::Nothing))
}
