//! A client of the control server (`wxsub serve`), over any HTTP transport.
//!
//! The control server has the AppSecrets. Its clients have an [`ApiKey`].
//!
//! [`ControlServer`] sends messages, reads and reports tokens, and lists the apps. Its
//! [`token_cache`](ControlServer::token_cache) is for a `Client` that sends to Weixin directly.
//!
//! ```
//! # use wxsub_core::proto::codec::RawResponse;
//! # use wxsub_core::transport::{HttpRequest, TransportError};
//! use wxsub_client::{ApiKey, ControlServer};
//! use wxsub_core::proto::{AppId, Grant, Message};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let transport = |request: HttpRequest| async move {
//! #     Ok::<_, TransportError>(RawResponse::new(200, r#"{"outcome":"sent"}"#.into()))
//! # };
//! # let key = "a".repeat(ApiKey::LENGTH);
//! let server = ControlServer::new("https://wxsub.internal".parse()?, ApiKey::new(key)?, transport);
//!
//! let appid: AppId = "wx0123456789abcdef".parse()?;
//! let grant = Grant::assume_verified("OPENID", "TEMPLATE_ID", 1000)?;
//! let message = Message::builder(grant).title("Parcel").content("It is here.").build()?;
//! server.send(&appid, &message).await?;
//! # Ok(()) }
//! ```
//!
//! With a ledger, the server records consents and messages. A webhook tells your application how a message ended:
//!
//! ```
//! use std::error::Error;
//!
//! use wxsub_client::{ControlServer, Schedule, WebhookPayload};
//! use wxsub_core::application::{AppId, Clock, Message, SystemClock, WebhookHeaders, WebhookSecret};
//!
//! async fn parcel_leaves(server: &ControlServer, appid: &AppId, message: &Message) -> Result<(), Box<dyn Error>> {
//!     // The same key again is the same message.
//!     let queued = server.enqueue(appid, message, Schedule::default(), Some(&"order-4711".parse()?)).await?;
//!     println!("{} is {}", queued.id, queued.state);
//!     Ok(())
//! }
//!
//! fn receive(secret: &WebhookSecret, headers: WebhookHeaders<'_>, body: &[u8]) -> Result<(), Box<dyn Error>> {
//!     secret.verify(headers, body, SystemClock::new().now().wall)?;
//!     let event: WebhookPayload = serde_json::from_slice(body)?;
//!     println!("{} is {}", event.data.id, event.data.outcome);
//!     Ok(())
//! }
//! ```

mod control_server;
mod error;
mod outbox;

pub use control_server::ControlServer;
pub use error::{ControlServerError, ControlServerSendError};
pub use outbox::{MessageFilter, OutboxLine, Schedule};
pub use wxsub_api::{
    ApiKey, AppError, AppHealth, AppList, AppOutbox, AppStatus, FailedWebhook, FieldError, IssuedConsent,
    LineResult, NewConsent, NewGrant, Problem, ProblemKind, SendResult, SendStatus, ServerProblem,
    WebhookEndpoint, WebhookList,
};
pub use wxsub_outbox::webhook::{WebhookData, WebhookPayload};
pub use wxsub_outbox::{id, idempotency, state, view};
