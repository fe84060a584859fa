//! Everything a request can need: what is configured right now, and what outlives every configuration.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use wxsub_core::clock::Clock;
use wxsub_proto::{AppId, ErrCode, TraceId};

use crate::app::{ManagedApp, Services, TokenHistory};
use crate::audit::{Action, ApiSurface, Audit, Entry};
use crate::client::ApiClient;
use crate::config::{Config, Limits};
use crate::context::AuditCaller;
use crate::metrics::Metrics;
use crate::tls::Tls;

/// What is configured right now. A request sees one from its beginning to its end.
#[derive(Debug)]
pub(crate) struct ConfigSnapshot {
    pub(crate) apps: BTreeMap<AppId, Arc<ManagedApp>>,
    pub(crate) clients: Vec<ApiClient>,
    pub(crate) limits: Limits,
    pub(crate) tls: Option<Tls>,
}

/// The server, without its doors.
#[derive(Debug)]
pub(crate) struct ServerState {
    snapshot: ArcSwap<ConfigSnapshot>,
    shared: Services,
    audit: Audit,
    in_flight: AtomicUsize,
    draining: watch::Sender<bool>,
    /// Apps whose state file could not be read.
    broken: HashSet<AppId>,
}

/// What became of something that is audited.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuditOutcome<'a> {
    pub(crate) appid: Option<&'a AppId>,
    pub(crate) outcome: &'static str,
    pub(crate) generation: Option<u64>,
    pub(crate) errcode: Option<ErrCode>,
    pub(crate) rid: Option<&'a TraceId>,
}

/// A request being answered; one less when dropped.
pub(crate) struct RequestPermit(Arc<ServerState>);

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ServerState {
    pub(crate) fn new(config: &Config, shared: Services, audit: Audit, corrupt_apps: HashSet<AppId>) -> Self {
        let snapshot = ConfigSnapshot::of(config, &shared, None);
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            shared,
            audit,
            in_flight: AtomicUsize::new(0),
            draining: watch::Sender::new(false),
            broken: corrupt_apps,
        }
    }

    pub(crate) fn snapshot(&self) -> Arc<ConfigSnapshot> {
        self.snapshot.load_full()
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    pub(crate) fn audit(&self) -> &Audit {
        &self.audit
    }

    /// From now on this is configured. Apps that are configured as before go on as they are.
    pub(crate) fn apply_config(&self, config: &Config) {
        let before = self.snapshot();
        self.snapshot.store(Arc::new(ConfigSnapshot::of(config, &self.shared, Some(&before))));
    }

    /// Lets every app get its token before anybody asks for it.
    pub(crate) fn prefetch_tokens(&self) {
        for app in self.snapshot().apps.values() {
            let app = Arc::clone(app);
            tokio::spawn(async move {
                // Its failure is in status, log and metrics, and the keeper goes on trying.
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

    /// Waits until the server stops.
    pub(crate) async fn shutdown_started(&self) {
        // The sender lives in the house, so it cannot be gone.
        let _ = self.draining.subscribe().wait_for(|draining| *draining).await;
    }

    /// Whether the state file of this app could not be read.
    pub(crate) fn is_broken(&self, app: &AppId) -> bool {
        self.broken.contains(app)
    }

    /// Room for one more request, if there is any.
    pub(crate) fn try_acquire_permit(self: &Arc<Self>) -> Option<RequestPermit> {
        let most = self.snapshot.load().limits.in_flight;
        let entered = RequestPermit(Arc::clone(self));
        (self.in_flight.fetch_add(1, Ordering::Relaxed) < most).then_some(entered)
    }

    /// Writes the audit line of something.
    pub(crate) fn record_audit(
        &self,
        api: ApiSurface,
        action: Action,
        caller: &AuditCaller<'_>,
        told: &AuditOutcome<'_>,
    ) {
        let entry = || Entry {
            at: self.clock().now().wall.get(),
            api,
            action,
            client: caller.client.map(|client| client.name.clone()),
            address: caller.address,
            appid: told.appid.map(ToString::to_string),
            outcome: told.outcome,
            generation: told.generation,
            errcode: told.errcode.map(ErrCode::get),
            rid: told.rid.map(ToString::to_string),
        };
        if !self.audit.record(entry) {
            self.metrics().audit_dropped();
        }
    }
}

impl ConfigSnapshot {
    fn of(config: &Config, shared: &Services, before: Option<&Self>) -> Self {
        let app = |config: &crate::config::AppConfig| {
            let known = before.and_then(|before| before.apps.get(&config.appid));
            let app = match known {
                Some(app) if app.config.same_as(config) => Arc::clone(app),
                Some(app) => ManagedApp::new(config.clone(), shared, Arc::clone(&app.memory)),
                None => ManagedApp::new(config.clone(), shared, Arc::<TokenHistory>::default()),
            };
            (config.appid.clone(), app)
        };
        Self {
            apps: config.apps.iter().map(app).collect(),
            clients: config.clients.clone(),
            limits: config.limits,
            tls: config.tls.clone(),
        }
    }
}
