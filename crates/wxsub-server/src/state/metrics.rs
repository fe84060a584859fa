//! The metrics of the server. Their names and labels are a contract.
//!
//! Label values come from the configuration, the routes and the table of codes. Requests cannot create more of them.

use std::fmt;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use wxsub_api::{AppStatus, StoreProblem};
use wxsub_core::clock::UnixMillis;
use wxsub_core::rfc3339;
use wxsub_core::store::StoreErrorKind;
use wxsub_core::token::{TokenErrorKind, TokenEvent, TokenOrigin};
use wxsub_outbox::app::{Pauses, StoredApp};
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::state::{MessageState, Mode, Reason, WaitingFor};
use wxsub_proto::{AppId, ErrCode};

use super::audit::ApiSurface;
use super::denial::Denial;
use super::limit::{Limit, LimitUse};

const SURFACES: [ApiSurface; 2] = [ApiSurface::V1, ApiSurface::Weixin];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AppLabels {
    appid: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AppResultLabels {
    appid: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EnqueuedLabels {
    appid: String,
    via: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    appid: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PauseLabels {
    appid: String,
    why: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    appid: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreProblemLabels {
    appid: String,
    kind: String,
    remedy: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SendLabels {
    appid: String,
    client: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SurfaceLabels {
    api: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DenialLabels {
    api: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    appid: String,
    errcode: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResponseLabels {
    route: &'static str,
    status: u16,
}

/// For a metric that is absent until it has a value.
type NoLabels = [(&'static str, &'static str); 0];

/// What the ledger has now.
#[derive(Debug)]
pub(crate) struct OutboxStatus {
    pub(crate) is_ledger_up: bool,
    pub(crate) apps: Vec<(AppId, StoredApp)>,
    pub(crate) now: UnixMillis,
}

/// All metrics.
pub(crate) struct Metrics {
    registry: Registry,
    expires_in: Family<AppLabels, Gauge>,
    generation: Family<AppLabels, Gauge>,
    in_doubt: Family<AppLabels, Gauge>,
    in_doubt_from: Family<AppLabels, Gauge>,
    store_up: Family<AppLabels, Gauge>,
    store_problem: Family<StoreProblemLabels, Gauge>,
    fetches: Family<AppResultLabels, Counter>,
    /// By API: v1, then Weixin-compatible.
    reads: [Counter; 2],
    denials: Family<DenialLabels, Counter>,
    reports: Family<AppResultLabels, Counter>,
    external_invalidations: Family<AppLabels, Counter>,
    sends: Family<SendLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    durations: Family<ResponseLabels, Histogram>,
    limit_used: Family<LimitLabels, Gauge>,
    limit_max: Family<LimitLabels, Gauge>,
    limit_reached: Family<LimitLabels, Counter>,
    audit_failures: Counter,
    reload_succeeded: Gauge,
    reload_time: Gauge,
    certificate_end: Family<NoLabels, Gauge>,
    ledger_up: Family<NoLabels, Gauge>,
    enqueued: Family<EnqueuedLabels, Counter>,
    idempotency: Family<ResultLabels, Counter>,
    outbox_messages: Family<StateLabels, Gauge>,
    outbox_undecided: Family<AppLabels, Gauge>,
    outbox_paused: Family<PauseLabels, Gauge>,
    settled: Family<OutcomeLabels, Counter>,
    reclaimed: Counter,
    inbox_rejected: Counter,
    lag: Histogram,
}

fn seconds(at: UnixMillis) -> i64 {
    i64::try_from(at.get() / 1000).unwrap_or(i64::MAX)
}

fn send_labels(appid: &AppId, client: Option<&str>, outcome: &'static str) -> SendLabels {
    SendLabels { appid: appid.to_string(), client: client.unwrap_or_default().to_owned(), outcome }
}

fn histogram() -> Histogram {
    Histogram::new([
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    ])
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            expires_in: Family::default(),
            generation: Family::default(),
            in_doubt: Family::default(),
            in_doubt_from: Family::default(),
            store_up: Family::default(),
            store_problem: Family::default(),
            fetches: Family::default(),
            reads: Default::default(),
            denials: Family::default(),
            reports: Family::default(),
            external_invalidations: Family::default(),
            sends: Family::default(),
            refusals: Family::default(),
            durations: Family::new_with_constructor(histogram),
            limit_used: Family::default(),
            limit_max: Family::default(),
            limit_reached: Family::default(),
            audit_failures: Counter::default(),
            reload_succeeded: Gauge::default(),
            reload_time: Gauge::default(),
            certificate_end: Family::default(),
            ledger_up: Family::default(),
            enqueued: Family::default(),
            idempotency: Family::default(),
            outbox_messages: Family::default(),
            outbox_undecided: Family::default(),
            outbox_paused: Family::default(),
            settled: Family::default(),
            reclaimed: Counter::default(),
            inbox_rejected: Counter::default(),
            lag: Histogram::new([0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0]),
        };
        metrics.register_token_metrics();
        metrics.register_request_metrics();
        metrics.register_server_metrics();
        metrics.register_outbox_metrics();
        metrics
    }

    fn register_token_metrics(&mut self) {
        let registry = &mut self.registry;
        let expires = "How long a client may cache the token, in seconds; 0 without a usable token";
        registry.register("wxsub_token_expires_in_seconds", expires, self.expires_in.clone());
        registry.register(
            "wxsub_token_generation",
            "Generation of the current token; 0 without a usable token",
            self.generation.clone(),
        );
        registry.register(
            "wxsub_token_in_doubt",
            "1 if the token may have been invalidated",
            self.in_doubt.clone(),
        );
        let from = "When the token gets in doubt because a response was lost, in seconds since 1970; 0 if none was lost";
        registry.register("wxsub_token_in_doubt_from_timestamp_seconds", from, self.in_doubt_from.clone());
        let up = "1 unless the token store was unavailable when it was last needed";
        registry.register("wxsub_token_store_up", up, self.store_up.clone());
        let problem = "1 while the token store fails, with the kind of the failure and the remedy";
        registry.register("wxsub_token_store_problem", problem, self.store_problem.clone());
        registry.register("wxsub_token_fetches", "Token fetches by result", self.fetches.clone());
        let reads = Family::<SurfaceLabels, Counter>::default();
        self.reads = SURFACES.map(|api| {
            let api = api.as_str();
            reads.get_or_create_owned(&SurfaceLabels { api })
        });
        registry.register("wxsub_token_reads", "Tokens served", reads);
        registry.register("wxsub_token_reports", "Reports of rejected tokens", self.reports.clone());
        registry.register(
            "wxsub_token_external_invalidations",
            "Tokens that a fetch outside this service invalidated",
            self.external_invalidations.clone(),
        );
    }

    fn register_request_metrics(&mut self) {
        let registry = &mut self.registry;
        let used = "How much of a limit is in use; of a limit for each key or address, the most that one of them uses";
        registry.register("wxsub_limit_used", used, self.limit_used.clone());
        registry.register("wxsub_limit_max", "The limit", self.limit_max.clone());
        for limit in Limit::ALL {
            self.limit_reached.get_or_create(&LimitLabels { limit: limit.as_str() }).inc_by(0);
        }
        registry.register("wxsub_limit_reached", "How often a limit was reached", self.limit_reached.clone());
        for (api, denial) in SURFACES.into_iter().flat_map(|api| Denial::ALL.map(|denial| (api, denial))) {
            let labels = DenialLabels { api: api.as_str(), reason: denial.as_str() };
            self.denials.get_or_create(&labels).inc_by(0);
        }
        registry.register("wxsub_denials", "Denied requests by reason", self.denials.clone());
        let sends = "Messages by outcome; client is empty if an access_token authorized the message";
        registry.register("wxsub_sends", sends, self.sends.clone());
        let refusals = "Refusals by Weixin: each refused token call, and each refused message";
        registry.register("wxsub_refusals", refusals, self.refusals.clone());
        let durations = "From the head of a request to the head of its response";
        registry.register("wxsub_http_request_duration_seconds", durations, self.durations.clone());
    }

    fn register_server_metrics(&mut self) {
        let registry = &mut self.registry;
        let lost = "Audit lines that were not recorded";
        registry.register("wxsub_audit_failures", lost, self.audit_failures.clone());
        registry.register(
            "wxsub_config_last_reload_successful",
            "1 if the configuration in use is the one that was read last",
            self.reload_succeeded.clone(),
        );
        registry.register(
            "wxsub_config_last_reload_success_timestamp_seconds",
            "When the configuration in use was read",
            self.reload_time.clone(),
        );
        registry.register(
            "wxsub_certificate_expiry_timestamp_seconds",
            "When the first certificate of tls_cert_file ends",
            self.certificate_end.clone(),
        );
    }

    fn register_outbox_metrics(&mut self) {
        let registry = &mut self.registry;
        let up = "1 unless the last commit to the ledger failed; absent without a ledger";
        registry.register("wxsub_ledger_up", up, self.ledger_up.clone());
        let messages = "Messages in the ledger by state";
        registry.register("wxsub_outbox_messages", messages, self.outbox_messages.clone());
        let undecided = "Messages that may have been sent and wait for a decision";
        registry.register("wxsub_outbox_undecided", undecided, self.outbox_undecided.clone());
        let paused = "1 while the messages of the app wait for this reason";
        registry.register("wxsub_outbox_paused", paused, self.outbox_paused.clone());
        let settled = "Messages that this process found final, by outcome";
        registry.register("wxsub_outbox_settled", settled, self.settled.clone());
        let reclaimed = "Messages that may have been sent because their worker was gone";
        registry.register("wxsub_outbox_reclaimed", reclaimed, self.reclaimed.clone());
        let lag = "From when a queued message was due to its last attempt";
        registry.register("wxsub_outbox_lag_seconds", lag, self.lag.clone());
        let enqueued = "Messages that were recorded in the queue";
        registry.register("wxsub_outbox_enqueued", enqueued, self.enqueued.clone());
        let rejected = "Rows of inboxes that cannot be taken and stay in their table";
        registry.register("wxsub_inbox_rejected", rejected, self.inbox_rejected.clone());
        let keys = "Requests with an idempotency key by result";
        registry.register("wxsub_idempotency", keys, self.idempotency.clone());
    }

    /// Counts an event of a token cache.
    pub(crate) fn record_token_event(&self, appid: &AppId, event: &TokenEvent) {
        let record_fetch =
            |result| self.fetches.get_or_create(&AppResultLabels { appid: appid.to_string(), result }).inc();
        match event {
            TokenEvent::Refreshed { origin: TokenOrigin::Adopted, .. } => record_fetch("adopted"),
            TokenEvent::Refreshed { origin: TokenOrigin::Fetched, .. } => record_fetch("issued"),
            TokenEvent::Refreshed { origin: TokenOrigin::FetchedWithoutLease, .. } => {
                record_fetch("without_lease")
            }
            TokenEvent::FetchFailed { failure, .. } => {
                if let TokenErrorKind::Refused(refusal) = failure {
                    self.record_refusal(appid, refusal.errcode());
                }
                record_fetch("failed")
            }
            TokenEvent::InvalidatedExternally { .. } => {
                self.external_invalidations.get_or_create(&AppLabels { appid: appid.to_string() }).inc()
            }
            _ => 0,
        };
    }

    pub(crate) fn record_read(&self, api: ApiSurface) {
        let [v1, weixin] = &self.reads;
        match api {
            ApiSurface::V1 => v1.inc(),
            ApiSurface::Weixin => weixin.inc(),
        };
    }

    pub(crate) fn record_denial(&self, api: ApiSurface, denial: Denial) {
        self.denials.get_or_create(&DenialLabels { api: api.as_str(), reason: denial.as_str() }).inc();
    }

    pub(crate) fn record_limit(&self, limit: Limit) {
        self.limit_reached.get_or_create(&LimitLabels { limit: limit.as_str() }).inc();
    }

    pub(crate) fn record_report(&self, appid: &AppId, result: &'static str) {
        self.reports.get_or_create(&AppResultLabels { appid: appid.to_string(), result }).inc();
    }

    /// Counts a message. `client` is the client whose key authorized it.
    pub(crate) fn record_send(&self, appid: &AppId, client: Option<&str>, outcome: &'static str) {
        self.sends.get_or_create(&send_labels(appid, client, outcome)).inc();
    }

    /// Counts a message that was recorded in the queue, or was recorded there before.
    pub(crate) fn record_enqueued(&self, appid: &AppId, is_replayed: bool) {
        match is_replayed {
            true => self.record_idempotency("replayed"),
            false => {
                let labels = EnqueuedLabels { appid: appid.to_string(), via: "http" };
                self.enqueued.get_or_create(&labels).inc();
            }
        }
    }

    /// Counts a message of the outbox that became final.
    pub(crate) fn record_settled(&self, message: &StoredMessage) {
        let labels = OutcomeLabels { appid: message.appid.to_string(), outcome: message.state.as_str() };
        self.settled.get_or_create(&labels).inc();
        if message.reason == Some(Reason::WorkerLost) {
            self.reclaimed.inc();
        }
        if let (Mode::Queued, Some(attempted_at)) = (message.mode, message.attempted_at) {
            self.lag.observe(attempted_at.since(message.due_at).as_secs_f64());
        }
    }

    /// Records what the ledger has of each app.
    fn set_outbox(&self, apps: &[(AppId, StoredApp)], now: UnixMillis) {
        self.outbox_messages.clear();
        self.outbox_undecided.clear();
        self.outbox_paused.clear();
        let to_i64 = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        for (appid, app) in apps {
            let appid = appid.to_string();
            for state in MessageState::ALL {
                let labels = StateLabels { appid: appid.clone(), state: state.as_str() };
                let count = app.counts.get(state).copied().unwrap_or_default();
                self.outbox_messages.get_or_create(&labels).set(to_i64(count));
            }
            let labels = AppLabels { appid: appid.clone() };
            self.outbox_undecided.get_or_create(&labels).set(to_i64(app.undecided));
            for outcome in ["maybe_sent", "not_sent"] {
                let appid = appid.clone();
                self.settled.get_or_create(&OutcomeLabels { appid, outcome }).inc_by(0);
            }
            let Pauses { operator, minute_quota_until, daily_quota, token } = &app.pauses;
            for (why, is_paused) in [
                (WaitingFor::Paused, operator.is_some()),
                (WaitingFor::Rate, minute_quota_until.is_some_and(|until| now < until)),
                (WaitingFor::Quota, daily_quota.is_some()),
                (WaitingFor::Token, token.is_some_and(|pause| now < pause.until)),
            ] {
                let labels = PauseLabels { appid: appid.clone(), why: why.as_str() };
                self.outbox_paused.get_or_create(&labels).set(is_paused.into());
            }
        }
    }

    /// Counts rows of inboxes that stay in their table, with their error.
    pub(crate) fn record_inbox_rejected(&self, rows: u64) {
        self.inbox_rejected.inc_by(rows);
    }

    /// Counts what came of an idempotency key.
    pub(crate) fn record_idempotency(&self, result: &'static str) {
        self.idempotency.get_or_create(&ResultLabels { result }).inc();
    }

    pub(crate) fn record_refusal(&self, appid: &AppId, errcode: ErrCode) {
        let errcode = if errcode.info().is_some() { errcode.to_string() } else { "other".to_owned() };
        self.refusals.get_or_create(&RefusalLabels { appid: appid.to_string(), errcode }).inc();
    }

    /// The durations of the responses of a route with this status.
    pub(crate) fn durations(&self, route: &'static str, status: u16) -> Histogram {
        self.durations.get_or_create_owned(&ResponseLabels { route, status })
    }

    /// Records that a configuration was read and applied at this time, or not.
    pub(crate) fn record_reload(&self, succeeded_at: Option<UnixMillis>) {
        self.reload_succeeded.set(i64::from(succeeded_at.is_some()));
        if let Some(at) = succeeded_at {
            self.reload_time.set(seconds(at));
        }
    }

    /// Records when the certificate in use ends.
    pub(crate) fn record_certificate(&self, valid_until: UnixMillis) {
        self.certificate_end.get_or_create(&[]).set(seconds(valid_until));
    }

    /// The counter of audit lines that were not recorded.
    pub(crate) fn audit_failures(&self) -> Counter {
        self.audit_failures.clone()
    }

    /// Creates counters at 0, so that `increase()` sees the first event. `senders` may send messages of the app.
    fn initialize(&self, appid: &AppId, senders: &[&str]) {
        let app = appid.to_string();
        self.external_invalidations.get_or_create(&AppLabels { appid: app.clone() }).inc_by(0);
        let results = |family: &Family<AppResultLabels, Counter>, results: &[&'static str]| {
            for result in results {
                family.get_or_create(&AppResultLabels { appid: app.clone(), result }).inc_by(0);
            }
        };
        results(&self.fetches, &["issued", "adopted", "without_lease", "failed"]);
        results(&self.reports, &["ok", "no_token", "rate_limited"]);
        for client in senders.iter().copied().map(Some).chain([None]) {
            self.sends.get_or_create(&send_labels(appid, client, "maybe_sent")).inc_by(0);
        }
    }

    /// Encodes all metrics as OpenMetrics text, with the current status of each app and limit. `senders` are the clients
    /// that may send messages of an app. Only one at a time: two would mix their gauges.
    pub(crate) fn encode<'a>(
        &self,
        apps: impl Iterator<Item = AppStatus>,
        senders: impl Fn(&AppId) -> Vec<&'a str>,
        limits: &[LimitUse],
        outbox: Option<&OutboxStatus>,
    ) -> Result<String, fmt::Error> {
        for family in
            [&self.expires_in, &self.generation, &self.in_doubt, &self.in_doubt_from, &self.store_up]
        {
            family.clear();
        }
        self.store_problem.clear();
        if let Some(OutboxStatus { is_ledger_up, apps, now }) = outbox {
            self.ledger_up.get_or_create(&[]).set((*is_ledger_up).into());
            self.set_outbox(apps, *now);
        }
        let to_i64 = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        for LimitUse { limit, used, max } in limits {
            let labels = LimitLabels { limit: limit.as_str() };
            self.limit_used.get_or_create(&labels).set(to_i64(*used as u64));
            self.limit_max.get_or_create(&labels).set(to_i64(*max as u64));
        }
        for app in apps {
            if let Some(StoreProblem { kind, remedy, .. }) = &app.store {
                let (appid, kind, remedy) = (app.appid.to_string(), kind.to_string(), remedy.as_str());
                self.store_problem.get_or_create(&StoreProblemLabels { appid, kind, remedy }).set(1);
            }
            let labels = AppLabels { appid: app.appid.to_string() };
            let set = |family: &Family<AppLabels, Gauge>, value: u64| {
                family.get_or_create(&labels).set(to_i64(value));
            };
            let in_doubt_from =
                app.in_doubt_from.and_then(|from| rfc3339::parse(&from).ok()).unwrap_or_default();
            set(&self.expires_in, app.expires_in.unwrap_or(0));
            set(&self.generation, app.generation.unwrap_or(0));
            set(&self.in_doubt, app.in_doubt.into());
            set(&self.in_doubt_from, in_doubt_from.get() / 1000);
            let works = |problem: &StoreProblem| problem.kind == StoreErrorKind::OtherEndpoint.as_str();
            set(&self.store_up, app.store.as_ref().is_none_or(works).into());
            self.initialize(&app.appid, &senders(&app.appid));
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
