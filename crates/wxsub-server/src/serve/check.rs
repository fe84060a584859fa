//! Tries what a start would try.

use std::fmt::Display;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use wxsub_core::clock::{ClockReading, MonotonicInstant, UnixMillis};
use wxsub_core::store::{OwnUpstream, StoreError, StoreErrorKind, TokenStore};
use wxsub_mysql::MysqlInbox;
use wxsub_outbox::inbox::InboxError;
use wxsub_postgres::{ConnectError, PostgresInbox, PostgresLedger, PostgresOptions, ServerProblem};
use wxsub_proto::localized_text;
use wxsub_redis::RedisStore;
use wxsub_sqlite::{OpenError, OpenErrorKind, SqliteLedger};

use super::audit_error;
use crate::apps::certificate_warning;
use crate::config::{AppConfig, Config, Diagnostic, InboxConfig, InboxDatabase, LedgerConfig, TokenOrigin};
use crate::state::audit::Audit;
use crate::state::store::{FileStore, StateError};

/// What would prevent a start, and what may be wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StartCheck {
    /// What would prevent a start.
    pub problems: Vec<Diagnostic>,
    /// What the token store or an inbox refuses because of the configuration. Only a Redis Cluster prevents a start.
    pub refusals: Vec<Diagnostic>,
    /// What a running server explains, and what will be wrong later.
    pub warnings: Vec<Diagnostic>,
}

impl Config {
    /// Tries what a start would try: the addresses, the audit file, the state folder, the dates of the certificate, the
    /// ledger, the inboxes, and the shared store with the records of all apps.
    ///
    /// An address or folder that is in use is a warning: the server that uses it may be the one to reload. So is what store and
    /// databases say and the configuration cannot change, for example that they are unavailable. While DNS is down, no host is
    /// known, so an unknown host is a warning too.
    ///
    /// # Cancel safety
    /// As [`RedisStore::check`]. The other checks leave nothing behind.
    pub async fn check_start(&self, now: UnixMillis) -> StartCheck {
        let mut check = StartCheck::default();
        check.address("listen", Some(self.start.listen));
        check.address("metrics_listen", self.start.metrics_listen);
        check.address("console.listen", self.console_listen());
        if let Err(error) = Audit::check(&self.start.audit) {
            check.problems.push(Diagnostic::new("audit", audit_error(&error)));
        }
        if let Some(folder) = &self.start.state_dir {
            match FileStore::check(folder) {
                Ok(()) => {}
                Err(StateError::InUse) => check.warnings.push(in_use("state_dir", &folder.display())),
                Err(error) => check.problems.push(Diagnostic::new("state_dir", error.localized())),
            }
        }
        if let Some(text) = self.tls.as_ref().and_then(|tls| certificate_warning(tls, now)) {
            check.warnings.push(Diagnostic::new("tls_cert_file", text));
        }
        match &self.start.ledger {
            Some(LedgerConfig::File(path)) => check.ledger_file(path).await,
            Some(LedgerConfig::Database(database)) => check.ledger_database(&database.options).await,
            None => {}
        }
        for (index, inbox) in self.inboxes.iter().enumerate() {
            check.inbox(index, inbox).await;
        }
        if let Some(shared) = &self.start.store {
            check.store(&shared.store, &self.apps, now).await;
        }
        check
    }
}

/// Why a server cannot use the record of this app.
async fn record_error(store: &RedisStore, app: &AppConfig, now: UnixMillis) -> Option<StoreError> {
    // The tokens of a token service are in no record.
    let TokenOrigin::Weixin { endpoint, .. } = app.tokens else { return None };
    let now = ClockReading::new(MonotonicInstant::default(), now);
    let own = OwnUpstream::new(app.bases.first(), endpoint);
    match store.load(&app.appid).await.and_then(|record| record.of_upstream(Some(&own), now)) {
        Ok(record) => record.broken.or(record.other_endpoint),
        Err(error) => Some(error),
    }
}

