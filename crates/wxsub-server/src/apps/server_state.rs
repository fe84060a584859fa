//! The state of the server that requests share.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Display;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use axum::body::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;
use wxsub_api::AppStatus;
use wxsub_core::clock::{Clock, MonotonicInstant, UnixMillis, timeout_at};
use wxsub_core::token::TokenSource;
use wxsub_outbox::Outbox;
use wxsub_outbox::state::MessageState;
use wxsub_proto::{AppId, LocalizedText};

use super::load::{Load, RequestPermit};
use super::open_files::{max_connections, open_files_warning};
use super::{ManagedApp, ServerOutbox, Services, Workers};
use crate::config::{
    ApiClient, AppConfig, Config, ConsentConfig, ConsoleUser, Limits, MAX_SIDE_CONNECTIONS, Network, Tls,
    WebhookConfig,
};
use crate::state::audit::Audit;
use crate::state::connections::Connections;
use crate::state::limit::{Limit, LimitLog, LimitUse};
use crate::state::locked;
use crate::state::metrics::{Metrics, OutboxStatus};
use crate::state::pace::AddressPaces;
use crate::state::shared::Shared;

/// Maximum number of incomplete bodies of callers without a known key.
pub(crate) const MAX_KEYLESS_BODIES: usize = 256;

/// Maximum number of requests without a known key of one address in a second. The responses to later ones wait.
pub(crate) const MAX_KEYLESS_REQUESTS: usize = 200;

/// How many apps are read from the ledger at once.
pub(crate) const MAX_APP_READS: usize = 32;

/// The current configuration with its apps. A request uses one snapshot throughout.
pub(crate) struct ConfigSnapshot {
    pub(crate) apps: BTreeMap<AppId, Arc<ManagedApp>>,
    pub(crate) clients: Vec<ManagedClient>,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) limits: Limits,
    pub(crate) tls: Option<Tls>,
    pub(crate) consent: Option<ConsentConfig>,
    /// Who may log in to the console. A user that a reload does not change stays the same `Arc`.
    pub(crate) console_users: Vec<Arc<ConsoleUser>>,
    /// `None` without a ledger.
    pub(crate) outbox: Option<ServerOutbox>,
    pub(crate) webhooks: Vec<Arc<WebhookConfig>>,
}

/// A configured client with its load, which a reload keeps.
pub(crate) struct ManagedClient {
    pub(crate) config: Arc<ApiClient>,
    pub(crate) load: Arc<Load>,
}

impl Borrow<ApiClient> for ManagedClient {
    fn borrow(&self) -> &ApiClient {
        &self.config
    }
}

/// The state of the server, as all tasks have it.
pub(crate) type SharedState = Arc<ServerState>;

/// The state of the server: the current configuration, and what survives a reload.
pub(crate) struct ServerState {
    snapshot: ArcSwap<ConfigSnapshot>,
    services: Services,
    audit: Audit,
    in_flight: Arc<AtomicUsize>,
    /// The load of callers without a known key.
    pub(crate) keyless: Arc<Load>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) console_connections: Arc<Connections>,
    pub(crate) metrics_connections: Arc<Connections>,
    pub(crate) handshakes: AddressPaces,
    pub(crate) keyless_requests: AddressPaces,
    limit_log: LimitLog,
    /// The limit of open files, if it is known.
    open_files: Option<usize>,
    draining: CancellationToken,
    /// Whether the time to finish requests is over.
    cut: CancellationToken,
    /// The sends and changes under way. They go on when their client disconnects.
    pub(crate) tasks: TaskTracker,
    /// How many messages may have been sent, because the server stopped.
    cut_messages: AtomicUsize,
    workers: Mutex<Workers>,
    /// Apps whose state file could not be read at start.
    corrupt_apps: HashSet<AppId>,
    failed_reload: Mutex<Option<UnixMillis>>,
    /// The text of `/metrics`.
    pub(crate) metrics_text: Shared<Option<Bytes>>,
    /// Whether `/readyz` responds 200, and its JSON.
    pub(crate) readiness: Shared<(bool, Bytes)>,
}

