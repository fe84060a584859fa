//! `/v1/webhooks`: the endpoints of webhooks, and redelivery, for operators.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use wxsub_api::{FailedWebhook, Problem, ProblemKind, Redelivery, WebhookEndpoint, WebhookList};
use wxsub_core::rfc3339;
use wxsub_outbox::webhook::{EndpointStatus, StoredDelivery};

use super::ledger::LedgerClient;
use super::{ProblemResponse, path_param};
use crate::api::request::Json;
use crate::apps::{self, SharedState};

/// How many failed webhooks of an endpoint are listed.
const MAX_LISTED: usize = 100;

/// The name of an endpoint in the path. An axum extractor.
pub(in crate::api) struct EndpointPath(String);

impl FromRequestParts<SharedState> for EndpointPath {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, state: &SharedState) -> Result<Self, ProblemResponse> {
        Ok(Self(path_param(parts, state, "name").await.unwrap_or_default()))
    }
}

fn failed(delivery: StoredDelivery) -> FailedWebhook {
    FailedWebhook {
        id: delivery.id.webhook_id(),
        event: delivery.event,
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
        (status = 200, body = WebhookList, description = "The endpoints")
    )
)]
pub(in crate::api) async fn list(client: LedgerClient) -> Result<Json<WebhookList>, ProblemResponse> {
    let listed = async {
        let ledger = client.outbox.ledger();
        let mut endpoints = Vec::new();
        let mut known = ledger.webhook_endpoints().await?;
        known.retain(|status| client.client.apps.includes_all(status.endpoint.apps.as_ref()));
        let now = client.now();
        for EndpointStatus { endpoint, due_since, pending, dead } in known {
            let deliveries = ledger.failed_deliveries(&endpoint.name, None, MAX_LISTED).await?;
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
    client.work(listed).await.map(Json)
}

#[utoipa::path(
    post,
    path = "/v1/webhooks/{name}/redeliver",
    operation_id = "redeliver_webhooks",
    summary = "Enables an endpoint, and tries its failed webhooks again now; needs admin",
    params(("name" = String, Path, description = "The endpoint")),
    responses(
        (status = 200, body = Redelivery, description = "How many webhooks are due"),
        (status = 404, body = Problem, description = "No such endpoint, or no ledger")
    )
)]
pub(in crate::api) async fn redeliver(
    client: LedgerClient,
    EndpointPath(name): EndpointPath,
) -> Result<Json<Redelivery>, ProblemResponse> {
    // No user of the console has a name with a colon.
    let actor = format!("client:{}", client.client.name);
    let address = client.context.address().map(|address| address.to_string()).unwrap_or_default();
    let outbox = client.outbox.for_operator(&actor, &address);
    let due = client.work(apps::redeliver(&outbox, &name, &client.client.apps)).await?;
    due.map(|due| Json(Redelivery { due })).map_err(|names| {
        client.context.audit(|entry| entry.outcome = "not_found");
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let detail =
            format!("there is no endpoint with this name; use one of the endpoints of the ledger: {names}");
        ProblemResponse::new(ProblemKind::NotFound, detail)
    })
}
