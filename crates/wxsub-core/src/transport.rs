//! One HTTP exchange: the seam between deciding and doing.

mod causes;
mod error;
mod headers;
mod http_request;
mod limited_body;
mod limits;

pub use causes::{chain, format_chain};
pub use error::{RequestState, TransportError, TransportErrorKind};
pub use headers::{date_of, retry_after_of};
pub use http_request::HttpRequest;
pub use limited_body::LimitedBody;
pub use limits::TransportLimits;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use wxsub_proto::codec::RawResponse;

/// Carries out one HTTP exchange, and nothing more: no redirects, no retries, no proxy that was not asked for, and no
/// more than [`TransportLimits`] allows. An error says whether the request can have left.
///
/// Every `Fn(HttpRequest) -> Future` is one, so a transport of your own can be a closure:
///
/// ```
/// use bytes::Bytes;
/// use wxsub_core::proto::codec::RawResponse;
/// use wxsub_core::transport::{HttpRequest, Transport, TransportError};
///
/// let always_ok = |_request: HttpRequest| async {
///     Ok::<_, TransportError>(RawResponse::new(200, Bytes::from_static(br#"{"errcode":0,"errmsg":"ok"}"#)))
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
    async fn execute(&self, request: HttpRequest) -> Result<RawResponse<Bytes>, TransportError>;
}

#[async_trait]
impl<F, Fut> Transport for F
where
    F: Fn(HttpRequest) -> Fut + Send + Sync,
    Fut: Future<Output = Result<RawResponse<Bytes>, TransportError>> + Send,
{
    async fn execute(&self, request: HttpRequest) -> Result<RawResponse<Bytes>, TransportError> {
        self(request).await
    }
}

#[async_trait]
impl Transport for Arc<dyn Transport> {
    async fn execute(&self, request: HttpRequest) -> Result<RawResponse<Bytes>, TransportError> {
        (**self).execute(request).await
    }
}
