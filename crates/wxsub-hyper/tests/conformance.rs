//! The conformance tests of every transport, run for this one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use wxsub_core::transport::{Transport, TransportLimits};
use wxsub_hyper::{HyperTransport, Roots};

fn transport(limits: TransportLimits) -> Arc<dyn Transport> {
    let builder = HyperTransport::builder().limits(limits).roots(Roots::Bundled);
    Arc::new(builder.build().unwrap())
}

wxsub_core::transport_conformance!(transport);
