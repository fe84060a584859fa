//! The conformance suite of a [`Transport`].
//!
//! One line makes a test of each case. A case that hangs fails after a minute:
//!
//! ```
//! use std::sync::Arc;
//! use wxsub_core::transport::{Transport, TransportLimits};
//!
//! fn transport(limits: TransportLimits) -> Arc<dyn Transport> {
//!     // Yours, with these limits and without a proxy.
//!     # let _ = limits;
//!     # Arc::new(|_| async { unimplemented!() })
//! }
//!
//! wxsub_core::transport_conformance!(transport);
//! ```
//!
//! The server is on loopback. No case uses the network or sets an environment variable. In cases that wait for a
//! timeout the server never responds, so that the speed of the machine does not matter. Every request that fails has a
//! secret in its query, which must not appear in the error.
//!
//! The suite does not test which certificates are trusted, only that a failed handshake sends nothing. It does not test
//! that a proxy in the environment is ignored, because a test must not change the environment.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wxsub_proto::BaseUrl;
use wxsub_proto::codec::{QueryPair, RawResponse, Request};

use crate::clock::{Clock, SystemClock, timeout_at};
use crate::transport::{
    HttpRequest, RequestState, Transport, TransportError, TransportErrorKind, TransportLimits,
};

// The cases, for the macro only. Each panics if a rule is broken.
#[doc(hidden)]
pub mod before_sending;
#[doc(hidden)]
pub mod connections;
#[doc(hidden)]
pub mod limits;
#[doc(hidden)]
pub mod lost_responses;
#[doc(hidden)]
pub mod requests;
#[doc(hidden)]
pub mod responses;

/// A function that makes a transport with these limits.
pub type Factory<'a> = &'a dyn Fn(TransportLimits) -> Arc<dyn Transport>;

/// Makes a test of each case: `transport_conformance!(factory)`, where `factory` is a `Fn(TransportLimits) ->
/// Arc<dyn Transport>`.
#[macro_export]
macro_rules! transport_conformance {
    ($factory:expr) => {
        $crate::transport_conformance! { @cases $factory;
            requests: get_arrives_byte_for_byte, post_arrives_byte_for_byte, paths_and_queries_arrive_untouched;
            responses: statuses_and_bodies_come_back_untouched, date_and_retry_after_are_returned,
                a_redirect_is_not_followed,
                interim_responses_are_skipped, a_compressed_body_is_not_expanded, chunks_are_joined,
                http_1_0_response_with_length_is_read, a_body_that_is_ignored_may_be_incomplete,
                a_request_sets_the_length_of_its_response;
            connections: a_connection_is_used_again, a_connection_closed_while_idle_costs_nothing,
                a_request_lost_on_a_used_connection_is_not_repeated, an_unrequested_response_is_ignored,
                concurrent_exchanges_get_their_own_responses;
            before_sending: a_refused_connection, a_name_that_does_not_resolve, a_connect_that_is_never_answered,
                a_handshake_that_is_not_completed, a_peer_that_speaks_no_tls;
            lost_responses: a_reset_before_the_request_was_read, a_connection_that_breaks, a_body_of_unknown_length,
                no_response_in_time, a_response_that_is_not_http, lengths_that_contradict_each_other,
                an_announced_body_that_is_too_large;
            limits: a_body_of_the_largest_size, endless_chunks, an_endless_head;
        }
    };
    (@cases $factory:expr; $($group:ident: $($case:ident),+;)+) => {
        $($(
            #[test]
            fn $case() {
                $crate::testing::transport_conformance::run($crate::testing::transport_conformance::$group::$case(&$factory));
            }
        )+)+
    };
}

/// Runs one case on its own runtime.
///
/// # Panics
/// If the transport breaks a rule, or the case takes longer than a minute.
#[expect(clippy::expect_used, reason = "test support: without a runtime there is no test")]
pub fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let clock = SystemClock::new();
    let deadline = clock.now().mono + Duration::from_secs(60);
    let ended = runtime.block_on(timeout_at(&clock, deadline, case));
    assert!(ended.is_some(), "the case hangs");
}

/// The secret that no error may contain.
const SECRET: &str = "PLANTED-SECRET";

/// A token call to this server, with a secret in the query.
fn get(base: &BaseUrl) -> HttpRequest {
    outgoing(
        base,
        Request::get(
            "/cgi-bin/token",
            vec![QueryPair::public("grant_type", "client_credential"), QueryPair::secret("secret", SECRET)],
        ),
    )
}

/// A send to this server with this body, and a secret in the query.
fn post(base: &BaseUrl, body: &str) -> HttpRequest {
    let query = vec![QueryPair::secret("access_token", SECRET)];
    outgoing(base, Request::post("/cgi-bin/send", query, body.as_bytes().to_vec()))
}

#[expect(clippy::expect_used, reason = "test support: a wrong URL is a mistake in the suite")]
fn outgoing(base: &BaseUrl, request: Request<'_>) -> HttpRequest {
    HttpRequest::new(base, request).expect("a URL that can be written")
}

/// Makes an exchange that must succeed.
#[expect(clippy::panic, reason = "test support: a broken rule must fail")]
async fn succeeds(transport: &dyn Transport, request: HttpRequest) -> RawResponse<Bytes> {
    match transport.execute(request).await {
        Ok(response) => response,
        Err(error) => panic!("the exchange failed: {error}"),
    }
}

/// Makes an exchange that must fail. The error must not contain the secret.
#[expect(clippy::panic, reason = "test support: a broken rule must fail")]
async fn fails(transport: &dyn Transport, request: HttpRequest) -> TransportError {
    let error = match transport.execute(request).await {
        Ok(response) => panic!("the exchange should have failed, but gave {response:?}"),
        Err(error) => error,
    };
    for text in [error.to_string(), format!("{error:?}")] {
        for secret in [SECRET, "grant_type", "access_token", "secret=", "://"] {
            assert!(!text.contains(secret), "the error shows {secret:?}: {text}");
        }
    }
    error
}

/// Asserts the kind of the error, and whether the request may have been sent.
fn assert_is(error: &TransportError, state: RequestState, faults: &[TransportErrorKind]) {
    let right = error.request_state() == state && faults.contains(&error.kind());
    assert!(right, "should be {state:?} and one of {faults:?}, but is {error:?}");
}

/// Lets the tasks of the transport process what happened on its connections.
async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}
