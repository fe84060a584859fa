//! The routes between client and sandbox. Every end-to-end test runs over all of them.

use std::sync::Arc;

use wxsub_core::proto::BaseUrl;
use wxsub_core::testing::ManualClock;
use wxsub_core::transport::{Transport, TransportLimits};
use wxsub_hyper::HyperTransport;
use wxsub_reqwest::ReqwestTransport;
use wxsub_sandbox::Sandbox;
use wxsub_sandbox_transport::SandboxTransport;

/// A route from the client to the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// A function call.
    InProcess,
    /// HTTP on loopback, over reqwest.
    Reqwest,
    /// HTTP on loopback, over hyper.
    Hyper,
}

impl Route {
    pub(crate) async fn connect(
        self,
        sandbox: &Sandbox,
        clock: &Arc<ManualClock>,
        limits: TransportLimits,
    ) -> (Arc<dyn Transport>, BaseUrl) {
        let transport: Arc<dyn Transport> = match self {
            Self::InProcess => {
                let transport = SandboxTransport::new(sandbox).clock(clock.clone()).limits(limits);
                // No server listens there.
                return (Arc::new(transport), "http://localhost".parse().unwrap());
            }
            Self::Reqwest => Arc::new(ReqwestTransport::builder().limits(limits).build().unwrap()),
            Self::Hyper => Arc::new(HyperTransport::builder().limits(limits).build().unwrap()),
        };
        (transport, format!("http://{}", crate::serve(sandbox).await).parse().unwrap())
    }
}
