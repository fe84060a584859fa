//! Endpoints of webhooks, and the webhooks that were not delivered: the response of [`WEBHOOKS`](crate::path::WEBHOOKS).

use serde::{Deserialize, Serialize};

/// The endpoints that get webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Webhooks))]
pub struct WebhookList {
    /// The endpoints, by their names.
    pub endpoints: Vec<WebhookEndpoint>,
}

/// An endpoint. It contains no secret and no URL.
#[serde_with::skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhookEndpoint {
    /// Its name.
    pub name: String,
    /// When it responded with 410, in RFC 3339. It gets no webhooks since then. Absent otherwise.
    pub disabled_at: Option<String>,
    /// Webhooks that are to be delivered; 1000 stands for more.
    pub pending: u64,
    /// Webhooks that are not tried again by themselves; 1000 stands for more.
    pub dead: u64,
    /// How long a webhook has been due that no server has attempted to deliver, in seconds. Absent if there is none, and for a
    /// disabled endpoint.
    pub oldest_due_s: Option<u64>,
    /// The oldest webhooks whose last attempt failed.
    pub failed: Vec<FailedWebhook>,
}

/// A webhook whose last attempt failed.
#[serde_with::skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FailedWebhook {
    /// The header `webhook-id`: the message and its sequence.
    pub id: String,
    /// What happened, such as `message.sent`.
    pub event: String,
    /// How many attempts failed.
    pub attempts: u32,
    /// Why the last one failed.
    pub error: String,
    /// When it happened, in RFC 3339.
    pub created_at: String,
    /// When it is tried again, in RFC 3339. Absent if it is not.
    pub due_at: Option<String>,
}

/// The response to a redelivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Redelivery {
    /// How many webhooks are due.
    pub due: usize,
}