impl ServerState {
    pub(crate) fn new(
        config: &Config,
        services: Services,
        audit: Audit,
        corrupt_apps: HashSet<AppId>,
        open_files: Option<usize>,
    ) -> Self {
        let snapshot = ConfigSnapshot::new(config, &services, None);
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            services,
            audit,
            in_flight: Arc::default(),
            keyless: Arc::default(),
            connections: Arc::default(),
            console_connections: Arc::default(),
            metrics_connections: Arc::default(),
            handshakes: AddressPaces::default(),
            keyless_requests: AddressPaces::default(),
            limit_log: LimitLog::new(),
            open_files,
            draining: CancellationToken::new(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
            cut_messages: AtomicUsize::default(),
            workers: Mutex::default(),
            corrupt_apps,
            failed_reload: Mutex::default(),
            metrics_text: Shared::default(),
            readiness: Shared::default(),
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
        let after = Arc::new(ConfigSnapshot::new(config, &self.services, Some(&before)));
        for (appid, app) in &before.apps {
            if !after.apps.get(appid).is_some_and(|running| running.has_same_tokens(app)) {
                let token_cache = app.token_cache().clone();
                tokio::spawn(async move { token_cache.close().await });
            }
        }
        let mut workers = locked(&self.workers);
        if let Some(outbox) = after.outbox.as_ref().filter(|_| workers.are_running()) {
            workers.run(outbox, &self.services);
            workers.send_webhooks(outbox, &self.services, &after.webhooks);
        }
        drop(workers);
        self.snapshot.store(Arc::clone(&after));
        let Some(outbox) = &after.outbox else { return };
        for (appid, app) in &after.apps {
            let is_changed = before.apps.get(appid).is_some_and(|running| !Arc::ptr_eq(running, app));
            if let (true, Ok(outbox)) = (is_changed, outbox.outbox().for_app(appid)) {
                tokio::spawn(lift_token_pause(outbox, appid.clone()));
            }
        }
    }

    /// Runs the worker of the outbox, if there is a ledger.
    pub(crate) fn run_worker(&self) {
        let snapshot = self.snapshot();
        if let Some(outbox) = &snapshot.outbox {
            let mut workers = locked(&self.workers);
            workers.send_webhooks(outbox, &self.services, &snapshot.webhooks);
            workers.run(outbox, &self.services);
        }
    }

    /// Takes the workers of the outbox, to stop them.
    pub(crate) fn take_workers(&self) -> Workers {
        std::mem::take(&mut *locked(&self.workers))
    }

    /// Whether commits to the ledger succeed. `None` without a ledger.
    pub(crate) fn is_ledger_up(&self) -> Option<bool> {
        self.snapshot().outbox.as_ref().map(ServerOutbox::is_up)
    }

    /// What the ledger has of each app that it tells about before this time. `None` without a ledger.
    pub(crate) async fn outbox_status(&self, before: MonotonicInstant) -> Option<OutboxStatus> {
        let snapshot = self.snapshot();
        let outbox = snapshot.outbox.as_ref()?;
        let ledger = outbox.outbox().ledger();
        let read = async |appid: &AppId| {
            let app = ledger.app(appid).await.ok()?;
            let first_due_at = match app.counts.contains_key(&MessageState::Queued) {
                true => ledger.first_due_at(appid).await.ok().flatten(),
                false => None,
            };
            Some((appid.clone(), app, first_due_at))
        };
        // A read that does not end leaves out its app only.
        let mut reading = stream::iter(snapshot.apps.keys()).map(read).buffer_unordered(MAX_APP_READS);
        let mut apps = Vec::new();
        let all = async {
            while let Some(app) = reading.next().await {
                apps.extend(app);
            }
        };
        timeout_at(&**self.clock(), before, all).await;
        Some(OutboxStatus { is_ledger_up: outbox.is_up(), apps, now: self.clock().now().wall })
    }

    /// How many messages a worker may be posting, as far as the ledger tells before this time.
    pub(crate) async fn attempting_messages(&self, before: MonotonicInstant) -> usize {
        let apps = self.outbox_status(before).await.map(|status| status.apps).unwrap_or_default();
        let attempting = apps.iter().filter_map(|(_, app, _)| app.counts.get(&MessageState::Attempting));
        let count: u64 = attempting.sum();
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// Starts a token fetch for every app that has no token.
    pub(crate) fn prefetch_tokens(&self) {
        // Its token caches are closed. A fetch would end with the process, and leave the token in doubt.
        if self.is_draining() {
            return;
        }
        for app in self.snapshot().apps.values() {
            // The first poll requests a token, and no caller need wait for it. Status, log and metrics show a failure, and
            // the token cache retries.
            let _ = app.token_cache().token().now_or_never();
        }
    }

    /// Ends all token caches. A fetch that is running gets 5 s; then its lease is released, so that a peer can fetch.
    pub(crate) async fn close_token_caches(&self) {
        let mut closing = JoinSet::new();
        for app in self.snapshot().apps.values() {
            let token_cache = app.token_cache().clone();
            closing.spawn(async move { token_cache.close().await });
        }
        closing.join_all().await;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    pub(crate) fn drain(&self) {
        self.draining.cancel();
    }

    /// Waits until shutdown starts.
    pub(crate) async fn shutdown_started(&self) {
        self.draining.cancelled().await;
    }

    /// Ends the waits of all requests.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }

    /// Completes at this time, or when the requests are cut.
    pub(crate) async fn deadline(&self, at: MonotonicInstant) {
        tokio::select! {
            () = self.clock().sleep_until(at) => {}
            () = self.cut.cancelled() => {}
        }
    }

    /// Counts a message that may have been sent, if that is so because it was cut.
    pub(crate) fn record_maybe_sent(&self) {
        if self.cut.is_cancelled() {
            self.cut_messages.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many messages were cut.
    pub(crate) fn cut_messages(&self) -> usize {
        self.cut_messages.load(Ordering::Relaxed)
    }

    /// Waits until no send or change is under way.
    pub(crate) async fn tasks_ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The status of each app of this snapshot.
    pub(crate) fn app_statuses(&self, snapshot: &ConfigSnapshot) -> impl Iterator<Item = AppStatus> {
        let now = self.clock().now();
        snapshot.apps.values().map(move |app| AppStatus {
            state_file_broken: self.corrupt_apps.contains(app.appid()),
            ..app.status(now)
        })
    }

    /// Takes a place in flight for a caller.
    ///
    /// # Errors
    /// The limit that is reached.
    pub(crate) fn try_acquire_permit(&self, load: &Arc<Load>) -> Result<RequestPermit, Limit> {
        load.try_acquire_permit(&self.in_flight, &self.snapshot.load().limits)
    }

    /// Whether a place in flight is free for a caller.
    ///
    /// # Errors
    /// The limit that is reached.
    pub(crate) fn check_places(&self, load: &Load) -> Result<(), Limit> {
        load.check_places(&self.in_flight, &self.snapshot.load().limits)
    }

    /// The number of connections that the server accepts: that of the configuration, or fewer if files are scarce.
    pub(crate) fn max_connections(&self) -> usize {
        let snapshot = self.snapshot.load();
        max_connections(&snapshot.limits, snapshot.apps.len(), self.open_files)
    }

    /// Warns if the limit of open files is too low for the limits of the configuration.
    pub(crate) fn warn_of_few_files(&self) {
        if let Some(text) = self.open_files_warning() {
            warn!("{text}");
        }
    }

    /// What to say of the limit of open files, if it is too low for the limits of the configuration.
    pub(super) fn open_files_warning(&self) -> Option<LocalizedText<String>> {
        let snapshot = self.snapshot();
        open_files_warning(&snapshot.limits, snapshot.apps.len(), self.open_files?)
    }

    /// When a reload failed, if no later one succeeded.
    pub(super) fn failed_reload(&self) -> Option<UnixMillis> {
        *locked(&self.failed_reload)
    }

    /// Notes that a configuration was read and applied now, or not.
    pub(crate) fn record_reload(&self, has_succeeded: bool) {
        let now = self.clock().now().wall;
        self.metrics().record_reload(has_succeeded.then_some(now));
        *locked(&self.failed_reload) = (!has_succeeded).then_some(now);
    }

    /// Counts and logs that a caller reached a limit.
    pub(crate) fn record_limit(&self, limit: Limit, caller: &dyn Display) {
        self.metrics().record_limit(limit);
        self.limit_log.record(limit, caller, self.clock().now().mono);
    }

    /// How much of each limit is in use.
    pub(crate) fn limits_used(&self) -> Vec<LimitUse> {
        let snapshot = self.snapshot();
        let limits = &snapshot.limits;
        let (open, most_open) = self.connections.used();
        let (console, metrics) = (self.console_connections.used(), self.metrics_connections.used());
        let loads = snapshot.clients.iter().map(|client| &client.load);
        let loads = loads.chain(snapshot.apps.values().map(|app| &app.load));
        let used = loads.clone().map(|load| load.used());
        let (in_flight, bodies) = used.fold((0, 0), |most, own| (most.0.max(own.0), most.1.max(own.1)));
        let now = self.clock().now().mono;
        let used = Limit::ALL.iter().map(|&limit| {
            let (used, max) = match limit {
                Limit::Connections => (open, self.max_connections()),
                Limit::ConnectionsPerAddress => (most_open, limits.connections_per_address),
                Limit::ConsoleConnections => (console.0, MAX_SIDE_CONNECTIONS),
                Limit::ConsoleConnectionsPerAddress => (console.1, limits.side_connections_per_address()),
                Limit::MetricsConnections => (metrics.0, MAX_SIDE_CONNECTIONS),
                Limit::MetricsConnectionsPerAddress => (metrics.1, limits.side_connections_per_address()),
                Limit::HandshakesPerAddress => {
                    let max = limits.handshakes_per_address;
                    (self.handshakes.used(max, now), max)
                }
                Limit::RequestsPerKey => {
                    let max = limits.requests_per_key;
                    (loads.clone().map(|load| load.requests_used(max, now)).max().unwrap_or_default(), max)
                }
                Limit::KeylessRequests => {
                    (self.keyless_requests.used(MAX_KEYLESS_REQUESTS, now), MAX_KEYLESS_REQUESTS)
                }
                Limit::InFlight => (self.in_flight.load(Ordering::Relaxed), limits.in_flight),
                Limit::InFlightPerKey => (in_flight, limits.in_flight_per_key),
                Limit::BodiesPerKey => (bodies, limits.in_flight_per_key),
                Limit::KeylessBodies => (self.keyless.used().1, MAX_KEYLESS_BODIES),
            };
            LimitUse { limit, used, max }
        });
        used.collect()
    }
}

/// A changed app may get a token at last, so its messages need not wait for the end of their pause.
async fn lift_token_pause(outbox: Outbox, appid: AppId) {
    if let Err(error) = outbox.lift_token_pause().await {
        warn!(%error, appid = appid.as_str(), "lifting the pause for want of a token failed; it ends within a minute");
    }
}

impl ConfigSnapshot {
    /// Whether this is the address of a trusted proxy, which all its clients share.
    pub(crate) fn is_proxy(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|proxy| proxy.contains(address))
    }

    fn new(config: &Config, services: &Services, before: Option<&Self>) -> Self {
        let app = |config: &AppConfig| {
            let running = before.and_then(|before| before.apps.get(&config.appid));
            let app = match running {
                Some(app) if app.config.has_same_settings(config) => Arc::clone(app),
                running => ManagedApp::new(config.clone(), services, running.map(|app| &**app)),
            };
            (config.appid.clone(), app)
        };
        let client = |config: &ApiClient| {
            let mut clients = before.into_iter().flat_map(|before| &before.clients);
            let running = clients.find(|client| client.config.name == config.name);
            let load = running.map(|client| Arc::clone(&client.load)).unwrap_or_default();
            ManagedClient { config: Arc::new(config.clone()), load }
        };
        let user = |config: &ConsoleUser| {
            let mut users = before.into_iter().flat_map(|before| &before.console_users);
            users.find(|user| ***user == *config).cloned().unwrap_or_else(|| Arc::new(config.clone()))
        };
        let apps: BTreeMap<_, _> = config.apps.iter().map(app).collect();
        let outbox = services.ledger.as_ref().map(|ledger| {
            let settings = config.apps.iter().filter_map(|app| Some((apps.get(&app.appid)?, app.outbox)));
            let before = before.and_then(|before| before.outbox.as_ref());
            ServerOutbox::new(ledger, services, settings, &config.inboxes, before)
        });
        Self {
            apps,
            clients: config.clients.iter().map(client).collect(),
            trusted_proxies: config.trusted_proxies.clone(),
            limits: config.limits,
            tls: config.tls.clone(),
            consent: config.consent.clone(),
            console_users: config.console_users.iter().map(user).collect(),
            outbox,
            webhooks: config.webhooks.clone(),
        }
    }
}
