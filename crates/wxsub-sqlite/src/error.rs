use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use wxsub_outbox::LedgerError;
use wxsub_proto::LocalizedText;

const DISK_FULL: &str = "the disk is full";

/// Why a ledger file was not opened, checked, backed up or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process writes to it.
    #[error("ledger {}: {holder} has it; do it through that program, or stop it first", .path.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// What the lock file says: process, host and time.
        holder: String,
    },
    /// The disk is full or fails, or another program has the file open for writing.
    #[error("ledger {}: {what}; nothing was changed, try again later", .path.display())]
    Unavailable {
        /// The file.
        path: PathBuf,
        /// What failed.
        what: String,
    },
    /// There is no such file.
    #[error(
        "ledger {}: there is no such file; check the path; `wxsub outbox add`, `wxsub grant record`, \
         `wxsub grant import` and `wxsub send --outbox` make a ledger", .path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It is no database.
    #[error(
        "ledger {}: it is no SQLite file; check the path, or restore a backup if it was a ledger", .path.display()
    )]
    NotSqlite {
        /// The file.
        path: PathBuf,
    },
    /// The file or its folder is write-protected. Readers write, too: to `FILE-shm`.
    #[error(
        "ledger {}: this user cannot write to it and its folder, which SQLite needs also to read; change their \
         permissions, or copy the file and its -wal to a disk that can be written", .path.display()
    )]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// A newer wxsub has changed its schema.
    #[error(
        "ledger {}: its schema has version {found}, and this program knows versions up to {known}; \
         use the newer program, or restore a backup from before the change", .path.display()
    )]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// An older wxsub has made it, and it was opened for reading only.
    #[error(
        "ledger {}: its schema has version {found}, and this program needs version {known}; \
         run `wxsub ledger migrate`", .path.display()
    )]
    OlderVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that this program needs.
        known: u32,
    },
    /// A step of its schema differs from the one that this program has.
    #[error("ledger {}: step {version} of its schema was changed; use the program that made the file", .path.display())]
    ChangedSchema {
        /// The file.
        path: PathBuf,
        /// The step.
        version: u32,
    },
    /// It is a backup. What happened after the backup is unknown.
    #[error(
        "ledger {0}: it is a backup; before it is used, run `wxsub ledger restore --from {0} --outbox LEDGER`",
        .path.display()
    )]
    Backup {
        /// The file.
        path: PathBuf,
    },
    /// Its rows were moved to another ledger, or a move was interrupted.
    #[error(
        "ledger {0}: it was moved to another database: use that one; if the move was interrupted, run `wxsub ledger copy` again",
        .path.display()
    )]
    Moved {
        /// The file.
        path: PathBuf,
    },
    /// It was not made by a backup, so it may be a ledger in use.
    #[error(
        "ledger {}: it is no backup of `wxsub ledger backup`; if it is from a snapshot of the disk, put it and its -wal in \
         place and run `wxsub ledger restore --snapshot`", .path.display()
    )]
    NotABackup {
        /// The file.
        path: PathBuf,
    },
    /// It is a database of another program.
    #[error("ledger {}: it is the database of another program; choose another file", .path.display())]
    NotALedger {
        /// The file.
        path: PathBuf,
    },
    /// It is damaged.
    #[error("ledger {}: it is damaged: {what}; keep a copy, and restore a backup", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It is on a file system over the network, where locks and writes cannot be relied on.
    #[error(
        "ledger {}: it is on {file_system}, a file system over the network; \
         put it on a local disk", .path.display()
    )]
    NetworkFileSystem {
        /// The file.
        path: PathBuf,
        /// The kind of file system.
        file_system: String,
    },
    /// The target of a backup exists.
    #[error("backup {}: the file exists; choose another name", .path.display())]
    TargetExists {
        /// The file.
        path: PathBuf,
    },
    /// The folder or the file could not be used.
    #[error("ledger {}: {what}: {source}; check the folder, its permissions and the disk", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What failed.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite reported another error.
    #[error("ledger {}: {what}; check the folder, its permissions and the disk", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What failed.
        what: String,
    },
}

