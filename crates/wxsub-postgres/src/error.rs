//! What goes wrong with a database, in words that say what to do.

use tokio_postgres::error::SqlState;
use wxsub_outbox::LedgerError;
use wxsub_proto::{Language, LocalizedText};

/// Why a ledger in PostgreSQL was not opened. It holds no password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL cannot be read.
    #[error("ledger URL: {0}; write postgres://USER@HOST/DATABASE")]
    Url(String),
    /// The connection would not be encrypted.
    #[error(
        "ledger at {host}: the connection would not be encrypted; remove sslmode={mode} from the URL (the certificate of the \
         server is verified), or use a unix socket or a loopback address"
    )]
    PlainText {
        /// The host.
        host: String,
        /// What the URL asks for.
        mode: &'static str,
    },
    /// The file with the password cannot be used.
    #[error("ledger: the password file cannot be used: {0}; put the password into it, in one line")]
    PasswordFile(String),
    /// The certificate authorities cannot be used.
    #[error("ledger: {0}")]
    Tls(#[from] wxsub_tls::TlsConfigError),
    /// No connection.
    #[error("ledger at {host}: no connection: {what}; check the address, and whether the server runs")]
    Unreachable {
        /// The hosts.
        host: String,
        /// What failed.
        what: String,
    },
    /// The server refused the user or the password.
    #[error(
        "ledger at {host}: the server refused the login: {what}; check user, password file and pg_hba.conf"
    )]
    Login {
        /// The hosts.
        host: String,
        /// What the server says.
        what: String,
    },
    /// It has too many connections.
    #[error(
        "ledger at {host}: the server has no connection left: {what}; raise max_connections or the limit of the role (a \
         process needs 2)"
    )]
    TooManyConnections {
        /// The hosts.
        host: String,
        /// What the server says.
        what: String,
    },
    /// The database does not exist.
    #[error("ledger at {host}: {what}; create the database, or correct its name in the URL")]
    NoDatabase {
        /// The hosts.
        host: String,
        /// What the server says.
        what: String,
    },
    /// A standby, or a database that is set to read-only.
    #[error(
        "ledger at {host}: the server is read-only (a replica?); give the address of the primary, or list all servers and add \
         target_session_attrs=read-write to the URL"
    )]
    ReadOnly {
        /// The hosts.
        host: String,
    },
    /// A connection pooler changes the server connection between transactions.
    #[error(
        "ledger at {host}: a connection pooler (PgBouncer?) gives each transaction another server connection; connect to \
         PostgreSQL directly, or set pool_mode=session for this database"
    )]
    TransactionPooler {
        /// The hosts.
        host: String,
    },
    /// PostgreSQL is too old.
    #[error("ledger at {host}: PostgreSQL {found} is too old; version 13 is the oldest that works")]
    TooOld {
        /// The hosts.
        host: String,
        /// Its version.
        found: u32,
    },
    /// A newer wxsub has changed the schema.
    #[error(
        "ledger at {host}: its schema has version {found}, and this program knows versions up to {known}; use the newer \
         program"
    )]
    NewerVersion {
        /// The hosts.
        host: String,
        /// Its version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// It has no schema, or an old one, and was not to be migrated.
    #[error(
        "ledger at {host}: its schema has version {found}, and this program needs version {known}; run `wxsub ledger migrate` \
         as the owner of the tables"
    )]
    OlderVersion {
        /// The hosts.
        host: String,
        /// Its version; 0 if there are no tables.
        found: u32,
        /// The version that this program needs.
        known: u32,
    },
    /// A step of its schema differs from the one that this program has.
    #[error(
        "ledger at {host}: step {version} of its schema was changed; use the program that made the tables"
    )]
    ChangedSchema {
        /// The hosts.
        host: String,
        /// The step.
        version: u32,
    },
    /// The role may not do something.
    #[error("ledger at {host}: the role lacks a right: {what}; grant it as docs/postgres.md says")]
    MissingRight {
        /// The hosts.
        host: String,
        /// Which right, or what the server says.
        what: String,
    },
    /// Rows of another ledger were to be written to it, and it has rows.
    #[error("ledger at {host}: {table} has rows; move to a schema without rows")]
    NotEmpty {
        /// The hosts.
        host: String,
        /// The table.
        table: &'static str,
    },
    /// The database reported another error.
    #[error("ledger at {host}: {what}; see the log of the server")]
    Database {
        /// The hosts.
        host: String,
        /// What failed.
        what: String,
    },
}

