//! wxsub over [reqwest](https://docs.rs/reqwest): everything an application needs, with one dependency.
//!
//! ```no_run
//! use wxsub_reqwest as wxsub;
//! use wxsub::proto::{Grant, Scene};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = wxsub::client("wx0123456789abcdef".parse()?, "SECRET".parse()?)?;
//!
//! let grant = Grant::trusted("OPENID".parse()?, "TEMPLATE_ID".parse()?, Scene::new(1000)?);
//! let message = grant.message("Parcel".parse()?, "It is here.".parse()?);
//! client.send(&message).await?;
//! # Ok(()) }
//! ```
//!
//! [`ReqwestTransport`] carries out single HTTP exchanges the way wxsub wants them: HTTP/1.1, no redirects, no retries,
//! no proxy but the one you name, bounded bodies, and errors that say whether the request can have left. With limits,
//! roots or a proxy of your own:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use wxsub_reqwest::{Client, Limits, ReqwestTransport, Roots};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let transport = ReqwestTransport::builder()
//!     .limits(Limits::default().total(Duration::from_secs(5)))
//!     .roots(Roots::Bundled)
//!     .proxy("http://user:password@10.0.0.1:3128")?
//!     .build()?;
//! let client = Client::builder("wx0123456789abcdef".parse()?, "SECRET".parse()?, Arc::new(transport)).build();
//! # Ok(()) }
//! ```
//!
//! Buffers of reqwest, hyper and rustls hold requests with their secrets for a while and are not wiped.

mod builder;
mod error;
mod transport;

pub use builder::{BuildError, ReqwestTransportBuilder};
pub use transport::ReqwestTransport;

pub use wxsub_core as core;
pub use wxsub_core::proto;
pub use wxsub_core::transport::Limits;
pub use wxsub_core::{Client, ConsentGuard, SendError};
pub use wxsub_tls::{Roots, TlsConfigError};

use std::sync::Arc;

use wxsub_core::proto::{AppId, AppSecret};

/// A client for this app, with default limits, this machine's certificate authorities and no proxy. It must send inside
/// a tokio runtime.
///
/// # Errors
/// [`BuildError::Tls`] if this machine has no certificate authorities; then choose [`Roots::Bundled`] with
/// [`ReqwestTransport::builder`].
pub fn client(appid: AppId, secret: AppSecret) -> Result<Client, BuildError> {
    let transport = ReqwestTransport::new()?;
    Ok(Client::builder(appid, secret, Arc::new(transport)).build())
}
