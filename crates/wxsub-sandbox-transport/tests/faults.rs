//! Which error each fault of the sandbox becomes, and whether the request took effect.

#![cfg(test)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wxsub_core::clock::Clock;
use wxsub_core::proto::codec::RawResponse;
use wxsub_core::proto::endpoint::token::TokenRequest;
use wxsub_core::testing::ManualClock;
use wxsub_core::transport::{HttpRequest, RequestState, Transport, TransportError, TransportErrorKind};
use wxsub_sandbox_transport::{Fault, Sandbox, SandboxTransport, TransportLimits};

const TOKEN: &str = "/cgi-bin/token";

/// The outcome of one token request that meets a fault.
struct Outcome {
    result: Result<RawResponse<Bytes>, TransportError>,
    /// How long it took.
    elapsed: Duration,
    /// Whether a token was issued.
    applied: bool,
}

async fn fetch_with(fault: Option<Fault>, limits: TransportLimits) -> Outcome {
    let (sandbox, clock) = (Sandbox::new(), Arc::new(ManualClock::new()));
    sandbox.add_app("wx1".parse().unwrap(), "SECRET".parse().unwrap(), []);
    if let Some(fault) = fault {
        sandbox.add_fault(TOKEN, 1, fault);
    }
    let transport = SandboxTransport::new(&sandbox).clock(clock.clone()).limits(limits);
    let request = TokenRequest::new("wx1".parse().unwrap(), "SECRET".parse().unwrap());
    let request = HttpRequest::new(&"http://localhost".parse().unwrap(), request.encode()).unwrap();
    let start = clock.now().mono;
    let call = tokio::spawn(async move { transport.execute(request).await });
    while !call.is_finished() {
        clock.advance_and_run(Duration::from_secs(1)).await;
    }
    let applied = sandbox.event_log().events.iter().any(|event| event.token.is_some());
    Outcome { result: call.await.unwrap(), elapsed: clock.now().mono.duration_since(start), applied }
}

#[tokio::test]
async fn connection_fault_is_maybe_sent() {
    let limits = TransportLimits::default().request_timeout(Duration::from_secs(5));
    for (fault, kind, applied, seconds) in [
        (Fault::ResetBeforeApply, TransportErrorKind::Broken, false, 1),
        (Fault::ResetAfterApply, TransportErrorKind::Broken, true, 1),
        (Fault::Truncate, TransportErrorKind::Broken, true, 1),
        (Fault::Hang, TransportErrorKind::Timeout, false, 5),
        (Fault::Delay(Duration::from_secs(60)), TransportErrorKind::Timeout, true, 5),
    ] {
        let outcome = fetch_with(Some(fault), limits).await;
        let error = outcome.result.unwrap_err();
        assert_eq!((error.kind(), error.stage()), (kind, RequestState::MaybeSent), "{fault:?}");
        assert_eq!((outcome.applied, outcome.elapsed.as_secs()), (applied, seconds), "{fault:?}");
    }
}

#[tokio::test]
async fn other_faults_are_responses() {
    for (fault, status, applied, seconds) in [
        (Some(Fault::Status(503)), 503, false, 1),
        (Some(Fault::Html), 200, false, 1),
        (Some(Fault::Delay(Duration::from_secs(3))), 200, true, 3),
        (None, 200, true, 1),
    ] {
        let outcome = fetch_with(fault, TransportLimits::default()).await;
        assert_eq!(outcome.result.unwrap().status, status, "{fault:?}");
        assert_eq!((outcome.applied, outcome.elapsed.as_secs()), (applied, seconds), "{fault:?}");
    }
}

#[tokio::test]
async fn too_long_response_is_an_error() {
    let outcome = fetch_with(None, TransportLimits::default().body_bytes(10)).await;
    assert_eq!(outcome.result.unwrap_err().kind(), TransportErrorKind::TooLarge);
}
