//! The sender of webhooks: claims due deliveries, posts them, and records the outcomes.

use std::iter::from_fn;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderValue, Request, header};
use futures_util::future::join_all;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tracing::{error, warn};
use wxsub_core::clock::{Clock, timeout_at};
use wxsub_core::proto::codec::RawResponse;
use wxsub_core::transport::{HttpRequest, Transport, TransportError};
use wxsub_outbox::webhook::{
    DELIVERY_LEASE, DeliveryOutcome, EndpointStatus, StoredDelivery, StoredEndpoint,
};
use wxsub_outbox::{Outbox, OutboxError};
use wxsub_proto::{LocalizedText, localized_text};

use crate::config::{AppAccess, WebhookConfig};
use crate::state::metrics::Metrics;

/// How long an endpoint may take for its response.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);

/// Maximum number of attempts to one endpoint at once. An endpoint that does not respond delays no other one.
const MAX_ATTEMPTS_PER_ENDPOINT: usize = 16;

/// How often the sender looks for due deliveries: other processes on the same ledger record some, too.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The pause after the ledger failed.
const LEDGER_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Enables an endpoint of the ledger, whichever server has it in its configuration, and makes its failed webhooks due. Returns how
/// many; or the endpoints whose apps are all among these, if none of them has this name.
pub(crate) async fn redeliver(
    outbox: &Outbox,
    name: &str,
    apps: &AppAccess,
) -> Result<Result<usize, Vec<String>>, OutboxError> {
    let mut known = outbox.ledger().webhook_endpoints().await?;
    known.retain(|known| apps.includes_all(known.endpoint.apps.as_ref()));
    match known.iter().any(|known| known.endpoint.name == name) {
        true => outbox.redeliver(name).await.map(Ok),
        false => Ok(Err(known.into_iter().map(|known| known.endpoint.name).collect())),
    }
}

/// What to say of endpoints that another server has replaced.
pub(super) fn replaced_warning(endpoints: &[String]) -> LocalizedText<String> {
    let endpoints = endpoints.join(", ");
    localized_text!(
        "another server on the ledger has given these endpoints of webhooks another url, or removed them, so this server delivers \
         nothing to them: {endpoints}; give all servers on the ledger the same [[webhooks]] and reload them",
        "同一消息库的另一台服务器更换了以下 webhook endpoint 的 url，或删除了它们，因此本服务器不向它们投递：{endpoints}；\
         请让使用同一消息库的所有服务器配置相同的 [[webhooks]]，并重新加载"
    )
}

/// What the sender shares with its attempts.
struct Services {
    outbox: Outbox,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// Replaces the transports of the configuration.
    transport: Option<Arc<dyn Transport>>,
    /// An attempt has ended.
    ended: Notify,
}

/// Sends the webhooks of one configuration.
pub(super) struct WebhookSender {
    services: Arc<Services>,
    endpoints: Vec<Endpoint>,
}

/// An endpoint with its permits.
struct Endpoint {
    config: Arc<WebhookConfig>,
    /// One for each attempt that may run now.
    permits: Arc<Semaphore>,
}

impl Endpoint {
    /// Whether the ledger has it with the same URL. Otherwise another server has replaced it.
    fn is_stored_as(&self, status: &EndpointStatus) -> bool {
        let StoredEndpoint { name, url_sha256, .. } = &self.config.endpoint;
        status.endpoint.name == *name && status.endpoint.url_sha256 == *url_sha256
    }
}

impl WebhookSender {
    pub(super) fn new(outbox: &Outbox, services: &super::Services, webhooks: &[Arc<WebhookConfig>]) -> Self {
        let endpoint = |config: &Arc<WebhookConfig>| Endpoint {
            config: Arc::clone(config),
            permits: Arc::new(Semaphore::new(MAX_ATTEMPTS_PER_ENDPOINT)),
        };
        let services = Services {
            outbox: outbox.clone(),
            clock: Arc::clone(&services.clock),
            metrics: Arc::clone(&services.metrics),
            transport: services.transport.clone(),
            ended: Notify::new(),
        };
        Self { services: Arc::new(services), endpoints: webhooks.iter().map(endpoint).collect() }
    }

    /// Sends until `stop` completes, then waits for the claims and attempts under way.
    ///
    /// # Cancel safety
    /// The attempts under way are made again after their lease.
    pub(super) async fn run(self, stop: impl Future<Output = ()>) {
        let mut attempts = JoinSet::new();
        tokio::select! {
            biased;
            () = stop => {}
            () = self.send(&mut attempts) => {}
        }
        while attempts.join_next().await.is_some() {}
    }