#[cfg(unix)]
fn can_make_files_in(folder: &Path) -> io::Result<()> {
    use rustix::fs::{Access, access};
    Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

#[cfg(not(unix))]
fn can_make_files_in(folder: &Path) -> io::Result<()> {
    std::fs::metadata(folder).map(|_| ())
}

/// The warning about something that one server uses at a time.
fn in_use(key: &str, what: &dyn Display) -> Diagnostic {
    let text = localized_text!(
        "{what} is in use; by this server, if it runs",
        "{what} 已被占用；如果本服务器正在运行，就是它占用的"
    );
    Diagnostic::new(key, text)
}

impl StartCheck {
    /// Tries the store, and reads all records. Of each kind of error, names the first app that has it.
    async fn store(&mut self, store: &RedisStore, apps: &[AppConfig], now: UnixMillis) {
        if let Err(error) = store.check().await {
            return self.store_error(&error, None);
        }
        let mut kinds = Vec::new();
        for app in apps {
            let error = record_error(store, app, now).await;
            let Some(error) = error.filter(|error| !kinds.contains(&error.kind())) else { continue };
            self.store_error(&error, Some(app));
            kinds.push(error.kind());
            if error.kind() == StoreErrorKind::Unreachable {
                return;
            }
        }
    }

    /// Connects to the ledger. One of an older version is brought up to date by the start.
    async fn ledger_database(&mut self, options: &PostgresOptions) {
        match PostgresLedger::connect(options.clone().migrate(false)).await {
            Ok(_) | Err(ConnectError::Server { problem: ServerProblem::OlderVersion { .. }, .. }) => {}
            Err(error) if error.is_transient() => {
                self.warnings.push(Diagnostic::new("ledger", error.localized()));
            }
            Err(error) => self.problems.push(Diagnostic::new("ledger", error.localized())),
        }
    }

    /// Connects to the database of an inbox, and looks at its table.
    async fn inbox(&mut self, index: usize, inbox: &InboxConfig) {
        let connected = match &inbox.database {
            InboxDatabase::Postgres(database) => PostgresInbox::connect(&database.options).await.map(drop),
            InboxDatabase::Mysql(database) => MysqlInbox::connect(database.options.clone()).await.map(drop),
        };
        let Err(error) = connected else { return };
        let diagnostic = Diagnostic::new(format!("inboxes[{index}]"), error.localized());
        match error {
            InboxError::Refused(_) => self.refusals.push(diagnostic),
            _ => self.warnings.push(diagnostic),
        }
    }

    /// Reads the ledger. One of an older version is brought up to date by the start, and a missing one is made in its folder.
    async fn ledger_file(&mut self, path: &Path) {
        let error = match SqliteLedger::open_read_only(path).await {
            Ok(_) | Err(OpenError { kind: OpenErrorKind::OlderVersion { .. }, .. }) => return,
            Err(OpenError { kind: OpenErrorKind::Missing, .. }) => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                let Err(error) = can_make_files_in(folder.unwrap_or(Path::new("."))) else { return };
                let path = path.display();
                localized_text!(
                    "{path} cannot be made: {error}; make its folder, and let this user write to it",
                    "{path} 无法创建：{error}；请创建它所在的目录，并允许当前用户写入"
                )
            }
            Err(error) => error.localized(),
        };
        self.problems.push(Diagnostic::new("ledger", error));
    }

    fn store_error(&mut self, error: &StoreError, app: Option<&AppConfig>) {
        use StoreErrorKind::{
            Certificate, Cluster, EncryptionKey, MissingRight, OtherUpstream, WrongCredentials,
        };
        let app = app.map(|app| format!("{}: ", app.appid)).unwrap_or_default();
        let (text, remedy) = (error.localized(), error.remedy().as_str());
        let text = Diagnostic::new(
            "store",
            localized_text!("{app}{text} ({remedy})", "{app}{text} ({remedy})"; text),
        );
        match error.kind() {
            Certificate | Cluster | EncryptionKey | MissingRight | OtherUpstream | WrongCredentials => {
                self.refusals.push(text);
            }
            _ => self.warnings.push(text),
        }
    }

    fn address(&mut self, key: &str, address: Option<SocketAddr>) {
        let Some(address) = address else { return };
        match TcpListener::bind(address) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                self.warnings.push(in_use(key, &address));
            }
            Err(error) => {
                let text = localized_text!(
                    "{address} cannot be used: {error}; choose another",
                    "{address} 无法使用：{error}；请换一个"
                );
                self.problems.push(Diagnostic::new(key, text));
            }
        }
    }
}
