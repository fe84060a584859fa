//! A transport that calls the sandbox directly: no sockets, virtual time.

use std::future::pending;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use wxsub_core::clock::Clock;
use wxsub_core::proto::codec::RawResponse;
use wxsub_core::testing::ManualClock;
use wxsub_core::transport::{HttpRequest, Transport, TransportError, TransportErrorKind};
use wxsub_sandbox::{ConnectionFault, Sandbox};

pub(crate) struct InProcess {
    pub(crate) sandbox: Sandbox,
    pub(crate) clock: Arc<ManualClock>,
}

#[async_trait]
impl Transport for InProcess {
    async fn execute(&self, request: HttpRequest) -> Result<RawResponse<Bytes>, TransportError> {
        let request = request.into_http();
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let handled = self.sandbox.handle(request.method().as_str(), target, request.body());
        if !handled.delay.is_zero() {
            self.clock.sleep_until(self.clock.now().mono + handled.delay).await;
        }
        match handled.outcome {
            Ok(reply) => Ok(RawResponse::new(reply.status, reply.body.into())),
            Err(ConnectionFault::Hang) => pending().await,
            Err(broken) => Err(TransportError::maybe_sent(TransportErrorKind::Broken, broken.to_string())),
        }
    }
}
