//! [`Server`] and its builder.

mod acceptor;
mod check;
mod connection;
mod ledger;
mod listener;
mod socket_poll;
mod start_queue;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use axum::Router;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::store::{MemoryStore, StoreError, StoreErrorKind, TokenFallback, TokenStore};
use wxsub_core::token::AttemptLimit;
use wxsub_core::transport::Transport;
use wxsub_outbox::Ledger;
use wxsub_proto::{LocalizedText, localized_text};
use wxsub_redis::RedisStore;

pub use self::check::StartCheck;
pub use self::ledger::OpenLedgerError;
use crate::api;
use crate::apps::{MAX_ATTEMPTS, ServerState, Services};
use crate::config::{Config, StartSettings};
use crate::console::{self, Console};
use crate::state::audit::Audit;
use crate::state::metrics::Metrics;
use crate::state::store::{FileFallback, FileStore, StateError};

/// The control server. Clones are cheap and share all state.
#[derive(Clone, derive_more::Debug)]
#[debug("Server({} apps)", state.snapshot().apps.len())]
pub struct Server {
    state: Arc<ServerState>,
    /// `None` if it is not configured.
    console: Option<Arc<Console>>,
    started_with: Arc<StartSettings>,
}

/// A configuration changes what only a restart can change. Nothing of it was applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: cannot change while the server runs; restart the server, or undo the change", .0.join(", "))]
pub struct NeedsRestart(Vec<&'static str>);

impl NeedsRestart {
    /// The error in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        let keys = self.0.join(", ");
        LocalizedText::new(
            self.to_string(),
            format!("{keys}：服务器运行时不能修改；请重启服务器，或撤销修改"),
        )
    }
}

/// Builds a [`Server`].
#[derive(derive_more::Debug, derive_setters::Setters)]
#[debug("ServerBuilder({config:?})")]
#[setters(strip_option)]
pub struct ServerBuilder {
    #[setters(skip)]
    config: Config,
    /// Sets the clock. The default is the system clock.
    clock: Arc<dyn Clock>,
    /// Sets the token store. It replaces the store of the configuration.
    store: Option<Arc<dyn TokenStore>>,
    /// Sets the transport for calls to Weixin. It replaces the configured proxies and certificate authorities.
    transport: Option<Arc<dyn Transport>>,
    /// Sets the ledger of the outbox. It replaces the ledger of the configuration.
    ledger: Option<Arc<dyn Ledger>>,
    /// Sets how many files and sockets the process may have open, if that is known. The server accepts only as many connections
    /// as leave files for everything else.
    #[setters(strip_option = false)]
    open_files: Option<usize>,
}

impl Server {
    /// Starts a server with this configuration.
    #[must_use]
    pub fn builder(config: Config) -> ServerBuilder {
        ServerBuilder {
            config,
            clock: Arc::new(SystemClock::new()),
            store: None,
            transport: None,
            ledger: None,
            open_files: None,
        }
    }

    /// The routes of the server, for your own axum application.
    ///
    /// Serve them with `into_make_service_with_connect_info::<SocketAddr>()`: `allowed_networks` and the audit need the
    /// addresses of clients. Without them, keys with `allowed_networks` are rejected. The limit of connections does not
    /// apply here.
    pub fn router(&self) -> Router {
        api::router(&self.state, self.started_with.metrics_listen.is_none())
    }

    /// The pages of the console, for your own listener; `None` without `[console]`. Serve them like [`router`](Self::router).
    pub fn console_router(&self) -> Option<Router> {
        self.console.as_ref().map(console::router)
    }

    /// Replaces apps, secrets, clients and limits. Needs a tokio runtime.
    ///
    /// Requests under way keep the configuration with which they started. Apps with the same settings keep their tokens.
    ///
    /// # Errors
    /// [`NeedsRestart`] names the settings that only a restart changes. Then the current configuration stays in use.
    pub fn reload(&self, config: &Config) -> Result<(), NeedsRestart> {
        let changed = config.start.changed_keys(&self.started_with);
        if !changed.is_empty() {
            self.record_failed_reload();
            return Err(NeedsRestart(changed));
        }
        self.state.apply_config(config);
        self.state.record_reload(true);
        self.state.warn_of_expiry();
        self.state.warn_of_few_files();
        self.state.prefetch_tokens();
        Ok(())
    }