    async fn send(&self, attempts: &mut JoinSet<()>) {
        let Services { outbox, clock, metrics, ended, .. } = &*self.services;
        let stored: Vec<StoredEndpoint> =
            self.endpoints.iter().map(|endpoint| endpoint.config.endpoint.clone()).collect();
        stored.iter().for_each(|endpoint| metrics.initialize_webhook(&endpoint.name));
        while let Err(error) = self.replace_endpoints(&stored).await {
            warn!(%error, "writing the endpoints of webhooks to the ledger failed");
            clock.sleep_until(clock.now().mono + LEDGER_RETRY_INTERVAL).await;
        }
        if self.endpoints.is_empty() {
            metrics.record_endpoints(Vec::new(), Vec::new());
            return;
        }
        loop {
            while attempts.try_join_next().is_some() {}
            match outbox.ledger().webhook_endpoints().await {
                Ok(statuses) => {
                    let replaced = self.replaced(&statuses);
                    metrics.record_endpoints(statuses.clone(), replaced);
                    let is_due =
                        |one: &&EndpointStatus| one.due_since.is_some() && one.endpoint.disabled_at.is_none();
                    for due in statuses.iter().filter(is_due) {
                        if let Some(endpoint) = self.endpoints.iter().find(|one| one.is_stored_as(due)) {
                            self.claim(endpoint, attempts);
                        }
                    }
                }
                Err(error) => warn!(%error, "reading the endpoints of webhooks failed"),
            }
            tokio::select! {
                () = clock.sleep_until(clock.now().mono + POLL_INTERVAL) => {}
                () = ended.notified() => {}
            }
        }
    }

    /// The endpoints that another server has replaced in the ledger, by their names. This server delivers nothing to them. The log has
    /// a line when one is found.
    fn replaced(&self, statuses: &[EndpointStatus]) -> Vec<String> {
        let known = self.services.metrics.replaced_endpoints();
        let is_stored = |one: &&Endpoint| statuses.iter().any(|status| one.is_stored_as(status));
        let replaced = self.endpoints.iter().filter(|one| !is_stored(one));
        let replaced: Vec<_> = replaced.map(|one| one.config.endpoint.name.clone()).collect();
        let new: Vec<_> = replaced.iter().filter(|name| !known.contains(name)).cloned().collect();
        if !new.is_empty() {
            warn!("{}", replaced_warning(&new));
        }
        replaced
    }

    /// Writes the configured endpoints to the ledger, in place of those that it has.
    ///
    /// Warns of those that are removed while webhooks wait for them. Nothing is delivered to an endpoint that is not configured, and
    /// after its retention the webhook is deleted.
    async fn replace_endpoints(&self, configured: &[StoredEndpoint]) -> Result<(), OutboxError> {
        let known = self.services.outbox.ledger().webhook_endpoints().await?;
        self.services.outbox.set_endpoints(configured.to_vec()).await?;
        let is_removed = |known: &&EndpointStatus| {
            configured.iter().all(|endpoint| endpoint.name != known.endpoint.name)
                && known.pending + known.dead > 0
        };
        for EndpointStatus { endpoint, pending, dead, .. } in known.iter().filter(is_removed) {
            warn!(
                endpoint = endpoint.name,
                pending,
                dead,
                "an endpoint of waiting webhooks is not configured any more; configure an endpoint with this name"
            );
        }
        Ok(())
    }

    /// Claims deliveries and attempts them, in a task: when this sender stops, a claim that has begun is used.
    fn claim(&self, endpoint: &Endpoint, attempts: &mut JoinSet<()>) {
        let Endpoint { config, permits } = endpoint;
        let permits: Vec<_> = from_fn(|| Arc::clone(permits).try_acquire_owned().ok()).collect();
        if !permits.is_empty() {
            let (services, config) = (Arc::clone(&self.services), Arc::clone(config));
            attempts.spawn(async move { services.claim(&config, permits).await });
        }
    }
}

