//! Endpoints of webhooks, and the webhooks that were not delivered: the response of [`WEBHOOKS`](crate::path::WEBHOOKS).

use serde::{Deserialize, Serialize};

/// The endpoints that get webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Webhooks))]
#[non_exhaustive]
pub struct WebhookList {
    /// The endpoints, by their names.
    pub endpoints: Vec<WebhookEndpoint>,
}

/// An endpoint. It contains no secret and no URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct WebhookEndpoint {
    /// Its name.
    pub name: String,
    /// When it responded with 410, in RFC 3339. It gets no webhooks since then. Absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<String>,
    /// Webhooks that are to be delivered; 1000 stands for more.
    pub pending: u64,
    /// Webhooks that are not tried again by themselves; 1000 stands for more.
    pub dead: u64,
    /// The oldest webhooks whose last attempt failed.
    pub failed: Vec<FailedWebhook>,
}

/// A webhook whose last attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<String>,
}

/// The response to a redelivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Redelivery {
    /// How many webhooks are due.
    pub due: usize,
}

impl WebhookList {
    /// The response with these endpoints.
    #[must_use]
    pub fn new(endpoints: Vec<WebhookEndpoint>) -> Self {
        Self { endpoints }
    }
}

impl WebhookEndpoint {
    /// An endpoint without failed webhooks.
    #[must_use]
    pub fn new(name: String, disabled_at: Option<String>, pending: u64, dead: u64) -> Self {
        Self { name, disabled_at, pending, dead, failed: Vec::new() }
    }
}

impl FailedWebhook {
    /// A webhook that failed.
    #[must_use]
    pub fn new(
        id: String,
        event: &str,
        attempts: u32,
        error: String,
        created_at: String,
        due_at: Option<String>,
    ) -> Self {
        Self { id, event: event.to_owned(), attempts, error, created_at, due_at }
    }
}

impl Redelivery {
    /// The response with this number of webhooks.
    #[must_use]
    pub fn new(due: usize) -> Self {
        Self { due }
    }
}
