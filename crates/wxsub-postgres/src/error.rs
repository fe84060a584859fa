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
    /// The file with the password cannot be used.
    #[error("ledger: the password file cannot be used: {0}; put the password into it, in one line")]
    PasswordFile(String),
    /// The certificate authorities cannot be used.
    #[error("ledger: {0}")]
    Tls(#[from] wxsub_tls::TlsConfigError),
    /// The server or its database cannot be used.
    #[error("ledger at {host}: {problem}")]
    Server {
        /// The hosts.
        host: String,
        /// Why not.
        problem: ServerProblem,
    },
}

/// Why a server or its database cannot be used as a ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerProblem {
    /// The connection would not be encrypted, because the URL has this `sslmode`.
    #[error(
        "the connection would not be encrypted; remove sslmode={0} from the URL (the certificate of the server is verified), \
         or use a unix socket or a loopback address"
    )]
    PlainText(&'static str),
    /// No connection: what failed.
    #[error("no connection: {0}; check the address, and whether the server runs")]
    Unreachable(String),
    /// The server refused the user or the password: what it says.
    #[error("the server refused the login: {0}; check user, password file and pg_hba.conf")]
    Login(String),
    /// It has too many connections: what it says.
    #[error(
        "the server has no connection left: {0}; raise max_connections or the limit of the role (a process needs 2)"
    )]
    TooManyConnections(String),
    /// The database does not exist: what the server says.
    #[error("{0}; create the database, or correct its name in the URL")]
    NoDatabase(String),
    /// A standby, or a database that is set to read-only.
    #[error(
        "the server is read-only (a replica?); give the address of the primary, or list all servers and add \
         target_session_attrs=read-write to the URL"
    )]
    ReadOnly,
    /// A connection pooler changes the server connection between transactions.
    #[error(
        "a connection pooler (PgBouncer?) gives each transaction another server connection; connect to PostgreSQL directly, \
         or set pool_mode=session for this database"
    )]
    TransactionPooler,
    /// PostgreSQL has this version, which is too old.
    #[error("PostgreSQL {0} is too old; version 13 is the oldest that works")]
    TooOld(u32),
    /// A newer wxsub has changed the schema.
    #[error(
        "its schema has version {found}, and this program knows versions up to {known}; use the newer program"
    )]
    NewerVersion {
        /// Its version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// It has no schema, or an old one, and was not to be migrated.
    #[error(
        "its schema has version {found}, and this program needs version {known}; run `wxsub ledger migrate` as the owner of \
         the tables"
    )]
    OlderVersion {
        /// Its version; 0 if there are no tables.
        found: u32,
        /// The version that this program needs.
        known: u32,
    },
    /// This step of its schema differs from the one that this program has.
    #[error("step {0} of its schema was changed; use the program that made the tables")]
    ChangedSchema(u32),
    /// The role may not do something: which right it lacks, or what the server says.
    #[error("the role lacks a right: {0}; grant it as docs/postgres.md says")]
    MissingRight(String),
    /// Rows of another ledger were to be written to it, and this table has rows.
    #[error("{0} has rows; move to a schema without rows")]
    NotEmpty(&'static str),
    /// The database reported another error: what failed.
    #[error("{0}; see the log of the server")]
    Database(String),
}

impl ConnectError {
    /// Whether a later try may succeed without a change of the options.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use ServerProblem::{Database, ReadOnly, TooManyConnections, Unreachable};
        let Self::Server { problem, .. } = self else { return false };
        matches!(problem, Unreachable(_) | TooManyConnections(_) | ReadOnly | Database(_))
    }

    /// Returns the error in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        let chinese = match self {
            Self::Url(what) => format!("消息库的 URL：{what}；请写成 postgres://USER@HOST/DATABASE"),
            Self::PasswordFile(what) => {
                format!("消息库：无法使用密码文件：{what}；请把密码写入该文件，只占一行")
            }
            Self::Tls(error) => format!("消息库：{}", error.localized().in_language(Language::Chinese)),
            Self::Server { host, problem } => format!("{host} 上的消息库：{}", problem.in_chinese()),
        };
        LocalizedText::new(self.to_string(), chinese)
    }

    /// What an error of the database means while a ledger is opened.
    pub(crate) fn database(host: &str, error: &tokio_postgres::Error) -> Self {
        ServerProblem::from(error).at(host)
    }
}

