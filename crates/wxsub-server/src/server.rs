//! The server as a whole: what is configured, and the routes that serve it.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::sync::Arc;

use axum::Router;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::store::{MemoryStore, TokenStore};
use wxsub_core::transport::Transport;
use wxsub_redis::RedisStore;

use crate::api::{v1, weixin_compat};
use crate::app::Services;
use crate::audit::Audit;
use crate::config::Config;
use crate::health;
use crate::metrics::Metrics;
use crate::middleware::with_concurrency_limit;
use crate::state::ServerState;
use crate::store::{FallbackStore, FileStore, StateError};

/// The control server. Cheap to clone; clones are the same server.
#[derive(Clone)]
pub struct Server {
    pub(crate) house: Arc<ServerState>,
    pub(crate) metrics_elsewhere: bool,
}

/// Puts a [`Server`] together.
pub struct ServerBuilder {
    config: Config,
    clock: Arc<dyn Clock>,
    store: Option<Arc<dyn TokenStore>>,
    transport: Option<Arc<dyn Transport>>,
}

impl Server {
    /// A server of this configuration.
    #[must_use]
    pub fn builder(config: Config) -> ServerBuilder {
        ServerBuilder { config, clock: Arc::new(SystemClock::new()), store: None, transport: None }
    }

    /// Its routes, to be served here or nested in an application of yours. Serve them with
    /// `into_make_service_with_connect_info::<SocketAddr>()`, so that keys can be bound to addresses and the audit knows
    /// them; keys that are bound to addresses are refused otherwise. Limits of connections are up to whoever listens.
    pub fn router(&self) -> Router {
        let doors = v1::routes()
            .merge(weixin_compat::routes())
            .fallback(with_concurrency_limit(weixin_compat::unknown));
        let mut routes = doors.merge(health::routes());
        if !self.metrics_elsewhere {
            routes = routes.merge(health::metrics_route());
        }
        routes.with_state(Arc::clone(&self.house))
    }

    /// `/metrics` alone, for an address of its own.
    pub(crate) fn metrics_router(&self) -> Router {
        health::metrics_route().with_state(Arc::clone(&self.house))
    }

    /// From now on apps, secrets, clients and limits are these. Requests under way are answered as they began, and apps
    /// that are configured as before keep their tokens. Needs a tokio runtime.
    pub fn reload(&self, config: &Config) {
        self.house.apply_config(config);
        self.house.prefetch_tokens();
    }

    /// Lets every app get its token before anybody asks for it. Needs a tokio runtime.
    pub fn prefetch_tokens(&self) {
        self.house.prefetch_tokens();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("apps", &self.house.snapshot().apps.len()).finish_non_exhaustive()
    }
}

impl ServerBuilder {
    /// Lives on this clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Keeps its tokens here, instead of where the configuration says.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn TokenStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// Calls Weixin over this, whatever the configuration says of proxies and certificate authorities.
    #[must_use]
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// The server. Nothing is fetched yet.
    ///
    /// # Errors
    /// [`BuildError`] names what cannot be used.
    ///
    /// # Cancel safety
    /// Can be tried again.
    pub async fn build(self) -> Result<Server, BuildError> {
        let Self { config, clock, store, transport } = self;
        let mut broken = HashSet::new();
        let files = match (&store, &config.state_dir) {
            (None, Some(folder)) => Some(FileStore::open(folder, Arc::clone(&clock)).await?),
            _ => None,
        };
        if let Some(files) = &files {
            broken.clone_from(files.corrupt_apps());
        }
        let store: Arc<dyn TokenStore> = match (store, &config.store, files) {
            (Some(store), ..) => store,
            (None, None, None) => Arc::new(MemoryStore::with_clock(Arc::clone(&clock))),
            (None, None, Some(files)) => Arc::new(files),
            (None, Some(shared), None) => Arc::clone(&shared.store) as Arc<dyn TokenStore>,
            (None, Some(shared), Some(files)) => {
                let shared: Arc<dyn TokenStore> = Arc::<RedisStore>::clone(&shared.store);
                Arc::new(FallbackStore::new(shared, files))
            }
        };
        let shared = Services { clock, store, metrics: Arc::new(Metrics::new()), transport };
        let audit = Audit::start(&config.audit).map_err(BuildError::Audit)?;
        let house = Arc::new(ServerState::new(&config, shared, audit, broken));
        Ok(Server { house, metrics_elsewhere: config.metrics_listen.is_some() })
    }
}

/// What the configuration names cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The audit.
    #[error("audit: the file cannot be written: {0}; name another, or \"off\"")]
    Audit(#[source] io::Error),
    /// The folder for tokens.
    #[error("state_dir: {0}")]
    State(#[from] StateError),
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}
