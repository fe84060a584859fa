//! The control server: it fetches and serves the access tokens of many apps.
//!
//! AppSecrets stay on one server. Services do not invalidate each other's tokens, and they do not all refresh at expiry.
//!
//! `wxsub serve` runs the server. It can also be part of your axum application:
//!
//! ```
//! use std::net::SocketAddr;
//!
//! use wxsub_server::{Config, ApiKeyDigest, Server, generate_api_key};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = generate_api_key()?;
//! let text = format!(
//!     r#"
//!         [[apps]]
//!         appid = "wx0123456789abcdef"
//!         secret_env = "SECRET"
//!         token_endpoint = "token"
//!         api_base = "http://127.0.0.1:8459"
//!
//!         [[clients]]
//!         name = "orders"
//!         key_sha256 = "{}"
//!         apps = ["wx0123456789abcdef"]
//!         scopes = ["token:read", "message:send"]
//!     "#,
//!     ApiKeyDigest::of(&key)
//! );
//! let (config, warnings) = Config::read(&text, |name| (name == "SECRET").then(|| "play-money".to_owned()))?;
//! assert!(warnings.is_empty());
//!
//! let server = Server::builder(config).build().await?;
//! let application = axum::Router::new().merge(server.router());
//! // For axum::serve. The server gets the address of each client from the connect info.
//! let service = application.into_make_service_with_connect_info::<SocketAddr>();
//! # drop(service);
//! # Ok(()) }
//! ```
//!
//! The server has two APIs. `/openapi.json` describes the v1 API under `/v1`. The Weixin-compatible API serves existing SDKs.
//! `/livez`, `/readyz` and `/metrics` need no key.

// The layers, from the lowest to the highest: config, state, apps, api, console, serve. A layer uses only lower ones.
mod api;
mod apps;
mod config;
mod console;
mod serve;
mod state;

pub use api::weixin_compat::MAYBE_SENT;
pub use apps::{failed_send, stored_send};
pub use config::{
    ApiKeyDigest, Config, ConfigError, Diagnostic, MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, generate_api_key,
    hash_password, ignored_proxy, is_client_name,
};
pub use serve::{BuildError, NeedsRestart, OpenLedgerError, Server, ServerBuilder, StartCheck};
pub use state::store::{FileStore, StateError};
pub use wxsub_core::consent::RngError;
