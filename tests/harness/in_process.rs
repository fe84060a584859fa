//! A transport that calls the sandbox directly: no sockets, virtual time.

use std::future::pending;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use wxsub_core::clock::Clock;
use wxsub_core::proto::codec::RawReply;
use wxsub_core::testing::ManualClock;
use wxsub_core::transport::{Outgoing, Transport, TransportError, TransportFault};
use wxsub_sandbox::{ConnectionFault, Sandbox};

pub(crate) struct InProcess {
    pub(crate) sandbox: Sandbox,
    pub(crate) clock: Arc<ManualClock>,
}

#[async_trait]
impl Transport for InProcess {
    async fn exchange(&self, request: Outgoing) -> Result<RawReply<Bytes>, TransportError> {
        let request = request.into_http();
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let handled = self.sandbox.handle(request.method().as_str(), target, request.body());
        if !handled.delay.is_zero() {
            self.clock.sleep_until(self.clock.now().mono.after(handled.delay)).await;
        }
        match handled.outcome {
            Ok(reply) => Ok(RawReply::new(reply.status, reply.body.into())),
            Err(ConnectionFault::Hang) => pending().await,
            Err(broken) => Err(TransportError::maybe_sent(TransportFault::Broken, broken.to_string())),
        }
    }
}