impl ConnectError {
    /// Whether a later try may succeed without a change of the options.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::TooManyConnections { .. }
                | Self::ReadOnly { .. }
                | Self::Database { .. }
        )
    }

    /// Returns the error in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        let chinese = match self {
            Self::Url(what) => format!("消息库的 URL：{what}；请写成 postgres://USER@HOST/DATABASE"),
            Self::PlainText { host, mode } => format!(
                "{host} 上的消息库：连接不会加密；请从 URL 中删除 sslmode={mode}（会校验服务器证书），或使用 unix socket 或回环地址"
            ),
            Self::PasswordFile(what) => {
                format!("消息库：无法使用密码文件：{what}；请把密码写入该文件，只占一行")
            }
            Self::Tls(error) => {
                format!("消息库：{}", error.localized().in_language(Language::Chinese))
            }
            Self::Unreachable { host, what } => {
                format!("{host} 上的消息库：无法连接：{what}；请检查地址，以及服务器是否在运行")
            }
            Self::Login { host, what } => {
                format!("{host} 上的消息库：服务器拒绝登录：{what}；请检查用户名、密码文件和 pg_hba.conf")
            }
            Self::TooManyConnections { host, what } => format!(
                "{host} 上的消息库：服务器没有空闲连接：{what}；请调大 max_connections 或角色的连接数上限（每个进程 2 个）"
            ),
            Self::NoDatabase { host, what } => {
                format!("{host} 上的消息库：{what}；请创建该数据库，或更正 URL 中的数据库名")
            }
            Self::ReadOnly { host } => format!(
                "{host} 上的消息库：服务器只读（可能是从库）；请填写主库地址，或列出所有服务器并在 URL 中加上 \
                 target_session_attrs=read-write"
            ),
            Self::TransactionPooler { host } => format!(
                "{host} 上的消息库：连接池（可能是 PgBouncer）为每个事务分配不同的服务器连接；请直接连接 PostgreSQL，或为该数据库设置 \
                 pool_mode=session"
            ),
            Self::TooOld { host, found } => {
                format!("{host} 上的消息库：PostgreSQL {found} 版本过低；至少需要 13")
            }
            Self::NewerVersion { host, found, known } => {
                format!("{host} 上的消息库：表结构的版本是 {found}，本程序只支持到 {known}；请使用更新的程序")
            }
            Self::OlderVersion { host, found, known } => format!(
                "{host} 上的消息库：表结构的版本是 {found}，本程序需要 {known}；请以数据表所有者的身份运行 `wxsub ledger migrate`"
            ),
            Self::ChangedSchema { host, version } => {
                format!("{host} 上的消息库：表结构的第 {version} 步被改过；请使用创建这些表的程序")
            }
            Self::MissingRight { host, what } => {
                format!("{host} 上的消息库：角色缺少权限：{what}；请按 docs/zh-CN/postgres.md 授予权限")
            }
            Self::NotEmpty { host, table } => {
                format!("{host} 上的消息库：{table} 中已有数据；请迁移到没有数据的 schema")
            }
            Self::Database { host, what } => format!("{host} 上的消息库：{what}；请查看服务器的日志"),
        };
        LocalizedText::new(self.to_string(), chinese)
    }

    /// What an error of the database means while a ledger is opened.
    pub(crate) fn database(host: &str, error: &tokio_postgres::Error) -> Self {
        let (host, what) = (host.to_owned(), text(error));
        match error.code() {
            // The server asks for one, and there is none.
            None if what.ends_with("password missing") => Self::Login { host, what },
            None => Self::Unreachable { host, what },
            Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
                Self::Login { host, what }
            }
            // Its next transaction had another server connection.
            Some(&SqlState::INVALID_SQL_STATEMENT_NAME | &SqlState::DUPLICATE_PSTATEMENT) => {
                Self::TransactionPooler { host }
            }
            Some(&SqlState::TOO_MANY_CONNECTIONS) => Self::TooManyConnections { host, what },
            Some(&SqlState::INVALID_CATALOG_NAME) => Self::NoDatabase { host, what },
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Self::MissingRight { host, what },
            Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => Self::ReadOnly { host },
            Some(
                &SqlState::CANNOT_CONNECT_NOW
                | &SqlState::ADMIN_SHUTDOWN
                | &SqlState::CRASH_SHUTDOWN
                | &SqlState::PROTOCOL_VIOLATION,
            ) => Self::Unreachable { host, what },
            Some(_) => Self::Database { host, what },
        }
    }
}

