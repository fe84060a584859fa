//! What is counted. Names and labels are a contract; labels come from the configuration, our routes and our table of
//! codes, so that nobody can make more of them.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use wxsub_core::clock::ClockReading;
use wxsub_core::token::{TokenEvent, TokenOrigin};
use wxsub_proto::{AppId, ErrCode};

use crate::app::ManagedApp;
use crate::audit::ApiSurface;

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
struct Sent {
    appid: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SurfaceLabels {
    api: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    errcode: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: String,
    status: u16,
}

/// Everything that is counted.
pub(crate) struct Metrics {
    registry: Registry,
    shown: Mutex<()>,
    expires_in: Family<AppLabels, Gauge>,
    generation: Family<AppLabels, Gauge>,
    suspect: Family<AppLabels, Gauge>,
    store_up: Family<AppLabels, Gauge>,
    fetches: Family<AppResultLabels, Counter>,
    /// Through the native api, and through the other.
    reads: [Counter; 2],
    reports: Family<AppResultLabels, Counter>,
    stolen: Family<AppLabels, Counter>,
    sends: Family<Sent, Counter>,
    refusals: Family<Code, Counter>,
    durations: Family<Answered, Histogram>,
    audit_dropped: Counter,
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
            shown: Mutex::default(),
            expires_in: Family::default(),
            generation: Family::default(),
            suspect: Family::default(),
            store_up: Family::default(),
            fetches: Family::default(),
            reads: Default::default(),
            reports: Family::default(),
            stolen: Family::default(),
            sends: Family::default(),
            refusals: Family::default(),
            durations: Family::new_with_constructor(histogram),
            audit_dropped: Counter::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        let expires = "How long the token is vouched for, in seconds; 0 without a usable token";
        registry.register("wxsub_token_expires_in_seconds", expires, self.expires_in.clone());
        registry.register("wxsub_token_generation", "Which token is held", self.generation.clone());
        registry.register(
            "wxsub_token_in_doubt",
            "1 if the token may end before its time",
            self.suspect.clone(),
        );
        let up = "1 unless the token store was unavailable when it was last needed";
        registry.register("wxsub_token_store_up", up, self.store_up.clone());
        registry.register("wxsub_token_fetches", "Attempts to get a token", self.fetches.clone());
        let reads = Family::<SurfaceLabels, Counter>::default();
        self.reads = [ApiSurface::V1, ApiSurface::Weixin].map(|api| {
            let api = api.as_str();
            reads.get_or_create_owned(&SurfaceLabels { api })
        });
        registry.register("wxsub_token_reads", "Tokens handed out", reads);
        registry.register(
            "wxsub_token_reports",
            "Tokens reported as no longer working",
            self.reports.clone(),
        );
        registry.register(
            "wxsub_token_external_invalidations",
            "Tokens that a fetch outside this service invalidated",
            self.stolen.clone(),
        );
        registry.register("wxsub_sends", "Messages", self.sends.clone());
        registry.register("wxsub_refusals", "Refusals of Weixin", self.refusals.clone());
        let durations = "From the head of a request to the head of its answer";
        registry.register("wxsub_http_request_duration_seconds", durations, self.durations.clone());
        registry.register("wxsub_audit_dropped", "Audit lines that were lost", self.audit_dropped.clone());
    }

    /// What a keeper tells of its app.
    pub(crate) fn record_token_event(&self, appid: &AppId, notice: &TokenEvent) {
        let fetched =
            |result| self.fetches.get_or_create(&AppResultLabels { appid: appid.to_string(), result }).inc();
        match notice {
            TokenEvent::Refreshed { origin: TokenOrigin::Adopted, .. } => fetched("adopted"),
            TokenEvent::Refreshed { origin: TokenOrigin::Fetched, .. } => fetched("issued"),
            TokenEvent::Refreshed { origin: TokenOrigin::FetchedWithoutLease, .. } => {
                fetched("without_lease")
            }
            TokenEvent::FetchFailed { failure, .. } => {
                if let wxsub_core::token::TokenErrorKind::Refused(refusal) = failure {
                    self.refused(refusal.errcode());
                }
                fetched("failed")
            }
            TokenEvent::StoreUnavailable => {
                self.store_up.get_or_create(&AppLabels { appid: appid.to_string() }).set(0).unsigned_abs()
            }
            TokenEvent::StoreRecovered => {
                self.store_up.get_or_create(&AppLabels { appid: appid.to_string() }).set(1).unsigned_abs()
            }
            TokenEvent::InvalidatedExternally { .. } => {
                self.stolen.get_or_create(&AppLabels { appid: appid.to_string() }).inc()
            }
            _ => 0,
        };
    }

    pub(crate) fn read(&self, api: ApiSurface) {
        let [native, weixin] = &self.reads;
        match api {
            ApiSurface::V1 => native.inc(),
            ApiSurface::Weixin => weixin.inc(),
        };
    }

    pub(crate) fn reported(&self, appid: &AppId, result: &'static str) {
        self.reports.get_or_create(&AppResultLabels { appid: appid.to_string(), result }).inc();
    }

    pub(crate) fn sent(&self, appid: &AppId, outcome: &'static str) {
        self.sends.get_or_create(&Sent { appid: appid.to_string(), outcome }).inc();
    }

    pub(crate) fn refused(&self, errcode: ErrCode) {
        let errcode = if errcode.entry().is_some() { errcode.to_string() } else { "other".to_owned() };
        self.refusals.get_or_create(&Code { errcode }).inc();
    }

    pub(crate) fn answered(&self, route: &str, status: u16, took: Duration) {
        let route = route.to_owned();
        self.durations.get_or_create(&Answered { route, status }).observe(took.as_secs_f64());
    }

    pub(crate) fn audit_dropped(&self) {
        self.audit_dropped.inc();
    }

    /// What ought never to happen begins at 0: its first time is an increase then, for which an alert can wait.
    fn initialize(&self, AppLabels { appid }: AppLabels) {
        self.stolen.get_or_create(&AppLabels { appid: appid.clone() }).inc_by(0);
        self.reports
            .get_or_create(&AppResultLabels { appid: appid.clone(), result: "rate_limited" })
            .inc_by(0);
        self.sends.get_or_create(&Sent { appid, outcome: "maybe_sent" }).inc_by(0);
    }

    /// All of it as text, with the apps as they are now.
    pub(crate) fn encode<'a>(
        &self,
        apps: impl Iterator<Item = &'a ManagedApp>,
        now: ClockReading,
    ) -> Result<String, fmt::Error> {
        // What two readers see must not be half of each.
        let _shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for family in [&self.expires_in, &self.generation, &self.suspect] {
            family.clear();
        }
        for app in apps {
            let (of, status) = (AppLabels { appid: app.appid().to_string() }, app.keeper.status());
            let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            self.expires_in.get_or_create(&of).set(whole(status.safe_ttl(now).as_secs()));
            let generation = status.usable(now).map_or(0, |issued| issued.generation().get());
            self.generation.get_or_create(&of).set(whole(generation));
            self.suspect.get_or_create(&of).set(i64::from(status.is_in_doubt(now)));
            let unknown = self.store_up.get(&of).is_none();
            if unknown {
                self.store_up.get_or_create(&of).set(1);
            }
            self.initialize(of);
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
