//! The client: sends messages with the current token.

mod builder;
mod many;
mod send;

pub use builder::ClientBuilder;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::clock::Clock;
use crate::hosts::Hosts;
use crate::retry::RetryBudget;
use crate::token::TokenSource;
use crate::transport::Transport;

/// Sends one-time subscription messages for one app.
///
/// A clone is cheap and shares the token and the connections. Clients of several apps are independent.
///
/// ```
/// # use std::sync::Arc;
/// # use bytes::Bytes;
/// # use wxsub_core::transport::{HttpRequest, TransportError};
/// use wxsub_core::Client;
/// use wxsub_core::proto::{Grant, Scene, codec::RawResponse};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let transport = |request: HttpRequest| async move {
/// #     let body = match request.path() {
/// #         "/cgi-bin/token" => r#"{"access_token":"T","expires_in":7200}"#,
/// #         _ => r#"{"errcode":0,"errmsg":"ok"}"#,
/// #     };
/// #     Ok::<_, TransportError>(RawResponse::new(200, Bytes::from(body)))
/// # };
/// let client = Client::builder("wx0123456789abcdef".parse()?, "SECRET".parse()?, Arc::new(transport)).build();
///
/// let grant = Grant::assume_verified("OPENID".parse()?, "TEMPLATE_ID".parse()?, Scene::new(1000)?);
/// let message = grant.message("Parcel".parse()?, "It is here.".parse()?);
/// client.send(&message).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    source: Arc<dyn TokenSource>,
    transport: Arc<dyn Transport>,
    hosts: Hosts,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    budget: RetryBudget,
    /// The seed of the next jitter.
    seed: AtomicU64,
}

impl Client {
    /// Returns the source of the tokens.
    #[must_use]
    pub fn token_source(&self) -> &Arc<dyn TokenSource> {
        &self.inner.source
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { source, hosts, timeout, .. } = &*self.inner;
        f.debug_struct("Client")
            .field("source", source)
            .field("bases", hosts.bases())
            .field("timeout", timeout)
            .finish()
    }
}