    /// Notes in metrics and status that a configuration could not be read.
    pub fn record_failed_reload(&self) {
        self.state.record_reload(false);
    }

    /// Opens the audit file anew. Call it after the file was renamed.
    pub fn reopen_audit(&self) {
        self.state.audit().reopen();
    }

    /// Starts a token fetch for every app that has no token. Needs a tokio runtime.
    pub fn prefetch_tokens(&self) {
        self.state.prefetch_tokens();
    }

    /// Starts the worker that sends the messages of the outbox, if there is a ledger. [`serve`](Self::serve) does so. It ends
    /// with the server. Needs a tokio runtime.
    pub fn run_worker(&self) {
        self.state.run_worker();
    }
}

impl ServerBuilder {
    /// Builds the server. It fetches no token yet.
    ///
    /// # Errors
    /// [`BuildError`] names the setting that cannot be used.
    ///
    /// # Cancel safety
    /// What was created or migrated stays. Build again.
    pub async fn build(self) -> Result<Server, BuildError> {
        let Self { config, clock, store, transport, ledger, open_files } = self;
        let mut corrupt_apps = HashSet::new();
        let files = match (&store, &config.start.state_dir) {
            (None, Some(folder)) => Some(FileStore::open(folder, Arc::clone(&clock)).await?),
            _ => None,
        };
        if let Some(files) = &files {
            corrupt_apps.clone_from(files.corrupt_apps());
        }
        let mut fallback: Option<Arc<dyn TokenFallback>> = None;
        let store: Arc<dyn TokenStore> = match (store, &config.start.store, files) {
            (Some(store), ..) => store,
            (None, None, None) => Arc::new(MemoryStore::private(Arc::clone(&clock))),
            (None, None, Some(files)) => Arc::new(files),
            (None, Some(shared), files) => {
                refuse_cluster(&shared.store).await?;
                fallback = files.map(|files| Arc::new(FileFallback::new(files)) as Arc<dyn TokenFallback>);
                Arc::<RedisStore>::clone(&shared.store)
            }
        };
        let (metrics, attempt_limit) = (Arc::new(Metrics::new(&clock)), AttemptLimit::new(MAX_ATTEMPTS));
        let ledger: Option<Arc<dyn Ledger>> = match (ledger, &config.start.ledger) {
            (Some(ledger), _) => Some(ledger),
            (None, Some(settings)) => Some(ledger::open(settings, &clock).await?),
            (None, None) => None,
        };
        let services = Services { clock, store, fallback, metrics, transport, attempt_limit, ledger };
        let (clock, failures) = (Arc::clone(&services.clock), services.metrics.audit_failures());
        let audit = Audit::start(&config.start.audit, clock, failures).map_err(BuildError::Audit)?;
        services.metrics.record_reload(Some(services.clock.now().wall));
        let state = Arc::new(ServerState::new(&config, services, audit, corrupt_apps, open_files));
        let started_with = Arc::new(config.start);
        let console = started_with.console.clone().map(|address| Arc::new(Console::new(&state, address)));
        Ok(Server { state, console, started_with })
    }
}

/// A cluster is an error. Whatever else the store says, the token caches handle it and report it.
async fn refuse_cluster(store: &RedisStore) -> Result<(), BuildError> {
    match store.check().await {
        Err(error) if error.kind() == StoreErrorKind::Cluster => Err(BuildError::Store(error)),
        _ => Ok(()),
    }
}

/// A file, a folder or the store of the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The audit file.
    #[error("audit: {}", audit_error(.0))]
    Audit(#[source] io::Error),
    /// The folder of state files.
    #[error("state_dir: {0}")]
    State(#[from] StateError),
    /// The shared store is a Redis Cluster.
    #[error("store: {0}")]
    Store(#[source] StoreError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] OpenLedgerError),
}

impl BuildError {
    /// The error in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        let (key, text) = match self {
            Self::Audit(error) => ("audit", audit_error(error)),
            Self::State(error) => ("state_dir", error.localized()),
            Self::Store(error) => ("store", error.localized()),
            Self::Ledger(error) => return error.localized(),
        };
        localized_text!("{key}: {text}", "{key}: {text}"; text)
    }
}

fn audit_error(error: &io::Error) -> LocalizedText<String> {
    localized_text!(
        "cannot write the file: {error}; name another file, or \"off\"",
        "无法写入该文件：{error}；请换一个文件，或设为 \"off\""
    )
}
