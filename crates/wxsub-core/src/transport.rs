//! The transport: makes one HTTP exchange.

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

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use wxsub_proto::codec::RawResponse;

/// Makes one HTTP exchange within [`TransportLimits`].
///
/// It follows no redirect, makes no retry and uses no proxy that is not configured. Its error says whether the request
/// may have been sent.
///
/// Every `Fn(HttpRequest) -> Future` is a transport, so yours can be a closure:
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
    /// Sends the request and reads the whole response, with any status.
    ///
    /// # Errors
    /// [`TransportError`] says what failed, and whether the request may have been sent.
    ///
    /// # Cancel safety
    /// Not cancel safe: if the future is dropped, the request may or may not have been sent.
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

/// Written without `#[async_trait]`, so that it adds no allocation to a request.
impl<T: Transport + ?Sized> Transport for Arc<T> {
    fn execute<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<RawResponse<Bytes>, TransportError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        (**self).execute(request)
    }
}
