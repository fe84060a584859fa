//! `/v1/webhooks`: the endpoints of webhooks, and redelivery, for operators.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use wxsub_api::{FailedWebhook, Problem, ProblemKind, Redelivery, WebhookEndpoint, WebhookList};
use wxsub_core::rfc3339;
use wxsub_outbox::webhook::{EndpointStatus, StoredDelivery, StoredEndpoint};
use wxsub_outbox::{Outbox, OutboxError};

use super::apps::Operator;
use super::ledger::{no_ledger, work_on_ledger};
use super::{ProblemResponse, path_param};
use crate::api::request::{Json, RequestContext};
use crate::apps::ServerState;
use crate::config::ApiClient;

/// How many failed webhooks of an endpoint are listed.
const MAX_LISTED: usize = 100;

/// An operator of a server with a ledger. An axum extractor.
pub(in crate::api) struct WebhookOperator {
    context: RequestContext,
    client: Arc<ApiClient>,
    outbox: Outbox,
}

/// The name of an endpoint in the path. An axum extractor.
pub(in crate::api) struct EndpointPath(String);

impl FromRequestParts<Arc<ServerState>> for WebhookOperator {
    type Rejection = ProblemResponse;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<ServerState>,
    ) -> Result<Self, ProblemResponse> {
        let Operator { context, client } = Operator::from_request_parts(parts, state).await?;
        match context.snapshot().outbox.as_ref().map(|outbox| outbox.outbox().clone()) {
            Some(outbox) => Ok(Self { context, client, outbox }),
            None => {
                context.audit(|entry| entry.outcome = "no_ledger");
                Err(no_ledger())
            }
        }
    }
}

impl FromRequestParts<Arc<ServerState>> for EndpointPath {
    type Rejection = ProblemResponse;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<ServerState>,
    ) -> Result<Self, ProblemResponse> {
        Ok(Self(path_param(parts, state, "name").await.unwrap_or_default()))
    }
}

impl WebhookOperator {
    /// Whether the key may use all apps of the endpoint. To other keys it does not exist.
    fn can_access(&self, endpoint: &StoredEndpoint) -> bool {
        self.client.apps.includes_all(endpoint.apps.as_ref())
    }

    /// Does this work on the ledger, until the deadline of the request.
    async fn work<T>(
        &self,
        work: impl Future<Output = Result<T, OutboxError>>,
    ) -> Result<T, ProblemResponse> {
        work_on_ledger(&self.context, work).await
    }
}

fn failed(delivery: StoredDelivery) -> FailedWebhook {
    FailedWebhook {
        id: delivery.id.webhook_id(),
        event: delivery.event.to_string(),
        attempts: delivery.attempt,
        error: delivery.error.unwrap_or_default(),
        created_at: rfc3339::format(delivery.created_at),
        due_at: delivery.due_at.map(rfc3339::format),
    }
}

#[utoipa::path(
    get,
    path = "/v1/webhooks",
    operation_id = "list_webhooks",
    summary = "The endpoints of webhooks whose apps the key may all use, and what was not delivered; needs admin",
    responses(
        (status = 200, body = WebhookList, description = "The endpoints"),
        (status = 403, body = Problem, description = "The key lacks the scope"),
        (status = 404, body = Problem, description = "No ledger")
    )
)]
pub(in crate::api) async fn list(operator: WebhookOperator) -> Result<Json<WebhookList>, ProblemResponse> {
    let listed = async {
        let ledger = operator.outbox.ledger();
        let mut endpoints = Vec::new();
        let mut known = ledger.webhook_endpoints().await?;
        known.retain(|status| operator.can_access(&status.endpoint));
        let now = operator.context.state().clock().now().wall;
        for EndpointStatus { endpoint, due_since, pending, dead } in known {
            let deliveries = ledger.failed_deliveries(&endpoint.name, MAX_LISTED).await?;
            let failed = deliveries.into_iter().map(failed).collect();
            let due_since = due_since.filter(|_| endpoint.disabled_at.is_none());
            let oldest_due_s = due_since.map(|since| now.since(since).as_secs());
            let disabled_at = endpoint.disabled_at.map(rfc3339::format);
            endpoints.push(WebhookEndpoint {
                name: endpoint.name,
                disabled_at,
                pending,
                dead,
                oldest_due_s,
                failed,
            });
        }
        Ok(WebhookList { endpoints })
    };
    operator.work(listed).await.map(Json)
}

#[utoipa::path(
    post,
    path = "/v1/webhooks/{name}/redeliver",
    operation_id = "redeliver_webhooks",
    summary = "Enables an endpoint, and tries its failed webhooks again now; needs admin",
    params(("name" = String, Path, description = "The endpoint")),
    responses(
        (status = 200, body = Redelivery, description = "How many webhooks are due"),
        (status = 403, body = Problem, description = "The key lacks the scope"),
        (status = 404, body = Problem, description = "No such endpoint, or no ledger")
    )
)]
pub(in crate::api) async fn redeliver(
    operator: WebhookOperator,
    EndpointPath(name): EndpointPath,
) -> Result<Json<Redelivery>, ProblemResponse> {
    let snapshot = operator.context.snapshot();
    let endpoints = snapshot.webhooks.iter().map(|webhook| &webhook.endpoint);
    let names: Vec<_> = endpoints
        .filter(|endpoint| operator.can_access(endpoint))
        .map(|endpoint| endpoint.name.as_str())
        .collect();
    if !names.contains(&name.as_str()) {
        operator.context.audit(|entry| entry.outcome = "not_found");
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let detail = format!(
            "there is no endpoint with this name; use one of the [[webhooks]] of the server: {names}"
        );
        return Err(ProblemResponse::new(ProblemKind::NotFound, detail));
    }
    // No user of the console has a name with a colon.
    let actor = format!("client:{}", operator.client.name);
    let address = operator.context.address().map(|address| address.to_string()).unwrap_or_default();
    let outbox = operator.outbox.for_operator(&actor, &address);
    operator.work(outbox.redeliver(&name)).await.map(|due| Json(Redelivery { due }))
}
