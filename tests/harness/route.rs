//! The routes between client and sandbox. Every end-to-end test runs over all of them.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use wxsub_core::proto::BaseUrl;
use wxsub_core::testing::ManualClock;
use wxsub_core::transport::{Transport, TransportLimits};
use wxsub_hyper::HyperTransport;
use wxsub_reqwest::ReqwestTransport;
use wxsub_sandbox::{Sandbox, http};
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
    ) -> (Arc<dyn Transport>, BaseUrl, Option<oneshot::Sender<()>>) {
        let transport: Arc<dyn Transport> = match self {
            Self::InProcess => {
                let transport = SandboxTransport::new(sandbox).clock(clock.clone()).limits(limits);
                return (Arc::new(transport), crate::unused_base(), None);
            }
            Self::Reqwest => Arc::new(ReqwestTransport::builder().limits(limits).build().unwrap()),
            Self::Hyper => Arc::new(HyperTransport::builder().limits(limits).build().unwrap()),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (server, stop) = oneshot::channel();
        tokio::spawn(http::serve(listener, sandbox.clone(), async {
            // The sender is dropped at the end of the test.
            let _ = stop.await;
        }));
        (transport, base, Some(server))
    }
}
