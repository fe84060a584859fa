//! Which error each fault of the sandbox becomes, and whether the request took effect.

#![cfg(test)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wxsub_core::clock::Clock;
use wxsub_core::proto::codec::RawResponse;
use wxsub_core::proto::endpoint::token::PATH as TOKEN;
use wxsub_core::proto::endpoint::token::TokenRequest;
use wxsub_core::testing::ManualClock;
use wxsub_core::transport::{HttpRequest, RequestState, Transport, TransportError, TransportErrorKind};
use wxsub_sandbox_transport::{Fault, Sandbox, SandboxTransport, TransportLimits};

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

/// A response has its status. Any other fault may have been sent.
#[tokio::test]
async fn each_fault_is_a_response_or_maybe_sent() {
    use TransportErrorKind::{Broken, Timeout};
    let limits = TransportLimits::default().request_timeout(Duration::from_secs(5));
    for (fault, expected, applied, seconds) in [
        (Some(Fault::ResetBeforeApply), Err(Broken), false, 1),
        (Some(Fault::ResetAfterApply), Err(Broken), true, 1),
        (Some(Fault::Truncate), Err(Broken), true, 1),
        (Some(Fault::Hang), Err(Timeout), false, 5),
        (Some(Fault::Delay(Duration::from_secs(60))), Err(Timeout), true, 5),
        (Some(Fault::Delay(Duration::from_secs(3))), Ok(200), true, 3),
        (Some(Fault::Status(503)), Ok(503), false, 1),
        (Some(Fault::Html), Ok(200), false, 1),
        (None, Ok(200), true, 1),
    ] {
        let outcome = fetch_with(fault, limits).await;
        let result = outcome.result.map(|response| response.status);
        let result = result.map_err(|error| (error.kind(), error.request_state()));
        assert_eq!(result, expected.map_err(|kind| (kind, RequestState::MaybeSent)), "{fault:?}");
        assert_eq!((outcome.applied, outcome.elapsed.as_secs()), (applied, seconds), "{fault:?}");
    }
}

#[tokio::test]
async fn too_long_response_is_an_error() {
    let outcome = fetch_with(None, TransportLimits::default().body_bytes(10)).await;
    assert_eq!(outcome.result.unwrap_err().kind(), TransportErrorKind::TooLarge);
}
