//! The simulated Weixin as a transport in process, so that an application tests without a network.
//!
//! ```
//! use wxsub_core::Client;
//! use wxsub_core::error::Delivery;
//! use wxsub_core::proto::{ConsentAction, ConsentRequest, Grant, Message};
//! use wxsub_sandbox_transport::{Fault, Sandbox, SandboxTransport};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sandbox = Sandbox::new();
//! sandbox.add_app("wx1".parse()?, "SECRET".parse()?, ["TEMPLATE".parse()?]);
//! let client = Client::builder("wx1", "SECRET", SandboxTransport::new(&sandbox)).build()?;
//!
//! // The user allows one message. The response to the send is lost.
//! let request = ConsentRequest::new("wx1", "TEMPLATE", 7)?;
//! sandbox.consent(request, ConsentAction::Confirm { openid: "oUser".parse()? })?;
//! sandbox.add_fault("/cgi-bin/message/template/subscribe", 1, Fault::ResetAfterApply);
//! let grant = Grant::assume_verified("oUser", "TEMPLATE", 7)?;
//! let message = Message::builder(grant).title("Parcel").content("It is here.").build()?;
//! let error = client.send(&message).await.unwrap_err();
//! assert_eq!(error.delivery(), Delivery::MaybeSent);
//! assert_eq!(sandbox.mailbox(&"oUser".parse()?).len(), 1);
//! # Ok(()) }
//! ```
//!
//! | [`Fault`] | what the client gets |
//! |---|---|
//! | `ErrCode`, `Status`, `Html` | a response |
//! | `Delay` | the response after the delay, or `Timeout` if that is longer than [`TransportLimits::request_timeout`] |
//! | `ResetBeforeApply`, `ResetAfterApply`, `Truncate` | `Broken`, maybe sent |
//! | `Hang` | `Timeout` after [`TransportLimits::request_timeout`], maybe sent |
//!
//! The error of a reset does not depend on whether the request took effect: no client can know that. No fault means
//! "certainly not sent", because the sandbox receives every request. `wxsub_core::testing::MockTransport` has such
//! errors.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use wxsub_core::clock::{Clock, SystemClock, timeout_at};
use wxsub_core::proto::codec::RawResponse;
use wxsub_core::transport::{HttpRequest, Transport, TransportError, TransportErrorKind};
use wxsub_sandbox::{ConnectionFault, Exchange};

pub use wxsub_core::transport::TransportLimits;
pub use wxsub_sandbox::{AppSettings, Event, EventLog, Fault, NotFoundError, ReceivedMessage, Sandbox};

/// A transport that calls a [`Sandbox`] directly, from the address 127.0.0.1. It ignores the host of a request.
#[derive(Clone, derive_more::Debug, derive_setters::Setters)]
#[debug("SandboxTransport({limits:?})")]
pub struct SandboxTransport {
    #[setters(skip)]
    sandbox: Sandbox,
    /// Sets the clock for delays and timeouts. It is not the clock of the sandbox.
    clock: Arc<dyn Clock>,
    /// Sets the limits of one exchange. There is no connection, so only `request_timeout` and `body_bytes` apply.
    limits: TransportLimits,
}

impl SandboxTransport {
    /// Creates a transport to this sandbox, with default limits. It waits on the clock of the system.
    #[must_use]
    pub fn new(sandbox: &Sandbox) -> Self {
        let (clock, limits) = (Arc::new(SystemClock::new()), TransportLimits::default());
        Self { sandbox: sandbox.clone(), clock, limits }
    }

    async fn respond(
        &self,
        exchange: Exchange,
        max_bytes: usize,
    ) -> Result<RawResponse<Bytes>, TransportError> {
        if exchange.delay > Duration::ZERO {
            self.clock.sleep_until(self.clock.now().mono + exchange.delay).await;
        }
        match exchange.outcome {
            Ok(response) if response.body.len() > max_bytes => Err(TransportError::maybe_sent(
                TransportErrorKind::TooLarge,
                format!("more than {max_bytes} bytes"),
            )),
            Ok(response) => Ok(RawResponse::new(response.status, response.body.into())),
            Err(ConnectionFault::Hang) => pending().await,
            Err(
                broken @ (ConnectionFault::ResetBeforeApply
                | ConnectionFault::ResetAfterApply
                | ConnectionFault::Truncated(_)),
            ) => Err(TransportError::maybe_sent(TransportErrorKind::Broken, broken.to_string())),
        }
    }
}

#[async_trait]
impl Transport for SandboxTransport {
    async fn execute(&self, request: HttpRequest) -> Result<RawResponse<Bytes>, TransportError> {
        let deadline = self.clock.now().mono + self.limits.request_timeout;
        let max_bytes = request.limits(self.limits).body_bytes;
        let request = request.into_http();
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let exchange = self.sandbox.handle(request.method().as_str(), target, request.body());
        // Other tasks run meanwhile, as with a network.
        tokio::task::yield_now().await;
        let response = timeout_at(&*self.clock, deadline, self.respond(exchange, max_bytes)).await;
        let timeout = self.limits.request_timeout;
        response.unwrap_or_else(|| {
            let detail = format!("no response within {timeout:?}");
            Err(TransportError::maybe_sent(TransportErrorKind::Timeout, detail))
        })
    }
}
