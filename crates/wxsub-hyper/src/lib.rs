//! wxsub over [hyper](https://docs.rs/hyper). An application needs only this dependency.
//!
//! ```no_run
//! use wxsub_hyper as wxsub;
//! use wxsub::proto::{Grant, Scene};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = wxsub::client("wx0123456789abcdef".parse()?, "SECRET".parse()?)?;
//!
//! let grant = Grant::assume_verified("OPENID".parse()?, "TEMPLATE_ID".parse()?, Scene::new(1000)?);
//! let message = grant.message("Parcel".parse()?, "Your parcel has arrived.".parse()?);
//! client.send(&message).await?;
//! # Ok(()) }
//! ```
//!
//! [`HyperTransport`] sends single HTTP/1.1 requests. It follows no redirects, makes no retries and limits the size of
//! response bodies. It uses a proxy only if you set one. Each error says whether the request may have been sent.
//!
//! Set other limits, roots or a proxy with the builder:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use wxsub_hyper::{Client, HyperTransport, Roots, TransportLimits};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let transport = HyperTransport::builder()
//!     .limits(TransportLimits::default().request_timeout(Duration::from_secs(5)))
//!     .roots(Roots::Bundled)
//!     .proxy("http://user:password@10.0.0.1:3128")?
//!     .build()?;
//! let client = Client::builder("wx0123456789abcdef".parse()?, "SECRET".parse()?, Arc::new(transport)).build();
//! # Ok(()) }
//! ```
//!
//! `wxsub-reqwest` offers the same API. It has more dependencies and also supports a proxy that speaks TLS itself.
//!
//! Buffers of hyper and rustls temporarily contain requests with secrets. These buffers are not zeroised.

mod builder;
mod connect;
mod error;
mod pool;
mod proxy;
mod timeout;
mod transport;

pub use builder::{BuildError, HyperTransportBuilder};
pub use transport::HyperTransport;

pub use wxsub_core as core;
pub use wxsub_core::proto;
pub use wxsub_core::transport::TransportLimits;
pub use wxsub_core::{Client, ConsentVerifier, SendError};
pub use wxsub_tls::{Roots, TlsConfigError};

use std::sync::Arc;

use wxsub_core::proto::{AppId, AppSecret};

/// A client for this app, with default limits, this machine's certificate authorities and no proxy.
///
/// Send inside a tokio runtime.
///
/// # Errors
/// [`BuildError::Tls`] if this machine has no usable certificate authority. Then use [`Roots::Bundled`] with
/// [`HyperTransport::builder`].
pub fn client(appid: AppId, secret: AppSecret) -> Result<Client, BuildError> {
    let transport = HyperTransport::new()?;
    Ok(Client::builder(appid, secret, Arc::new(transport)).build())
}
