//! The ledger of `--outbox`: how it is opened, and what its errors mean for the exit status.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::builder::{PathBufValueParser, TypedValueParser};
use wxsub_core::clock::{Clock, SystemClock, UnixMillis};
use wxsub_outbox::grant::{Consent, Subject};
use wxsub_outbox::ledger::{Change, FromApplied, NotRecorded};
use wxsub_outbox::{Ledger, LedgerError, OutboxError};
use wxsub_postgres::{ConnectError, PostgresLedger, PostgresOptions};
use wxsub_sqlite::{OpenError, OpenErrorKind, SqliteLedger, SqliteOptions};

use crate::environment::LEDGER_PASSWORD_FILE;
use crate::error::{CliError, ExitStatus, UsageErrors};
use crate::language::{localized, shown};
use crate::{console, environment};

/// Parses a flag that names a ledger. `sqlite:FILE`, as in the configuration of a server, is the same as the file.
pub(crate) fn ledger_place() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(|place| {
        match place.to_str().and_then(|text| text.strip_prefix("sqlite:")) {
            Some(file) => PathBuf::from(file),
            None => place,
        }
    })
}

/// Whether it is the URL of a PostgreSQL database.
pub(crate) fn is_postgres_url(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

/// The URL, if the ledger is no file.
///
/// # Errors
///
/// It is another URL. The error does not have it, because there may be a password in it.
pub(crate) fn postgres_url(ledger: &Path) -> Result<Option<&str>, CliError> {
    match ledger.to_str() {
        Some(url) if is_postgres_url(url) => Ok(Some(url)),
        Some(other) if other.contains("://") => Err(CliError::usage(localized!(
            "the ledger must be a SQLite file, or postgres://USER@HOST/DATABASE; this is another URL",
            "消息库必须是 SQLite 文件，或 postgres://USER@HOST/DATABASE；这里填写的是其他 URL"
        ))),
        _ => Ok(None),
    }
}

/// How a command connects.
pub(crate) fn postgres_options(url: &str) -> Result<PostgresOptions, CliError> {
    let options = PostgresOptions::new(url);
    if options.has_password() {
        let text = localized!(
            "the URL of the ledger has a password, which other users can see; put the password into a file, and name the file \
             in {LEDGER_PASSWORD_FILE}",
            "消息库的 URL 中有密码，其他用户可以看到；请把密码写入文件，并在 {LEDGER_PASSWORD_FILE} 中指定该文件"
        );
        return Err(CliError::usage(text));
    }
    Ok(match environment::path(LEDGER_PASSWORD_FILE)? {
        Some(path) => options.password_file(path),
        None => options,
    })
}

async fn connect(url: &str, migrate: bool) -> Result<Arc<dyn Ledger>, CliError> {
    let ledger = PostgresLedger::connect(postgres_options(url)?.migrate(migrate)).await?;
    Ok(Arc::new(ledger))
}

/// How a command opens a ledger to write.
pub(crate) fn options() -> Result<SqliteOptions, CliError> {
    Ok(SqliteOptions::new().lock_timeout(UsageErrors::check(environment::ledger_wait)?))
}

/// Opens a ledger to read, also while another process writes.
pub(crate) async fn open_to_read(path: &Path) -> Result<Arc<dyn Ledger>, CliError> {
    if let Some(url) = postgres_url(path)? {
        return connect(url, false).await;
    }
    Ok(Arc::new(SqliteLedger::open_read_only(path).await?))
}

/// Opens a ledger to write, and makes it if there is none.
pub(crate) async fn open_or_create(path: &Path) -> Result<Arc<dyn Ledger>, CliError> {
    if let Some(url) = postgres_url(path)? {
        return connect(url, true).await;
    }
    let is_new = !path.exists();
    let ledger = SqliteLedger::open(path, options()?).await?;
    if is_new {
        let path = path.display();
        console::note(localized!("new ledger: {path}", "新建消息库：{path}"));
    }
    Ok(Arc::new(ledger))
}

/// Opens a ledger to write: a file for this process alone.
pub(crate) async fn open_existing(path: &Path) -> Result<Arc<dyn Ledger>, CliError> {
    if postgres_url(path)?.is_none() && !path.exists() {
        return Err(OpenErrorKind::Missing.at(path).into());
    }
    open_or_create(path).await
}

/// Commits one change, which gives this type.
pub(crate) async fn commit<T: FromApplied>(ledger: &dyn Ledger, change: Change) -> Result<T, CliError> {
    let applied = ledger.commit(vec![change]).await?.pop();
    let applied =
        applied.ok_or_else(|| LedgerError::Inconsistent("a commit gave no result".to_owned()))??;
    Ok(T::from_applied(applied)?)
}

/// Fails if the consent was not recorded, because its name stands for a grant of another user, template or scene.
pub(crate) async fn check_name(
    ledger: &dyn Ledger,
    subject: &Subject,
    consent: &Consent,
    name: &str,
) -> Result<(), CliError> {
    let Consent::AlreadyRecorded(id) = consent else { return Ok(()) };
    let known = ledger.grants(&subject.appid, &subject.openid).await?;
    if known.iter().any(|grant| grant.id == *id && grant.subject == *subject) {
        return Ok(());
    }
    Err(CliError::usage(localized!(
        "{name}: it was used for another consent; choose another one",
        "{name}：已用于另一个授权；请换一个"
    )))
}

/// The time now.
pub(crate) fn now() -> UnixMillis {
    SystemClock::new().now().wall
}

/// A database that cannot be used.
impl From<ConnectError> for CliError {
    fn from(error: ConnectError) -> Self {
        let exit = if error.is_transient() { ExitStatus::NotSent } else { ExitStatus::Usage };
        Self::new(exit, shown(&error.localized()))
    }
}

/// A ledger that was not opened. Later it may be free, and its disk may have room.
impl From<OpenError> for CliError {
    fn from(error: OpenError) -> Self {
        let exit = match error.kind {
            OpenErrorKind::Locked(_) | OpenErrorKind::Unavailable(_) => ExitStatus::NotSent,
            _ => ExitStatus::Usage,
        };
        Self::new(exit, shown(&error.localized()))
    }
}

/// A ledger that failed. A change whose reply was lost may have been made.
impl From<LedgerError> for CliError {
    fn from(error: LedgerError) -> Self {
        let exit = match error {
            LedgerError::Unavailable(_) => ExitStatus::NotSent,
            LedgerError::Unknown(_) => ExitStatus::MaybeSent,
            _ => ExitStatus::Unexpected,
        };
        Self::new(exit, shown(&error.localized()))
    }
}

/// A message that was not recorded.
impl From<NotRecorded> for CliError {
    fn from(error: NotRecorded) -> Self {
        let exit = match error {
            NotRecorded::Grant(_) => ExitStatus::Refused,
            NotRecorded::KeyReused(_) | NotRecorded::ExpiresTooEarly => ExitStatus::Usage,
            NotRecorded::Paused | NotRecorded::WorkerGone => ExitStatus::NotSent,
        };
        Self::new(exit, shown(&OutboxError::NotRecorded(error).localized()))
    }
}

/// An outbox that did not do what it should.
impl From<OutboxError> for CliError {
    fn from(error: OutboxError) -> Self {
        match error {
            OutboxError::Ledger(error) => error.into(),
            error => Self::unexpected(shown(&error.localized())),
        }
    }
}
