use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use wxsub_outbox::LedgerError;
use wxsub_proto::LocalizedText;

const DISK_FULL: &str = "the disk is full";

/// Why a ledger file was not opened, checked, backed up or restored.
#[derive(Debug, thiserror::Error)]
#[error("{} {}: {kind}", .kind.subject(["ledger", "backup"]), .path.display())]
#[non_exhaustive]
pub struct OpenError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub kind: OpenErrorKind,
}

/// What is wrong with a ledger file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// Another process writes to it: the lock file names process, host and time.
    #[error("{0} has it; do it through that program, or stop it first")]
    Locked(String),
    /// The disk is full or fails, or another program has the file open for writing: what failed.
    #[error("{0}; nothing was changed, try again later")]
    Unavailable(String),
    /// There is no such file.
    #[error(
        "there is no such file; check the path; `wxsub outbox add`, `wxsub grant record`, `wxsub grant import` and \
         `wxsub send --outbox` make a ledger"
    )]
    Missing,
    /// It is no database.
    #[error("it is no SQLite file; check the path, or restore a backup if it was a ledger")]
    NotSqlite,
    /// The file or its folder is write-protected. Readers write, too: to `FILE-shm`.
    #[error(
        "this user cannot write to it and its folder, which SQLite needs also to read; change their permissions, or copy the \
         file and its -wal to a disk that can be written"
    )]
    ReadOnly,
    /// A newer wxsub has changed its schema.
    #[error(
        "its schema has version {found}, and this program knows versions up to {known}; use the newer program, or restore a \
         backup from before the change"
    )]
    NewerVersion {
        /// Its version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// An older wxsub has made it, and it was opened for reading only.
    #[error(
        "its schema has version {found}, and this program needs version {known}; run `wxsub ledger migrate`"
    )]
    OlderVersion {
        /// Its version.
        found: u32,
        /// The version that this program needs.
        known: u32,
    },
    /// This step of its schema differs from the one that this program has.
    #[error("step {0} of its schema was changed; use the program that made the file")]
    ChangedSchema(u32),
    /// It is the backup with this path. What happened after the backup is unknown.
    #[error("it is a backup; before it is used, run `wxsub ledger restore --from {} --outbox LEDGER`", .0.display())]
    Backup(PathBuf),
    /// Its rows were moved to another ledger, or a move was interrupted.
    #[error(
        "it was moved to another database: use that one; if the move was interrupted, run `wxsub ledger copy` again"
    )]
    Moved,
    /// It was not made by a backup, so it may be a ledger in use.
    #[error(
        "it is no backup of `wxsub ledger backup`; if it is from a snapshot of the disk, put it and its -wal in place and run \
         `wxsub ledger restore --snapshot`"
    )]
    NotABackup,
    /// It is a database of another program.
    #[error("it is the database of another program; choose another file")]
    NotALedger,
    /// It is damaged: what is wrong.
    #[error("it is damaged: {0}; keep a copy, and restore a backup")]
    Damaged(String),
    /// It is on this kind of file system over the network, where locks and writes cannot be relied on.
    #[error("it is on {0}, a file system over the network; put it on a local disk")]
    NetworkFileSystem(String),
    /// The target of a backup exists.
    #[error("the file exists; choose another name")]
    TargetExists,
    /// The folder or the file could not be used: what failed, and why.
    #[error("{0}: {1}; check the folder, its permissions and the disk")]
    File(&'static str, std::io::Error),
    /// SQLite reported another error: what failed.
    #[error("{0}; check the folder, its permissions and the disk")]
    Database(String),
}

impl OpenError {
    /// Returns the error in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        let Self { path, kind } = self;
        let chinese =
            format!("{} {}：{}", kind.subject(["消息库", "备份"]), path.display(), kind.in_chinese());
        LocalizedText::new(self.to_string(), chinese)
    }

    pub(crate) fn file(path: &Path, what: &'static str, error: std::io::Error) -> Self {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let kind = match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => {
                OpenErrorKind::Unavailable(format!("{what}: {error}"))
            }
            _ => OpenErrorKind::File(what, error),
        };
        kind.at(path)
    }

    pub(crate) fn database(path: &Path, error: &rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => OpenErrorKind::NotSqlite,
            Some(ErrorCode::DatabaseCorrupt) => OpenErrorKind::Damaged(error.to_string()),
            Some(ErrorCode::DiskFull) => OpenErrorKind::Unavailable(DISK_FULL.to_owned()),
            Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                OpenErrorKind::Unavailable(error.to_string())
            }
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => OpenErrorKind::ReadOnly,
            _ => OpenErrorKind::Database(error.to_string()),
        };
        kind.at(path)
    }

    pub(crate) fn ledger(path: &Path, error: &LedgerError) -> Self {
        let kind = match error {
            LedgerError::Unavailable(what) | LedgerError::Unknown(what) => {
                OpenErrorKind::Unavailable(what.clone())
            }
            error => OpenErrorKind::Database(error.to_string()),
        };
        kind.at(path)
    }
}