impl OpenError {
    /// Returns the error in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        let what = match self {
            Self::Locked { holder, .. } => format!("{holder} 正在使用；请通过该程序操作，或先停止它"),
            Self::Unavailable { what, .. } => format!("{what}；没有任何改动，请稍后重试"),
            Self::Missing { .. } => "文件不存在；请检查路径；`wxsub outbox add`、`wxsub grant record`、\
                                     `wxsub grant import` 和 `wxsub send --outbox` 会创建消息库"
                .to_owned(),
            Self::NotSqlite { .. } => {
                "不是 SQLite 文件；请检查路径；如果它原来是消息库，请恢复备份".to_owned()
            }
            Self::ReadOnly { .. } => "当前用户不能写入该文件和所在目录，而 SQLite 读取时也需要写入；\
                                      请修改权限，或把该文件和 -wal 文件复制到可写的磁盘"
                .to_owned(),
            Self::NewerVersion { found, known, .. } => format!(
                "表结构的版本是 {found}，而本程序最高支持版本 {known}；请使用更新的程序，或恢复升级之前的备份"
            ),
            Self::OlderVersion { found, known, .. } => {
                format!("表结构的版本是 {found}，而本程序需要版本 {known}；请运行 `wxsub ledger migrate`")
            }
            Self::ChangedSchema { version, .. } => {
                format!("表结构的第 {version} 步被修改过；请使用创建该文件的程序")
            }
            Self::Backup { path } => format!(
                "这是备份；使用前请运行 `wxsub ledger restore --from {} --outbox LEDGER`",
                path.display()
            ),
            Self::Moved { .. } => {
                "已迁移到另一个数据库：请使用那一个；如果迁移中断，请重新运行 `wxsub ledger copy`".to_owned()
            }
            Self::NotABackup { .. } => "不是 `wxsub ledger backup` 生成的备份；如果它来自磁盘快照，请把它和 \
                                        -wal 文件放回原处，再运行 `wxsub ledger restore --snapshot`"
                .to_owned(),
            Self::NotALedger { .. } => "是其他程序的数据库；请选择其他文件".to_owned(),
            Self::Damaged { what, .. } => format!("已损坏：{what}；请保留一份副本，并恢复备份"),
            Self::NetworkFileSystem { file_system, .. } => {
                format!("位于网络文件系统 {file_system}；请放到本地磁盘")
            }
            Self::TargetExists { .. } => "文件已存在；请换一个文件名".to_owned(),
            Self::File { what, source, .. } => format!("{what}：{source}；请检查目录、权限和磁盘"),
            Self::Database { what, .. } => format!("{what}；请检查目录、权限和磁盘"),
        };
        let subject = if matches!(self, Self::TargetExists { .. }) { "备份" } else { "消息库" };
        LocalizedText::new(self.to_string(), format!("{subject} {}：{what}", self.path().display()))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Locked { path, .. }
            | Self::Unavailable { path, .. }
            | Self::Missing { path }
            | Self::NotSqlite { path }
            | Self::ReadOnly { path }
            | Self::NewerVersion { path, .. }
            | Self::OlderVersion { path, .. }
            | Self::ChangedSchema { path, .. }
            | Self::Backup { path }
            | Self::Moved { path }
            | Self::NotABackup { path }
            | Self::NotALedger { path }
            | Self::Damaged { path, .. }
            | Self::NetworkFileSystem { path, .. }
            | Self::TargetExists { path }
            | Self::File { path, .. }
            | Self::Database { path, .. } => path,
        }
    }

    pub(crate) fn file(path: &Path, what: &'static str, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let path = path.to_owned();
        match source.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => {
                Self::Unavailable { path, what: format!("{what}: {source}") }
            }
            _ => Self::File { path, what, source },
        }
    }

    pub(crate) fn database(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, what) = (path.to_owned(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotSqlite { path },
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged { path, what },
            Some(ErrorCode::DiskFull) => Self::Unavailable { path, what: DISK_FULL.to_owned() },
            Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Unavailable { path, what }
            }
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => Self::ReadOnly { path },
            _ => Self::Database { path, what },
        }
    }

    pub(crate) fn ledger(path: &Path, error: &LedgerError) -> Self {
        let path = path.to_owned();
        match error {
            LedgerError::Unavailable(what) | LedgerError::Unknown(what) => {
                Self::Unavailable { path, what: what.clone() }
            }
            error => Self::Database { path, what: error.to_string() },
        }
    }
}

/// What the ledger could not do. Nothing of the change that failed is kept.
pub(crate) fn failed(error: rusqlite::Error) -> LedgerError {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
    let text = error.to_string();
    match error {
        FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) => {
            LedgerError::Inconsistent(text)
        }
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
