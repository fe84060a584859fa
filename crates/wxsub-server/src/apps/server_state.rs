//! The state of the server that requests share.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use wxsub_core::clock::Clock;
use wxsub_proto::AppId;

use super::{ManagedApp, Services, TokenHistory};
use crate::config::{ApiClient, AppConfig, Config, Limits, Network, Tls};
use crate::state::audit::Audit;
use crate::state::metrics::Metrics;

/// The current configuration with its apps. A request uses one snapshot throughout.
#[derive(Debug)]
pub(crate) struct ConfigSnapshot {
    pub(crate) apps: BTreeMap<AppId, Arc<ManagedApp>>,
    pub(crate) clients: Vec<Arc<ApiClient>>,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) limits: Limits,
    pub(crate) tls: Option<Tls>,
}

/// The state of the server: the current configuration, and what survives a reload.
#[derive(Debug)]
pub(crate) struct ServerState {
    snapshot: ArcSwap<ConfigSnapshot>,
    services: Services,
    audit: Audit,
    in_flight: AtomicUsize,
    draining: watch::Sender<bool>,
    /// Apps whose state file could not be read at start.
    corrupt_apps: HashSet<AppId>,
}

/// A permit of the concurrency limit. Dropping it returns it.
#[derive(Debug)]
pub(crate) struct RequestPermit(Arc<ServerState>);

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ServerState {
    pub(crate) fn new(
        config: &Config,
        services: Services,
        audit: Audit,
        corrupt_apps: HashSet<AppId>,
    ) -> Self {
        let snapshot = ConfigSnapshot::new(config, &services, None);
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            services,
            audit,
            in_flight: AtomicUsize::new(0),
            draining: watch::Sender::new(false),
            corrupt_apps,
        }
    }

    pub(crate) fn snapshot(&self) -> Arc<ConfigSnapshot> {
        self.snapshot.load_full()
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.services.clock
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.services.metrics
    }

    pub(crate) fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Replaces the configuration. Apps with the same settings continue.
    pub(crate) fn apply_config(&self, config: &Config) {
        let before = self.snapshot();
        self.snapshot.store(Arc::new(ConfigSnapshot::new(config, &self.services, Some(&before))));
    }

    /// Starts a token fetch for every app that has no token.
    pub(crate) fn prefetch_tokens(&self) {
        for app in self.snapshot().apps.values() {
            let app = Arc::clone(app);
            tokio::spawn(async move {
                // Status, log and metrics show a failure, and the token cache retries.
                let _ = app.token().await;
            });
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    pub(crate) fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Waits until shutdown starts.
    pub(crate) async fn shutdown_started(&self) {
        // `self` holds the sender, so the wait cannot fail.
        let _ = self.draining.subscribe().wait_for(|draining| *draining).await;
    }

    /// Whether the state file of this app could not be read at start.
    pub(crate) fn has_corrupt_state_file(&self, app: &AppId) -> bool {
        self.corrupt_apps.contains(app)
    }

    /// Takes a permit for a request, if the limit is not reached.
    pub(crate) fn try_acquire_permit(self: &Arc<Self>) -> Option<RequestPermit> {
        let max_in_flight = self.snapshot.load().limits.in_flight;
        let permit = RequestPermit(Arc::clone(self));
        (self.in_flight.fetch_add(1, Ordering::Relaxed) < max_in_flight).then_some(permit)
    }
}

impl ConfigSnapshot {
    fn new(config: &Config, services: &Services, before: Option<&Self>) -> Self {
        let app = |config: &AppConfig| {
            let running = before.and_then(|before| before.apps.get(&config.appid));
            let app = match running {
                Some(app) if app.config.has_same_settings(config) => Arc::clone(app),
                Some(app) => ManagedApp::new(config.clone(), services, Arc::clone(&app.history)),
                None => ManagedApp::new(config.clone(), services, Arc::<TokenHistory>::default()),
            };
            (config.appid.clone(), app)
        };
        Self {
            apps: config.apps.iter().map(app).collect(),
            clients: config.clients.iter().cloned().map(Arc::new).collect(),
            trusted_proxies: config.trusted_proxies.clone(),
            limits: config.limits,
            tls: config.tls.clone(),
        }
    }
}
