//! The HTTP API of the control server (`wxsub serve`) as types: paths, requests, responses and problems.
//!
//! The server and its clients use the same types, so no shape is written twice. This crate does no I/O.
//!
//! ```
//! use wxsub_api::{ApiKey, Problem, ProblemKind, TokenResponse, path};
//! use wxsub_proto::AppId;
//!
//! let appid: AppId = "wx0123456789abcdef".parse()?;
//! assert_eq!(path::access_token(&appid), "/v1/apps/wx0123456789abcdef/access_token");
//!
//! let response: TokenResponse<'_> =
//!     serde_json::from_str(r#"{"access_token":"37_abc","expires_in":7200,"generation":1}"#)?;
//! assert_eq!(response.access_token.expose_secret(), "37_abc");
//!
//! let problem: Problem = serde_json::from_str(r#"{"kind":"no_token","detail":"no usable access token"}"#)?;
//! assert_eq!(problem.kind, ProblemKind::NoToken);
//!
//! assert!(ApiKey::from_bearer("Bearer short").is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod api_key;
mod apps;
mod health;
mod outbox;
pub mod path;
mod problem;
#[cfg(feature = "openapi")]
pub mod schema;
mod send_result;
mod token;
mod webhooks;

pub use api_key::ApiKey;
pub use apps::{AppError, AppList, AppOutbox, AppStatus, ServerProblem, StoreProblem};
pub use health::{AppHealth, LedgerHealth, Readiness, ReadinessStatus, UnhealthyApp};
pub use outbox::{
    DecisionRequest, IssuedConsent, LineResult, NewConsent, NewGrant, OutboxApps, PauseRequest,
};
pub use problem::{PROBLEM_JSON, Problem, ProblemExtensions, ProblemKind};
pub use send_result::{FieldError, SendResult, SendStage, SendStatus};
pub use token::{ReportRequest, TokenResponse};
pub use webhooks::{FailedWebhook, Redelivery, WebhookEndpoint, WebhookList};
