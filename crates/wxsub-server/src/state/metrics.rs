//! The metrics of the server. Their names and labels are a contract.
//!
//! Label values come from the configuration, the routes and the table of codes. Requests cannot create more of them.

mod apps;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use wxsub_core::clock::{Clock, UnixMillis};
use wxsub_core::token::{TokenErrorKind, TokenEvent, TokenOrigin};
use wxsub_outbox::CommitEvent;
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::state::{MessageState, Mode, Reason};
use wxsub_outbox::webhook::EndpointStatus;
use wxsub_proto::{AppId, ErrCode, LocalizedText};

use self::apps::{AppCollector, AppCounters, SendCounters};
pub(crate) use self::apps::{AppCount, OutboxStatus, Senders, TokenGauges};
use super::audit::ApiSurface;
use super::denial::Denial;
use super::hourly::HourlyCounts;
use super::limit::{Limit, LimitUse};
use super::locked;

/// The names and values of labels.
type Labels<const N: usize> = [(&'static str, String); N];

fn labels<const N: usize>(labels: [(&'static str, &str); N]) -> Labels<N> {
    labels.map(|(name, value)| (name, value.to_owned()))
}

/// Typical length of the text of an app without a ledger, with a few clients that may send.
const TYPICAL_BYTES_PER_APP: usize = 1200;

/// Typical length of the rest.
const TYPICAL_BYTES: usize = 32 * 1024;

/// All metrics.
pub(crate) struct Metrics {
    registry: Registry,
    /// For the console.
    pub(crate) hourly: HourlyCounts,
    apps: Arc<AppCounters>,
    /// By API: v1, then Weixin-compatible.
    reads: [Counter; 2],
    denials: Family<Labels<2>, Counter>,
    sends: Arc<SendCounters>,
    refusals: Family<Labels<2>, Counter>,
    durations: Family<Labels<2>, Histogram>,
    limit_used: Family<Labels<1>, Gauge>,
    limit_max: Family<Labels<1>, Gauge>,
    limit_reached: Family<Labels<1>, Counter>,
    audit_failures: Counter,
    reload_succeeded: Gauge,
    reload_time: Gauge,
    certificate_end: Family<Labels<0>, Gauge>,
    ledger_up: Family<Labels<0>, Gauge>,
    enqueued: Family<Labels<2>, Counter>,
    idempotency: Family<Labels<1>, Counter>,
    settled: Family<Labels<2>, Counter>,
    reclaimed: Counter,
    inbox_rejected: Counter,
    inbox_failures: Counter,
    late_responses: Counter,
    commits: Family<Labels<0>, Histogram>,
    lag: Histogram,
    webhook_attempts: Family<Labels<2>, Counter>,
    /// What the ledger has of the endpoints.
    endpoints: Mutex<Vec<EndpointStatus>>,
    /// For the problems of the server.
    replaced_endpoints: Mutex<Vec<String>>,
    /// The inboxes whose attempts fail, by their names. For the problems of the server.
    failing_inboxes: Mutex<BTreeMap<String, FailingInbox>>,
}

/// Why the attempts to take rows of an inbox fail.
#[derive(Debug, Clone)]
pub(crate) struct FailingInbox {
    pub(crate) since: UnixMillis,
    pub(crate) error: LocalizedText<String>,
    /// So many attempts have failed in a row.
    pub(crate) failures: u32,
}

fn seconds(at: UnixMillis) -> i64 {
    i64::try_from(at.get() / 1000).unwrap_or(i64::MAX)
}

fn histogram() -> Histogram {
    Histogram::new([
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    ])
}

/// The metrics that are registered already.
#[derive(Default)]
struct NewMetrics(Registry);

impl NewMetrics {
    fn add<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.add_as(name, help, M::default())
    }

    fn add_as<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }
}

impl Metrics {
    #[expect(clippy::too_many_lines, reason = "one entry for each metric")]
    pub(crate) fn new(clock: &Arc<dyn Clock>) -> Self {
        let mut new = NewMetrics::default();
        let reads: Family<Labels<1>, Counter> = new.add("wxsub_token_reads", "Tokens served");
        let reads = [ApiSurface::V1, ApiSurface::Weixin]
            .map(|api| reads.get_or_create_owned(&labels([("api", api.as_str())])));
        let used = "How much of a limit is in use; of a limit for each key or address, the most that one of them uses";
        let durations = "From the head of a request to the head of its response";
        let commits = "Duration of a commit to the ledger, which holds the changes of several requests";
        let lag = Histogram::new([0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0]);
        let metrics = Self {
            hourly: HourlyCounts::new(clock),
            apps: Arc::default(),
            reads,
            sends: Arc::default(),
            limit_used: new.add("wxsub_limit_used", used),
            limit_max: new.add("wxsub_limit_max", "The limit"),
            limit_reached: new.add("wxsub_limit_reached", "How often a limit was reached"),
            denials: new.add("wxsub_denials", "Denied requests by reason"),
            refusals: new.add(
                "wxsub_refusals",
                "Refusals by Weixin: each refused token call, and each refused message",
            ),
            durations: new.add_as(
                "wxsub_http_request_duration_seconds",
                durations,
                Family::new_with_constructor(histogram),
            ),
            audit_failures: new.add("wxsub_audit_failures", "Audit lines that were not recorded"),
            reload_succeeded: new.add(
                "wxsub_config_last_reload_successful",
                "1 if the configuration in use is the one that was read last",
            ),
            reload_time: new.add(
                "wxsub_config_last_reload_success_timestamp_seconds",
                "When the configuration in use was read",
            ),
            certificate_end: new.add(
                "wxsub_certificate_expiry_timestamp_seconds",
                "When the first certificate of tls_cert_file ends",
            ),
            ledger_up: new.add(
                "wxsub_ledger_up",
                "1 unless the last commit to the ledger failed; absent without a ledger",
            ),
            settled: new.add("wxsub_outbox_settled", "Messages that this process found final, by outcome"),
            reclaimed: new.add(
                "wxsub_outbox_reclaimed",
                "Messages that may have been sent because their worker was gone",
            ),
            late_responses: new
                .add("wxsub_outbox_late_responses", "Responses to attempts that had been given up"),
            commits: new.add_as(
                "wxsub_ledger_commit_seconds",
                commits,
                Family::new_with_constructor(histogram),
            ),
            lag: new.add_as(
                "wxsub_outbox_lag_seconds",
                "From when a queued message was due to its last attempt",
                lag,
            ),
            enqueued: new.add("wxsub_outbox_enqueued", "Messages that were recorded in the queue"),
            inbox_rejected: new
                .add("wxsub_inbox_rejected", "Rows of inboxes that cannot be taken and stay in their table"),
            inbox_failures: new.add("wxsub_inbox_failures", "Attempts to take rows of inboxes that failed"),
            idempotency: new.add("wxsub_idempotency", "Requests with an idempotency key by result"),
            webhook_attempts: new
                .add("wxsub_webhook_attempts", "Attempts to deliver a webhook, by endpoint and result"),
            endpoints: Mutex::default(),
            replaced_endpoints: Mutex::default(),
            failing_inboxes: Mutex::default(),
            registry: new.0,
        };
        for limit in Limit::ALL {
            metrics.limit_reached.get_or_create(&labels([("limit", limit.as_str())])).inc_by(0);
        }
        for api in ApiSurface::ALL {
            for denial in Denial::ALL {
                let labels = labels([("api", api.as_str()), ("reason", denial.as_str())]);
                metrics.denials.get_or_create(&labels).inc_by(0);
            }
        }
        metrics
    }

    /// Counts an event of a token cache.
    pub(crate) fn record_token_event(&self, appid: &AppId, event: &TokenEvent) {
        let count = match event {
            TokenEvent::Refreshed { origin: TokenOrigin::Adopted, .. } => AppCount::FetchAdopted,
            TokenEvent::Refreshed { origin: TokenOrigin::Fetched, .. } => AppCount::FetchIssued,
            TokenEvent::Refreshed { origin: TokenOrigin::FetchedWithoutLease, .. } => {
                AppCount::FetchWithoutLease
            }
            TokenEvent::Unchanged { .. } => AppCount::FetchUnchanged,
            TokenEvent::FetchFailed { failure, .. } => {
                if let TokenErrorKind::Refused(refusal) = failure {
                    self.record_refusal(appid, refusal.errcode());
                }
                AppCount::FetchFailed
            }
            TokenEvent::InvalidatedExternally { .. } => AppCount::InvalidatedExternally,
            _ => return,
        };
        match count {
            AppCount::FetchIssued | AppCount::FetchWithoutLease => {
                self.hourly.count(|hour| hour.fetched += 1);
            }
            AppCount::FetchFailed => self.hourly.count(|hour| hour.fetch_failed += 1),
            _ => {}
        }
        self.apps.increment(appid.clone(), count as usize);
    }

    pub(crate) fn record_read(&self, api: ApiSurface) {
        let [v1, weixin] = &self.reads;
        match api {
            ApiSurface::V1 => v1.inc(),
            ApiSurface::Weixin => weixin.inc(),
        };
    }

    pub(crate) fn record_denial(&self, api: ApiSurface, denial: Denial) {
        self.denials.get_or_create(&labels([("api", api.as_str()), ("reason", denial.as_str())])).inc();
    }

    pub(crate) fn record_limit(&self, limit: Limit) {
        self.limit_reached.get_or_create(&labels([("limit", limit.as_str())])).inc();
    }

    pub(crate) fn record_app_count(&self, appid: &AppId, count: AppCount) {
        self.apps.increment(appid.clone(), count as usize);
    }

    /// Counts a message. `client` is the client whose key authorized it.
    pub(crate) fn record_send(&self, appid: &AppId, client: Option<&str>, outcome: &'static str) {
        self.sends.increment((appid.clone(), client.unwrap_or_default().to_owned(), outcome), 0);
    }

    /// Counts a message that was recorded in the queue, or was recorded there before.
    pub(crate) fn record_enqueued(&self, appid: &AppId, is_replayed: bool) {
        match is_replayed {
            true => self.record_idempotency("replayed"),
            false => {
                let labels = labels([("appid", appid.as_str()), ("via", "http")]);
                self.enqueued.get_or_create(&labels).inc();
            }
        }
    }

    /// Counts a message of the outbox that became final.
    pub(crate) fn record_settled(&self, message: &StoredMessage) {
        // It was counted before its decision.
        if message.decision.is_some() {
            return;
        }
        let labels = labels([("appid", message.appid.as_str()), ("outcome", message.state.as_str())]);
        self.settled.get_or_create(&labels).inc();
        self.hourly.count_send(message.state.as_str());
        if let (MessageState::Refused, Some(errcode)) = (message.state, message.detail.errcode) {
            self.record_refusal(&message.appid, errcode);
        }
        if message.reason == Some(Reason::WorkerLost) {
            self.reclaimed.inc();
        }
        if let (Mode::Queued, Some(attempted_at)) = (message.mode, message.attempted_at) {
            self.lag.observe(attempted_at.since(message.due_at).as_secs_f64());
        }
    }

    /// Counts a commit to the ledger.
    pub(crate) fn record_commit(&self, event: &CommitEvent) {
        self.commits.get_or_create(&[]).observe(event.duration.as_secs_f64());
        self.late_responses.inc_by(event.late_answers);
    }

    /// Counts rows of inboxes that stay in their table, with their error.
    pub(crate) fn record_inbox_rejected(&self, rows: u64) {
        self.inbox_rejected.inc_by(rows);
        self.hourly.count(|hour| hour.inbox_rejected += rows);
    }

    /// Records how the last attempt to take rows of an inbox ended. `failures` are those in a row.
    pub(crate) fn record_inbox(
        &self,
        name: &str,
        failures: u32,
        error: Option<LocalizedText<String>>,
        now: UnixMillis,
    ) {
        let mut failing = locked(&self.failing_inboxes);
        let known = failing.remove(name);
        let Some(error) = error else { return };
        let counted = known.as_ref().map_or(0, |known| known.failures);
        self.inbox_failures.inc_by(failures.saturating_sub(counted).into());
        let since = known.map_or(now, |known| known.since);
        failing.insert(name.to_owned(), FailingInbox { since, error, failures });
    }

    /// Others take the rows of these inboxes from now on, and count their failures from 0.
    pub(crate) fn forget_inboxes(&self, is_among: impl Fn(&str) -> bool) {
        locked(&self.failing_inboxes).retain(|name, _| !is_among(name));
    }

    pub(crate) fn failing_inboxes(&self) -> BTreeMap<String, FailingInbox> {
        locked(&self.failing_inboxes).clone()
    }

    /// Records what the ledger has of the endpoints, and which ones of this server another server has replaced in it.
    pub(crate) fn record_endpoints(&self, endpoints: Vec<EndpointStatus>, replaced: Vec<String>) {
        *locked(&self.endpoints) = endpoints;
        *locked(&self.replaced_endpoints) = replaced;
    }

    /// The names of the endpoints that get no webhooks because they responded with 410.
    pub(crate) fn disabled_endpoints(&self) -> Vec<String> {
        let endpoints = locked(&self.endpoints);
        let disabled = endpoints.iter().filter(|known| known.endpoint.disabled_at.is_some());
        disabled.map(|known| known.endpoint.name.clone()).collect()
    }

    /// The names of the endpoints of this server that another server has replaced in the ledger.
    pub(crate) fn replaced_endpoints(&self) -> Vec<String> {
        locked(&self.replaced_endpoints).clone()
    }

    /// Creates the counters of an endpoint at 0, so that `increase()` sees the first event.
    pub(crate) fn initialize_webhook(&self, endpoint: &str) {
        for result in ["delivered", "rejected", "gone", "no_response"] {
            let labels = labels([("endpoint", endpoint), ("result", result)]);
            self.webhook_attempts.get_or_create(&labels).inc_by(0);
        }
    }

    /// Counts an attempt to deliver a webhook.
    pub(crate) fn record_webhook(&self, endpoint: &str, result: &'static str) {
        self.webhook_attempts.get_or_create(&labels([("endpoint", endpoint), ("result", result)])).inc();
    }

    /// Counts what came of an idempotency key.
    pub(crate) fn record_idempotency(&self, result: &'static str) {
        self.idempotency.get_or_create(&labels([("result", result)])).inc();
    }

    pub(crate) fn record_refusal(&self, appid: &AppId, errcode: ErrCode) {
        let errcode = if errcode.info().is_some() { errcode.to_string() } else { "other".to_owned() };
        self.refusals.get_or_create(&labels([("appid", appid.as_str()), ("errcode", &errcode)])).inc();
    }

    /// The durations of the responses of a route with this status.
    pub(crate) fn durations(&self, route: &'static str, status: u16) -> Histogram {
        self.durations.get_or_create_owned(&labels([("route", route), ("status", &status.to_string())]))
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

    /// Creates the counters of the outbox of an app at 0, so that `increase()` sees the first event.
    fn initialize_outbox(&self, appid: &AppId) {
        for outcome in ["maybe_sent", "not_sent", "refused"] {
            let labels = labels([("appid", appid.as_str()), ("outcome", outcome)]);
            self.settled.get_or_create(&labels).inc_by(0);
        }
    }

    /// Encodes all metrics as OpenMetrics text, with the current status of each app and limit. `senders` are the clients
    /// that may send messages of an app.
    pub(crate) fn encode(
        &self,
        gauges: Vec<TokenGauges>,
        senders: Box<Senders>,
        limits: &[LimitUse],
        outbox: Option<OutboxStatus>,
    ) -> Result<String, fmt::Error> {
        if let Some(outbox) = &outbox {
            self.ledger_up.get_or_create(&[]).set(outbox.is_ledger_up.into());
            gauges.iter().for_each(|app| self.initialize_outbox(&app.appid));
        }
        let to_i64 = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        for LimitUse { limit, used, max } in limits {
            let labels = labels([("limit", limit.as_str())]);
            self.limit_used.get_or_create(&labels).set(to_i64(*used));
            self.limit_max.get_or_create(&labels).set(to_i64(*max));
        }
        // A text that grows is moved several times, and leaves its old places in the heap.
        let mut text = String::with_capacity(gauges.len() * TYPICAL_BYTES_PER_APP + TYPICAL_BYTES);
        let mut of_apps = Registry::default();
        let (counters, sends) = (Arc::clone(&self.apps), Arc::clone(&self.sends));
        let endpoints = locked(&self.endpoints).clone();
        let collector = AppCollector { gauges, senders, outbox, endpoints, counters, sends };
        of_apps.register_collector(Box::new(collector));
        encode_registry(&mut text, &of_apps)?;
        encode_registry(&mut text, &self.registry)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use wxsub_core::testing::ManualClock;
    use wxsub_outbox::webhook::StoredEndpoint;

    use super::*;

    #[test]
    fn series_of_an_endpoint_are_there_until_it_is_gone() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
        let metrics = Metrics::new(&clock);
        let status = |name: &str| EndpointStatus {
            endpoint: StoredEndpoint {
                name: name.to_owned(),
                url_sha256: [0; 32],
                apps: None,
                events: Default::default(),
                with_openid: false,
                disabled_at: None,
            },
            due_since: None,
            pending: 1,
            dead: 0,
        };
        let has = |name: &str| {
            let (apps, now) = (Vec::new(), clock.now().wall);
            let outbox = Some(OutboxStatus { is_ledger_up: true, apps, now });
            let text = metrics.encode(Vec::new(), Box::new(|_: &AppId| Vec::new()), &[], outbox).unwrap();
            text.contains(&format!("wxsub_webhook_pending{{endpoint=\"{name}\"}}"))
        };
        let both = || vec![status("one"), status("two")];
        metrics.record_endpoints(both(), Vec::new());
        std::thread::scope(|scope| {
            let recording =
                scope.spawn(|| (0..5_000).for_each(|_| metrics.record_endpoints(both(), Vec::new())));
            while !recording.is_finished() {
                assert!(has("one") && has("two"));
            }
        });
        metrics.record_endpoints(vec![status("two")], Vec::new());
        assert!(!has("one") && has("two"));
    }

    /// The worker of the ledger goes on, and counts on from the failures before a reload.
    #[test]
    fn failures_of_an_inbox_that_a_reload_keeps_count_once() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
        let metrics = Metrics::new(&clock);
        let record = |name: &str, failures| {
            let error = LocalizedText::new("away", "away").into();
            metrics.record_inbox(name, failures, Some(error), clock.now().wall);
        };
        record("wxsub_inbox", 7);
        record("inboxes[0]", 2);
        metrics.forget_inboxes(|name| name != "wxsub_inbox");
        record("inboxes[0]", 1);
        record("wxsub_inbox", 8);
        assert_eq!(metrics.inbox_failures.get(), 11);
    }
}
