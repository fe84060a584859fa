//! What every [`Transport`] must keep, as tests to run against yours.
//!
//! One line runs them all, each as a test of its own; a case that hangs fails after a minute:
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
//! The peer is a [`FaultyServer`] on this machine; no case looks at the network or sets a variable of the environment. Where
//! an outcome needs time to pass, the server never answers at all, so that a slow machine changes nothing. A secret is
//! planted in the query of every request that fails, and must not show in the error.
//!
//! What is not tested here: which certificates are trusted (only that a handshake that fails has sent nothing), and that
//! no proxy is taken from the environment (a test must not change it; look at your library's documentation).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wxsub_proto::BaseUrl;
use wxsub_proto::codec::{QueryPair, RawResponse, Request};

use super::faulty_server::{FaultyServer, ScriptStep};
use crate::clock::{Clock, SystemClock, timeout_at};
use crate::transport::{
    HttpRequest, RequestState, Transport, TransportError, TransportErrorKind, TransportLimits,
};

pub mod before_sending;
pub mod connections;
pub mod limits;
pub mod lost_responses;
pub mod requests;
pub mod responses;

/// Makes a transport with these limits.
pub type Factory<'a> = &'a dyn Fn(TransportLimits) -> Arc<dyn Transport>;

/// Turns the contract into tests of your transport: `transport_conformance!(factory)`, where `factory` is a
/// `Fn(TransportLimits) -> Arc<dyn Transport>`.
#[macro_export]
macro_rules! transport_conformance {
    ($factory:expr) => {
        $crate::transport_conformance! { @cases $factory;
            requests: get_arrives_byte_for_byte, post_arrives_byte_for_byte, paths_and_queries_arrive_untouched;
            responses: statuses_and_bodies_come_back_untouched, the_date_comes_along, retry_after_comes_along,
                a_redirect_is_not_followed,
                interim_replies_are_passed_over, a_compressed_body_is_not_expanded, chunks_are_joined,
                an_old_reply_of_known_length_is_taken;
            connections: a_connection_is_used_again, a_connection_closed_while_idle_costs_nothing,
                a_request_lost_on_a_used_connection_is_not_repeated, a_reply_nobody_asked_for_answers_nothing,
                many_exchanges_at_once_get_their_own_replies;
            before_sending: a_refused_connection, a_name_that_does_not_resolve, a_connect_that_is_never_answered,
                a_handshake_that_is_never_answered, a_handshake_that_is_cut_off, a_peer_that_speaks_no_tls;
            lost_responses: a_reset_before_the_request_was_read, a_reset_after_the_request_was_read,
                a_close_instead_of_a_reply, a_close_within_the_head, a_body_cut_short, chunks_cut_short,
                a_reset_within_the_body, a_body_of_unknown_length, no_reply_in_time, a_body_that_never_ends,
                something_else_than_http, lengths_that_contradict_each_other;
            limits: a_body_of_the_largest_size, an_announced_body_that_is_too_large, endless_chunks,
                an_endless_head;
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

/// Runs one case to its end, on a runtime of its own.
///
/// # Panics
/// If the contract is broken, or the case takes longer than a minute.
#[expect(clippy::expect_used, reason = "test support: without a runtime there is no test")]
pub fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let clock = SystemClock::new();
    let deadline = clock.now().mono.after(Duration::from_secs(60));
    let ended = runtime.block_on(timeout_at(&clock, deadline, case));
    assert!(ended.is_some(), "the case hangs");
}

/// What no error may show.
const SECRET: &str = "PLANTED-SECRET";

/// Limits for cases in which the server never answers.
fn short() -> TransportLimits {
    TransportLimits::default().request_timeout(Duration::from_secs(1))
}

/// A token call to this server, as Weixin's are: with a secret in the query.
fn get(base: &BaseUrl) -> HttpRequest {
    outgoing(
        base,
        Request::get(
            "/cgi-bin/token",
            vec![QueryPair::public("grant_type", "client_credential"), QueryPair::secret("secret", SECRET)],
        ),
    )
}

/// A send to this server: with a secret in the query, and this body.
fn post(base: &BaseUrl, body: &str) -> HttpRequest {
    let query = vec![QueryPair::secret("access_token", SECRET)];
    outgoing(base, Request::post("/cgi-bin/send", query, body.as_bytes().to_vec()))
}

#[expect(clippy::expect_used, reason = "test support: a wrong URL is a mistake in the suite")]
fn outgoing(base: &BaseUrl, request: Request<'_>) -> HttpRequest {
    HttpRequest::new(base, request).expect("a URL that can be written")
}

/// Carries out an exchange that must succeed.
#[expect(clippy::panic, reason = "test support: that is how the contract says no")]
async fn answered(transport: &dyn Transport, request: HttpRequest) -> RawResponse<Bytes> {
    match transport.execute(request).await {
        Ok(reply) => reply,
        Err(error) => panic!("the exchange failed: {error}"),
    }
}

/// Carries out an exchange that must fail, without giving the secret away.
#[expect(clippy::panic, reason = "test support: that is how the contract says no")]
async fn fails(transport: &dyn Transport, request: HttpRequest) -> TransportError {
    let error = match transport.execute(request).await {
        Ok(reply) => panic!("the exchange should have failed, but gave {reply:?}"),
        Err(error) => error,
    };
    for text in [error.to_string(), format!("{error:?}")] {
        for secret in [SECRET, "grant_type", "access_token", "secret=", "://"] {
            assert!(!text.contains(secret), "the error shows {secret:?}: {text}");
        }
    }
    error
}

/// Asserts what went wrong, and how far the exchange came.
fn assert_is(error: &TransportError, stage: RequestState, faults: &[TransportErrorKind]) {
    let right = error.stage() == stage && faults.contains(&error.kind());
    assert!(right, "should be {stage:?} and one of {faults:?}, but is {error:?}");
}

/// Lets the transport's own tasks notice what has happened on its connections.
async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// A POST to a server that follows this script on its first connection must be lost in one of these ways, without
/// having been sent twice.
async fn is_lost(transport: &dyn Transport, script: Vec<ScriptStep>, faults: &[TransportErrorKind]) {
    let server =
        FaultyServer::start([script, vec![ScriptStep::Read, ScriptStep::Echo, ScriptStep::Again]]).await;
    let error = fails(transport, post(&server.base_url(""), "{}")).await;
    assert_is(&error, RequestState::MaybeSent, faults);
    server.has_read(1).await;
    settle().await;
    assert_eq!(server.requests().len(), 1, "the request was sent more than once");
}
