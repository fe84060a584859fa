//! One HTTP exchange: the seam between deciding and doing.

mod causes;
mod error;
mod headers;
mod limits;
mod outgoing;
mod reply_body;

pub use causes::{causes, chain};
pub use error::{Stage, TransportError, TransportFault};
pub use headers::{date_of, retry_after_of};
pub use limits::Limits;
pub use outgoing::Outgoing;
pub use reply_body::ReplyBody;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use wxsub_proto::codec::RawReply;

/// Carries out one HTTP exchange, and nothing more: no redirects, no retries, no proxy that was not asked for, and no
/// more than [`Limits`] allows. An error says whether the request can have left.
///
/// Every `Fn(Outgoing) -> Future` is one, so a transport of your own can be a closure:
///
/// ```
/// use bytes::Bytes;
/// use wxsub_core::proto::codec::RawReply;
/// use wxsub_core::transport::{Outgoing, Transport, TransportError};
///
/// let always_ok = |_request: Outgoing| async {
///     Ok::<_, TransportError>(RawReply::new(200, Bytes::from_static(br#"{"errcode":0,"errmsg":"ok"}"#)))
/// };
/// fn is_transport(_: &impl Transport) {}
/// is_transport(&always_ok);
/// ```
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends the request and reads the whole reply, whatever its status.
    ///
    /// # Errors
    /// [`TransportError`] says what went wrong and, honestly, whether the request can have left this machine.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the exchange; the request may or may not have arrived.
    async fn exchange(&self, request: Outgoing) -> Result<RawReply<Bytes>, TransportError>;
}

#[async_trait]
impl<F, Fut> Transport for F
where
    F: Fn(Outgoing) -> Fut + Send + Sync,
    Fut: Future<Output = Result<RawReply<Bytes>, TransportError>> + Send,
{
    async fn exchange(&self, request: Outgoing) -> Result<RawReply<Bytes>, TransportError> {
        self(request).await
    }
}

#[async_trait]
impl Transport for Arc<dyn Transport> {
    async fn exchange(&self, request: Outgoing) -> Result<RawReply<Bytes>, TransportError> {
        (**self).exchange(request).await
    }
}