impl Services {
    /// Claims as many deliveries as there are permits, and attempts them.
    async fn claim(&self, config: &WebhookConfig, permits: Vec<OwnedSemaphorePermit>) {
        let before = self.clock.now();
        let claimed = match self.outbox.claim_deliveries(&config.endpoint, permits.len()).await {
            Ok(claimed) => claimed,
            Err(error) => {
                warn!(%error, endpoint = config.endpoint.name, "claiming webhooks failed");
                return;
            }
        };
        let attempts = claimed.into_iter().zip(permits).map(|(delivery, permit)| async move {
            // Another process may have it from then on.
            let lease_end = before + DELIVERY_LEASE;
            if !(lease_end.before(ATTEMPT_TIMEOUT)).is_past(self.clock.now()) {
                self.attempt(config, delivery).await;
            }
            drop(permit);
            self.ended.notify_one();
        });
        join_all(attempts).await;
    }

    /// Posts a delivery once, and records the outcome.
    async fn attempt(&self, config: &WebhookConfig, delivery: StoredDelivery) {
        let name = &config.endpoint.name;
        let transport = self.transport.as_ref().unwrap_or(&config.transport);
        let now = self.clock.now();
        let request = request(config, &delivery, now.wall.get() / 1000);
        let response = timeout_at(&*self.clock, now.mono + ATTEMPT_TIMEOUT, transport.execute(request)).await;
        let (result, outcome) = outcome(config.endpoint.url_sha256, response);
        self.metrics.record_webhook(name, result);
        let (id, attempt) = (delivery.id, delivery.attempt);
        let lease_end = now + DELIVERY_LEASE;
        loop {
            match self.outbox.settle_delivery(id.clone(), attempt, outcome.clone()).await {
                // A newer attempt is under way.
                Ok(Some(delivery)) if delivery.attempt != attempt => return,
                Ok(Some(delivery)) => {
                    let webhook = id.webhook_id();
                    let error = delivery.error.unwrap_or_default();
                    match delivery.due_at {
                        Some(_) => warn!(endpoint = name, webhook, attempt, error, "a webhook failed"),
                        None => {
                            error!(endpoint = name, webhook, attempt, error, "a webhook is a dead letter");
                        }
                    }
                    return;
                }
                Ok(None) => return,
                Err(error) => warn!(%error, endpoint = name, "the outcome of a webhook was not recorded"),
            }
            if lease_end.is_past(self.clock.now()) {
                return;
            }
            self.clock.sleep_until(self.clock.now().mono + LEDGER_RETRY_INTERVAL).await;
        }
    }
}

/// The request of one attempt, signed now.
fn request(config: &WebhookConfig, delivery: &StoredDelivery, timestamp_s: u64) -> HttpRequest {
    let id = delivery.id.webhook_id();
    let body = delivery.body.as_bytes();
    let sign = |secret: &wxsub_core::webhook::WebhookSecret| secret.sign(&id, timestamp_s, body);
    let signatures = config.secrets.iter().map(sign).collect::<Vec<_>>().join(" ");
    let mut request = Request::new(Bytes::copy_from_slice(body));
    *request.method_mut() = axum::http::Method::POST;
    request.uri_mut().clone_from(&config.url);
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("webhook-timestamp", HeaderValue::from(timestamp_s));
    // Both are visible ASCII.
    for (name, value) in [("webhook-id", &id), ("webhook-signature", &signatures)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    // An endpoint may close the connection instead of saying how long its body is.
    HttpRequest::from_http(request).ignore_response_body()
}

/// What a response means: the label of the metric, and what the ledger records. `None` if there was none in time.
fn outcome(
    url_sha256: [u8; 32],
    response: Option<Result<RawResponse<Bytes>, TransportError>>,
) -> (&'static str, DeliveryOutcome) {
    let failed = |error: String, retry_after| DeliveryOutcome::Failed { error, retry_after };
    match response {
        Some(Ok(RawResponse { status: 200..=299, .. })) => ("delivered", DeliveryOutcome::Delivered),
        Some(Ok(RawResponse { status: 410, .. })) => ("gone", DeliveryOutcome::Gone { url_sha256 }),
        Some(Ok(RawResponse { status: status @ 300..=399, retry_after, .. })) => {
            let error = format!("status {status}: a redirect, which is not followed; correct the url");
            ("rejected", failed(error, retry_after))
        }
        Some(Ok(RawResponse { status, retry_after, .. })) => {
            ("rejected", failed(format!("status {status}"), retry_after))
        }
        Some(Err(error)) => ("no_response", failed(error.to_string(), None)),
        None => {
            let seconds = ATTEMPT_TIMEOUT.as_secs();
            ("no_response", failed(format!("no complete response within {seconds} s"), None))
        }
    }
}