impl ServerProblem {
    /// The error of the server at these hosts.
    pub(crate) fn at(self, host: &str) -> ConnectError {
        ConnectError::Server { host: host.to_owned(), problem: self }
    }

    fn in_chinese(&self) -> String {
        match self {
            Self::PlainText(mode) => format!(
                "连接不会加密；请从 URL 中删除 sslmode={mode}（会校验服务器证书），或使用 unix socket 或回环地址"
            ),
            Self::Unreachable(what) => format!("无法连接：{what}；请检查地址，以及服务器是否在运行"),
            Self::Login(what) => format!("服务器拒绝登录：{what}；请检查用户名、密码文件和 pg_hba.conf"),
            Self::TooManyConnections(what) => format!(
                "服务器没有空闲连接：{what}；请调大 max_connections 或角色的连接数上限（每个进程 2 个）"
            ),
            Self::NoDatabase(what) => format!("{what}；请创建该数据库，或更正 URL 中的数据库名"),
            Self::ReadOnly => "服务器只读（可能是从库）；请填写主库地址，或列出所有服务器并在 URL 中加上 \
                               target_session_attrs=read-write"
                .to_owned(),
            Self::TransactionPooler => {
                "连接池（可能是 PgBouncer）为每个事务分配不同的服务器连接；请直接连接 PostgreSQL，或为该数据库设置 \
                 pool_mode=session"
                    .to_owned()
            }
            Self::TooOld(found) => format!("PostgreSQL {found} 版本过低；至少需要 13"),
            Self::NewerVersion { found, known } => {
                format!("表结构的版本是 {found}，本程序只支持到 {known}；请使用更新的程序")
            }
            Self::OlderVersion { found, known } => format!(
                "表结构的版本是 {found}，本程序需要 {known}；请以数据表所有者的身份运行 `wxsub ledger migrate`"
            ),
            Self::ChangedSchema(step) => format!("表结构的第 {step} 步被改过；请使用创建这些表的程序"),
            Self::MissingRight(what) => format!("角色缺少权限：{what}；请按 docs/zh-CN/postgres.md 授予权限"),
            Self::NotEmpty(table) => format!("{table} 中已有数据；请迁移到没有数据的 schema"),
            Self::Database(what) => format!("{what}；请查看服务器的日志"),
        }
    }
}

impl From<&tokio_postgres::Error> for ServerProblem {
    fn from(error: &tokio_postgres::Error) -> Self {
        let what = text(error);
        match error.code() {
            // The server asks for one, and there is none.
            None if what.ends_with("password missing") => Self::Login(what),
            None => Self::Unreachable(what),
            Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
                Self::Login(what)
            }
            // Its next transaction had another server connection.
            Some(&SqlState::INVALID_SQL_STATEMENT_NAME | &SqlState::DUPLICATE_PSTATEMENT) => {
                Self::TransactionPooler
            }
            Some(&SqlState::TOO_MANY_CONNECTIONS) => Self::TooManyConnections(what),
            Some(&SqlState::INVALID_CATALOG_NAME) => Self::NoDatabase(what),
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Self::MissingRight(what),
            Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => Self::ReadOnly,
            Some(
                &SqlState::CANNOT_CONNECT_NOW
                | &SqlState::ADMIN_SHUTDOWN
                | &SqlState::CRASH_SHUTDOWN
                | &SqlState::PROTOCOL_VIOLATION,
            ) => Self::Unreachable(what),
            Some(_) => Self::Database(what),
        }
    }
}

impl From<tokio_postgres::Error> for ServerProblem {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::from(&error)
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
            // The prepared statements of the session are lost.
            SqlState::INVALID_SQL_STATEMENT_NAME | SqlState::DUPLICATE_PSTATEMENT => Self::Disconnected(
                format!("{what}; a connection pooler must have pool_mode=session for this database"),
            ),
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
        use ServerProblem::{Database, Login, MissingRight, NoDatabase, TooManyConnections, Unreachable};
        for problem in [Unreachable, Login, TooManyConnections, NoDatabase, MissingRight, Database] {
            let error = problem("WHAT".to_owned()).at("db.example");
            let texts = error.localized();
            for language in [Language::English, Language::Chinese] {
                let text = texts.in_language(language);
                assert!(text.contains("db.example") && text.contains("WHAT"), "{text}");
            }
        }
    }
}