impl OpenErrorKind {
    /// The error of the file with this path.
    #[must_use]
    pub fn at(self, path: &Path) -> OpenError {
        OpenError { path: path.to_owned(), kind: self }
    }

    /// What it is about: a ledger or a backup.
    fn subject(&self, [ledger, backup]: [&'static str; 2]) -> &'static str {
        if matches!(self, Self::TargetExists) { backup } else { ledger }
    }

    fn in_chinese(&self) -> String {
        match self {
            Self::Locked(holder) => format!("{holder} 正在使用；请通过该程序操作，或先停止它"),
            Self::Unavailable(what) => format!("{what}；没有任何改动，请稍后重试"),
            Self::Missing => {
                "文件不存在；请检查路径；`wxsub outbox add`、`wxsub grant record`、`wxsub grant import` 和 \
                              `wxsub send --outbox` 会创建消息库"
                    .to_owned()
            }
            Self::NotSqlite => "不是 SQLite 文件；请检查路径；如果它原来是消息库，请恢复备份".to_owned(),
            Self::ReadOnly => "当前用户不能写入该文件和所在目录，而 SQLite 读取时也需要写入；\
                               请修改权限，或把该文件和 -wal 文件复制到可写的磁盘"
                .to_owned(),
            Self::NewerVersion { found, known } => format!(
                "表结构的版本是 {found}，而本程序最高支持版本 {known}；请使用更新的程序，或恢复升级之前的备份"
            ),
            Self::OlderVersion { found, known } => {
                format!("表结构的版本是 {found}，而本程序需要版本 {known}；请运行 `wxsub ledger migrate`")
            }
            Self::ChangedSchema(step) => format!("表结构的第 {step} 步被修改过；请使用创建该文件的程序"),
            Self::Backup(path) => format!(
                "这是备份；使用前请运行 `wxsub ledger restore --from {} --outbox LEDGER`",
                path.display()
            ),
            Self::Moved => {
                "已迁移到另一个数据库：请使用那一个；如果迁移中断，请重新运行 `wxsub ledger copy`".to_owned()
            }
            Self::NotABackup => "不是 `wxsub ledger backup` 生成的备份；如果它来自磁盘快照，请把它和 \
                                 -wal 文件放回原处，再运行 `wxsub ledger restore --snapshot`"
                .to_owned(),
            Self::NotALedger => "是其他程序的数据库；请选择其他文件".to_owned(),
            Self::Damaged(what) => format!("已损坏：{what}；请保留一份副本，并恢复备份"),
            Self::NetworkFileSystem(kind) => format!("位于网络文件系统 {kind}；请放到本地磁盘"),
            Self::TargetExists => "文件已存在；请换一个文件名".to_owned(),
            Self::File(what, error) => format!("{what}：{error}；请检查目录、权限和磁盘"),
            Self::Database(what) => format!("{what}；请检查目录、权限和磁盘"),
        }
    }
}

/// What the ledger could not do. Nothing of the change that failed is kept.
pub(crate) fn failed(error: rusqlite::Error) -> LedgerError {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
    let text = error.to_string();
    match error {
        FromSqlConversionFailure(.., problem) => LedgerError::Inconsistent(problem.to_string()),
        IntegralValueOutOfRange(..) | InvalidColumnType(..) => LedgerError::Inconsistent(text),
        error => match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => LedgerError::Inconsistent(text),
            Some(ErrorCode::DiskFull) => LedgerError::Unavailable(DISK_FULL.to_owned()),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                LedgerError::Unavailable(format!("the file is damaged: {text}"))
            }
            _ => LedgerError::Unavailable(text),
        },
    }
}
