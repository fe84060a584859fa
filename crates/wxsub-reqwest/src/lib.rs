//! wxsub over [reqwest](https://docs.rs/reqwest). An application needs only this dependency.
//!
//! ```no_run
//! use wxsub_reqwest as wxsub;
//! use wxsub::{Grant, Message};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = wxsub::client("wx0123456789abcdef", "SECRET")?;
//!
//! let grant = Grant::assume_verified("OPENID", "TEMPLATE_ID", 1000)?;
//! let message = Message::builder(grant).title("Parcel").content("Your parcel has arrived.").build()?;
//! client.send(&message).await?;
//! # Ok(()) }
//! ```
//!
//! [`ReqwestTransport`] sends single HTTP/1.1 requests. It follows no redirects, makes no retries and limits the size of
//! response bodies. It uses a proxy only if you set one. Each error says whether the request may have been sent.
//!
//! Set other limits, roots or a proxy with the builder:
//!
//! ```
//! use std::time::Duration;
//! use wxsub_reqwest::{Client, ReqwestTransport, Roots, TransportLimits};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let transport = ReqwestTransport::builder()
//!     .limits(TransportLimits::default().request_timeout(Duration::from_secs(5)))
//!     .roots(Roots::Bundled)
//!     .proxy("http://user:password@10.0.0.1:3128")?
//!     .build()?;
//! let client = Client::builder("wx0123456789abcdef", "SECRET", transport).build()?;
//! # Ok(()) }
//! ```
//!
//! Buffers of reqwest, hyper and rustls temporarily contain requests with secrets. These buffers are not zeroised.

mod error;
mod transport;

pub use transport::{ReqwestTransport, ReqwestTransportBuilder};

/// Grants, the outbox and the other calls of a control server, as types.
pub use wxsub_client as client;
pub use wxsub_client::{ApiKey, ControlServer, ControlServerError, ControlServerSendError};
// `core` and `proto` have the rare names: parts of stores, token sources and transports of your own.
pub use wxsub_core as core;
#[doc(inline)]
pub use wxsub_core::application::*;
pub use wxsub_tls::{BuildError, Roots, TlsConfigError};

/// Creates a client for this app, with default limits, this machine's certificate authorities and no proxy. It fetches
/// tokens from [`TokenEndpoint::Token`].
///
/// Send inside a tokio runtime.
///
/// # Errors
/// [`BuildError::Invalid`] lists all problems of AppID and AppSecret. [`BuildError::Tls`] if this machine has no usable
/// certificate authority. Then use [`Roots::Bundled`] with [`ReqwestTransport::builder`].
pub fn client(
    appid: impl TryInto<AppId, Error: Into<ValidationError>>,
    secret: impl TryInto<AppSecret, Error: Into<ValidationError>>,
) -> Result<Client, BuildError> {
    Ok(Client::builder(appid, secret, ReqwestTransport::new()?).build()?)
}