/// Why a transaction was undone, or may have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Another transaction was in the way. The same again may succeed.
    Conflict(String),
    /// A row breaks a rule, or cannot be read.
    Row(String),
    /// The connection is of no use any more.
    Disconnected(String),
    /// The database did not do it.
    Refused(String),
    /// The reply to the commit was lost.
    Unknown(String),
}

impl Failure {
    pub(crate) fn into_error(self) -> LedgerError {
        match self {
            Self::Conflict(what) | Self::Disconnected(what) | Self::Refused(what) => {
                LedgerError::Unavailable(what)
            }
            Self::Row(what) => LedgerError::Inconsistent(what),
            Self::Unknown(what) => LedgerError::Unknown(what),
        }
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Inconsistent(what) => Self::Row(what),
            LedgerError::Unknown(what) => Self::Unknown(what),
            error => Self::Refused(error.to_string()),
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let what = text(&error);
        let Some(code) = error.code() else {
            return Self::Disconnected(what);
        };
        match *code {
            SqlState::T_R_SERIALIZATION_FAILURE
            | SqlState::T_R_DEADLOCK_DETECTED
            | SqlState::UNIQUE_VIOLATION => Self::Conflict(what),
            SqlState::READ_ONLY_SQL_TRANSACTION => {
                Self::Disconnected("the server is read-only (a replica?)".to_owned())
            }
            SqlState::DISK_FULL => Self::Refused("the disk of the database is full".to_owned()),
            SqlState::QUERY_CANCELED => Self::Refused(format!("{what} (a statement may take 30 s)")),
            SqlState::LOCK_NOT_AVAILABLE => {
                Self::Refused(format!("{what} (another session holds a lock for more than 10 s)"))
            }
            SqlState::INSUFFICIENT_PRIVILEGE => {
                Self::Refused(format!("the role lacks a right: {what}; grant it as docs/postgres.md says"))
            }
            SqlState::INVALID_SQL_STATEMENT_NAME | SqlState::DUPLICATE_PSTATEMENT => Self::Refused(format!(
                "{what}; a connection pooler must have pool_mode=session for this database"
            )),
            ref code if ["57P", "08", "25"].iter().any(|class| code.code().starts_with(class)) => {
                Self::Disconnected(what)
            }
            // Values and constraints.
            ref code if ["22", "23"].iter().any(|class| code.code().starts_with(class)) => Self::Row(what),
            _ => Self::Refused(what),
        }
    }
}

/// What the server or the library says, in one line, without the values of rows.
pub(crate) fn text(error: &tokio_postgres::Error) -> String {
    let Some(error) = error.as_db_error() else {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        return text;
    };
    format!("{} ({})", error.message(), error.code().code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_said_in_chinese_with_its_values() {
        let (host, what) = (|| "db.example".to_owned(), || "WHAT".to_owned());
        for error in [
            ConnectError::Unreachable { host: host(), what: what() },
            ConnectError::Login { host: host(), what: what() },
            ConnectError::TooManyConnections { host: host(), what: what() },
            ConnectError::NoDatabase { host: host(), what: what() },
            ConnectError::MissingRight { host: host(), what: what() },
            ConnectError::Database { host: host(), what: what() },
        ] {
            let texts = error.localized();
            for language in [Language::English, Language::Chinese] {
                let text = texts.in_language(language);
                assert!(text.contains("db.example") && text.contains("WHAT"), "{text}");
            }
        }
    }
}
