//! Several hosts of Weixin's API: which one is called, and what may be repeated at the next.

use std::sync::Arc;
use std::time::Duration;

use wxsub_core::Client;
use wxsub_core::clock::Clock;
use wxsub_core::error::Delivery;
use wxsub_core::proto::{BaseUrl, BaseUrls};
use wxsub_core::testing::{ManualClock, MockResponse, MockTransport};
use wxsub_core::token::{TokenCache, TokenSource};
use wxsub_core::transport::{TransportError, TransportErrorKind};

use crate::{SEND, TOKEN, message, ok, refusal};

/// The first calls of this path get these responses, and every other call succeeds.
fn weixin(path: &str, responses: impl IntoIterator<Item = MockResponse>) -> MockTransport {
    let weixin = MockTransport::new();
    weixin.respond_always(TOKEN, MockResponse::json(r#"{"access_token":"T","expires_in":7200}"#));
    weixin.respond_always(SEND, ok());
    responses.into_iter().for_each(|response| weixin.respond_once(path, response));
    weixin
}

/// Host and end of the path of every call.
fn calls(weixin: &MockTransport) -> Vec<String> {
    let calls = weixin.seen().into_iter();
    calls.map(|call| format!("{} {}", call.host, call.path.rsplit('/').next().unwrap())).collect()
}

fn unsent(fault: TransportErrorKind) -> MockResponse {
    MockResponse::Fail(TransportError::before_sending(fault, ""))
}

/// Responses that may come after the request took effect.
fn after_sending() -> [MockResponse; 3] {
    [MockResponse::lose_response(), MockResponse::Response(502, "<html>".into()), refusal(-1)]
}

/// Faults after which nothing was sent.
fn before_sending() -> [MockResponse; 4] {
    use TransportErrorKind::{Certificate, Connect, Dns, Tls};
    [Dns, Connect, Tls, Certificate].map(unsent)
}

fn hosts() -> BaseUrls {
    BaseUrls::new(["https://a", "https://b"].map(|base| base.parse::<BaseUrl>().unwrap())).unwrap()
}

fn cache(weixin: &MockTransport, clock: &Arc<ManualClock>) -> TokenCache {
    let builder = TokenCache::builder("wx1", "SECRET", weixin.clone()).api_bases(hosts());
    builder.clock(clock.clone()).jitter_seed(1).build().unwrap()
}

fn client(weixin: &MockTransport, clock: &Arc<ManualClock>) -> Client {
    Client::builder("wx1", "SECRET", weixin.clone()).api_bases(hosts()).clock(clock.clone()).build().unwrap()
}

/// Runs what waits for the clock.
async fn run<T>(clock: &ManualClock, work: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        done = work => done,
        () = async { loop { clock.advance_and_run(Duration::from_millis(50)).await } } => unreachable!(),
    }
}

#[tokio::test]
async fn token_call_goes_to_the_next_host_after_any_fault_that_passes() {
    for fault in before_sending().into_iter().chain(after_sending()) {
        let clock = Arc::new(ManualClock::new());
        let weixin = weixin(TOKEN, [fault.clone()]);
        run(&clock, cache(&weixin, &clock).token()).await.unwrap();
        assert_eq!(calls(&weixin), ["a token", "b token"], "{fault:?}");
    }
}

/// What Weixin itself says is the same at every host.
#[tokio::test]
async fn refusal_of_a_token_call_stays_with_the_host() {
    let clock = Arc::new(ManualClock::new());
    let weixin = weixin(TOKEN, [refusal(40125)]);
    run(&clock, cache(&weixin, &clock).token()).await.unwrap_err();
    assert_eq!(calls(&weixin), ["a token"]);
}

/// The lost call may have ended the token held, whichever host is called next.
#[tokio::test]
async fn lost_token_call_leaves_the_token_in_doubt() {
    let clock = Arc::new(ManualClock::new());
    let issued = MockResponse::json(r#"{"access_token":"T","expires_in":7200}"#);
    let faults = [MockResponse::lose_response(), unsent(TransportErrorKind::Connect)];
    let weixin = weixin(TOKEN, std::iter::once(issued).chain(faults));
    let cache = cache(&weixin, &clock);
    run(&clock, cache.token()).await.unwrap();
    let due = cache.status().next_attempt_at.unwrap();
    clock.advance_and_run(due.remaining(clock.now())).await;
    assert!(cache.status().in_doubt_from.is_some());
    assert_eq!(calls(&weixin), ["a token", "a token"]);
    clock.advance_and_run(Duration::from_secs(1)).await;
    assert_eq!(calls(&weixin)[2..], ["b token", "a token"]);
    assert!(cache.status().in_doubt_from.is_none(), "the token that came settles it");
}

#[tokio::test]
async fn message_goes_to_the_next_host_only_if_it_was_certainly_not_sent() {
    let unsent = before_sending().map(|fault| (fault, true));
    for (fault, repeated) in unsent.into_iter().chain(after_sending().map(|fault| (fault, false))) {
        let clock = Arc::new(ManualClock::new());
        let weixin = weixin(SEND, [fault.clone()]);
        let sent = run(&clock, client(&weixin, &clock).send(&message("t"))).await;
        let expected: &[&str] =
            if repeated { &["a token", "a subscribe", "b subscribe"] } else { &["a token", "a subscribe"] };
        assert_eq!(sent.is_ok(), repeated, "{fault:?}");
        assert_eq!(calls(&weixin), expected, "{fault:?}");
    }
}

#[tokio::test]
async fn host_that_works_is_kept_and_the_first_is_tried_again_after_five_minutes() {
    let clock = Arc::new(ManualClock::new());
    let weixin = weixin(SEND, [MockResponse::lose_response()]);
    let client = client(&weixin, &clock);
    let unknown = run(&clock, client.send(&message("t"))).await.unwrap_err();
    assert_eq!(unknown.delivery(), Delivery::MaybeSent);
    for (pause, host) in [(0, "b"), (298, "b"), (2, "a")] {
        let before = calls(&weixin).len();
        clock.advance_and_run(Duration::from_secs(pause)).await;
        run(&clock, client.send(&message("t"))).await.unwrap();
        assert_eq!(calls(&weixin)[before..], [format!("{host} subscribe")], "after {pause} s more");
    }
}

/// One slow response to a caller without patience says nothing about the host.
#[tokio::test]
async fn only_a_host_that_had_five_seconds_is_left_at_the_deadline() {
    for (timeout, host) in [(1, "a"), (4, "a"), (5, "b"), (30, "b")] {
        let clock = Arc::new(ManualClock::new());
        let weixin = weixin(SEND, [MockResponse::Hang]);
        let builder = Client::builder("wx1", "SECRET", weixin.clone()).api_bases(hosts());
        let client = builder.clock(clock.clone()).timeout(Duration::from_secs(timeout)).build().unwrap();
        let unknown = run(&clock, client.send(&message("title"))).await.unwrap_err();
        assert_eq!(unknown.delivery(), Delivery::MaybeSent);
        run(&clock, client.send(&message("title"))).await.unwrap();
        assert_eq!(calls(&weixin).last().unwrap(), &format!("{host} subscribe"), "{timeout} s");
    }
}

#[tokio::test]
async fn deadline_and_retry_budget_are_shared_by_all_hosts() {
    let clock = Arc::new(ManualClock::new());
    let weixin = weixin(SEND, std::iter::repeat_n(unsent(TransportErrorKind::Connect), 200));
    let client = client(&weixin, &clock);
    for _ in 0..20 {
        run(&clock, client.send(&message("t"))).await.unwrap_err();
    }
    // 20 sends and the 10 retries that the budget holds.
    assert_eq!(calls(&weixin).len(), 1 + 20 + 10);
}
