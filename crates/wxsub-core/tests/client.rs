//! The client: what it posts, how often, and which outcome it reports.

#![cfg(test)]

mod client {
    mod hosts;
}

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use wxsub_core::clock::{Clock, ClockReading, MonotonicInstant};
use wxsub_core::error::{Delivery, ErrorKind};
use wxsub_core::proto::codec::RawResponse;
use wxsub_core::proto::endpoint::{subscribe::PATH as SEND, token::PATH as TOKEN};
use wxsub_core::proto::{AccessToken, ErrCode, Grant, Message, Operation, Remedy, ValidationError};
use wxsub_core::testing::{ManualClock, MockResponse, MockTransport};
use wxsub_core::token::{
    CachedToken, CurrentToken, Evidence, Generation, TokenError, TokenErrorKind, TokenSource,
};
use wxsub_core::transport::{HttpRequest, Transport, TransportError, TransportErrorKind};
use wxsub_core::{Client, SendError};

struct Bench {
    clock: Arc<ManualClock>,
    weixin: MockTransport,
    client: Client,
}

fn bench() -> Bench {
    let clock = Arc::new(ManualClock::new());
    let weixin = MockTransport::new().token("TOKEN-A").token("TOKEN-B").token("TOKEN-C");
    let client = Client::builder("wx1", "SECRET", weixin.clone()).clock(clock.clone()).build().unwrap();
    Bench { clock, weixin, client }
}

/// A bench where each send gets this response, and the error of a send.
async fn failed_send(response: MockResponse) -> (Bench, SendError) {
    let bench = bench();
    bench.weixin.respond_always(SEND, response);
    let error = bench.client.send(&message("t")).await.unwrap_err();
    (bench, error)
}

fn message(title: &str) -> Message {
    let grant = Grant::assume_verified("o", "T", 7).unwrap();
    Message::builder(grant).title(title).content("text").build().unwrap()
}

fn ok() -> MockResponse {
    MockResponse::json(r#"{"errcode":0,"errmsg":"ok"}"#)
}

fn refusal(code: i64) -> MockResponse {
    MockResponse::json(&format!(r#"{{"errcode":{code},"errmsg":"no rid: 6004f3da-1529ba72-5c345f67"}}"#))
}

/// The tokens of the posts, in order.
fn tokens(weixin: &MockTransport) -> Vec<String> {
    weixin.seen().iter().filter(|seen| seen.path == SEND).map(|seen| seen.query.clone()).collect()
}

#[tokio::test]
async fn stale_token_is_replaced_and_message_replayed_once() {
    for code in [40001, 40014, 42001] {
        let bench = bench();
        bench.weixin.respond_once(SEND, refusal(code));
        bench.weixin.respond_once(SEND, ok());
        bench.client.send(&message("t")).await.unwrap();
        assert_eq!(tokens(&bench.weixin), ["access_token=TOKEN-A", "access_token=TOKEN-B"]);
        assert_eq!(bench.weixin.count(TOKEN), 2);
    }
}

#[tokio::test]
async fn second_stale_code_ends_the_send() {
    let (bench, error) = failed_send(refusal(40001)).await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Refused, Delivery::Rejected));
    assert_eq!(error.trace_id().unwrap().as_str(), "6004f3da-1529ba72-5c345f67");
    assert_eq!(bench.weixin.count(SEND), 2);
    // The refresh goes on.
    bench.clock.advance_and_run(Duration::ZERO).await;
    assert_eq!(bench.weixin.count(TOKEN), 3);
}

/// The third token may take as long as the time limit of the client.
#[tokio::test]
async fn second_stale_code_is_returned_before_the_third_token() {
    let clock = Arc::new(ManualClock::new());
    let weixin = MockTransport::new().token("TOKEN-A").token("TOKEN-B");
    weixin.respond_always(TOKEN, MockResponse::Hang);
    weixin.respond_always(SEND, refusal(40001));
    let client = Client::builder("wx1", "SECRET", weixin.clone()).clock(clock.clone()).build().unwrap();
    let sender = client.clone();
    let sending = tokio::spawn(async move { sender.send(&message("t")).await.unwrap_err() });
    clock.advance_and_run(Duration::ZERO).await;
    assert!(sending.is_finished(), "the send waits for a token that it does not use");
    assert_eq!(sending.await.unwrap().kind(), ErrorKind::Refused);
    assert_eq!((weixin.count(SEND), weixin.count(TOKEN)), (2, 3));
}

/// A token source without a new token.
#[derive(Debug)]
struct OneToken {
    issued: Arc<CachedToken>,
    gives_it_again: bool,
}

impl OneToken {
    fn new(gives_it_again: bool) -> Self {
        let (token, lifetime) = (AccessToken::new("TOKEN").unwrap(), Duration::from_secs(7200));
        let issued = CachedToken::new(token, Generation::new(1), ClockReading::default(), lifetime);
        Self { issued: Arc::new(issued), gives_it_again }
    }
}

#[async_trait]
impl TokenSource for OneToken {
    fn current(&self) -> CurrentToken {
        CurrentToken::new(Some(Arc::clone(&self.issued)), ClockReading::default())
    }
    async fn token(&self) -> Result<Arc<CachedToken>, TokenError> {
        Ok(Arc::clone(&self.issued))
    }
    async fn refresh(&self, _: Generation, _: Evidence) -> Result<Arc<CachedToken>, TokenError> {
        match self.gives_it_again {
            true => Ok(Arc::clone(&self.issued)),
            false => Err(TokenError::new(TokenErrorKind::RateLimited(Duration::from_secs(60)), None)),
        }
    }
}

#[tokio::test]
async fn stale_code_without_new_token_is_not_replayed() {
    for gives_it_again in [true, false] {
        let bench = bench();
        bench.weixin.respond_always(SEND, refusal(40001));
        let builder = Client::with_token_source(OneToken::new(gives_it_again), bench.weixin.clone());
        let client = builder.clock(bench.clock.clone()).build();
        let error = client.send(&message("t")).await.unwrap_err();
        let expected = if gives_it_again {
            (Delivery::Rejected, Operation::Send)
        } else {
            (Delivery::NotSent, Operation::FetchToken)
        };
        assert_eq!((error.delivery(), error.operation()), expected, "{error}");
        assert_eq!(bench.weixin.count(SEND), 1);
    }
}

#[tokio::test]
async fn other_errcodes_are_not_replayed() {
    for code in [-1, 43101, 40003, 45009, 45011, 48001, 40164, 123_456_789] {
        let (bench, error) = failed_send(refusal(code)).await;
        assert_eq!(error.errcode(), Some(ErrCode::new(code)));
        assert!(error.to_string().contains(&code.to_string()), "{error}");
        assert_eq!((bench.weixin.count(SEND), bench.weixin.count(TOKEN)), (1, 1));
    }
}

#[tokio::test]
async fn lost_response_is_never_repeated() {
    for step in [
        MockResponse::lose_response(),
        MockResponse::Response(200, "<html>portal</html>".into()),
        MockResponse::Response(502, "".into()),
        MockResponse::Response(500, r#"{"errcode":0}"#.into()),
        MockResponse::Response(302, "".into()),
        MockResponse::json(r#"{"errcode":0"#),
        MockResponse::json(r#"{"errcode":"ok"}"#),
        MockResponse::json("{}"),
        MockResponse::json(r#"{"errcode":null}"#),
        MockResponse::json(r#"{"message":"no Route matched"}"#),
        MockResponse::json(r#"{"errmsg":"invalid openid"}"#),
    ] {
        let (bench, error) = failed_send(step).await;
        assert_eq!((error.delivery(), error.is_retryable()), (Delivery::MaybeSent, false), "{error}");
        assert!(error.to_string().contains("may have been sent"), "{error}");
        assert_eq!(bench.weixin.count(SEND), 1);
    }
}

#[tokio::test]
async fn a_damaged_refusal_is_a_refusal() {
    let damaged = b"{\"errcode\":43101,\"errmsg\":\"\xd3\xc3\xbb\xa7\x01 rid: 6004f3da-1529ba72-5c345f67\"}";
    let (_, error) = failed_send(MockResponse::Response(200, damaged.as_slice().into())).await;
    assert_eq!((error.delivery(), error.remedy()), (Delivery::Rejected, Remedy::Stop));
    assert_eq!(error.trace_id().unwrap().as_str(), "6004f3da-1529ba72-5c345f67");
}

#[tokio::test]
async fn failed_connection_is_retried_and_then_not_sent() {
    let bench = bench();
    bench.weixin.respond_once(SEND, MockResponse::refuse_connection());
    bench.weixin.respond_once(SEND, ok());
    bench.weixin.respond_always(SEND, MockResponse::refuse_connection());
    let message = message("t");
    let send = async || {
        let sending = bench.client.send(&message);
        tokio::join!(sending, bench.clock.advance_and_run(Duration::from_secs(2))).0
    };
    send().await.unwrap();
    assert_eq!(bench.weixin.count(SEND), 2);
    let error = send().await.unwrap_err();
    assert_eq!(
        (error.operation(), error.delivery(), error.is_retryable()),
        (Operation::Send, Delivery::NotSent, true)
    );
    assert_eq!(error.remedy(), Remedy::RetryLater);
    assert_eq!(bench.weixin.count(SEND), 2 + 3);
}

#[tokio::test]
async fn retries_share_a_budget() {
    let bench = bench();
    bench.weixin.respond_always(SEND, MockResponse::refuse_connection());
    let messages = stream::iter((0..100).map(|n| (n, message(&n.to_string()))));
    let sending = bench.client.send_all(messages, NonZeroUsize::new(100).unwrap()).collect::<Vec<_>>();
    let (results, ()) = tokio::join!(sending, bench.clock.advance_and_run(Duration::from_secs(5)));
    assert!(results.iter().all(|(_, result)| result.as_ref().unwrap_err().delivery() == Delivery::NotSent));
    assert_eq!(bench.weixin.count(SEND), 100 + 10);
}

#[tokio::test]
async fn deadline_outcome_depends_on_the_post() {
    // After the post: maybe sent.
    let first = bench();
    first.weixin.respond_always(SEND, MockResponse::Hang);
    let client = first.client.clone();
    let sending = tokio::spawn(async move { client.send(&message("t")).await.unwrap_err() });
    first.clock.advance_and_run(Duration::from_secs(31)).await;
    assert_eq!(sending.await.unwrap().delivery(), Delivery::MaybeSent);
    // Before the post: not sent, and not posted later.
    let weixin = MockTransport::new();
    weixin.respond_always(TOKEN, MockResponse::Hang);
    let client = Client::builder("wx1", "SECRET", weixin.clone())
        .clock(first.clock.clone())
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let sending = tokio::spawn(async move { client.send(&message("t")).await.unwrap_err() });
    first.clock.advance_and_run(Duration::from_secs(60)).await;
    let error = sending.await.unwrap();
    assert_eq!(
        (error.operation(), error.delivery(), error.kind()),
        (Operation::FetchToken, Delivery::NotSent, ErrorKind::Timeout)
    );
    assert_eq!(weixin.count(SEND), 0);
}

#[tokio::test]
async fn a_stopped_send_says_whether_it_was_posted() {
    for (hangs, expected, posts) in [
        (TOKEN, (Operation::FetchToken, Delivery::NotSent, Remedy::RetryLater), 0),
        (SEND, (Operation::Send, Delivery::MaybeSent, Remedy::Investigate), 1),
    ] {
        let weixin = MockTransport::new();
        weixin.respond_always(TOKEN, MockResponse::json(r#"{"access_token":"TOKEN-A","expires_in":7200}"#));
        weixin.respond_once(hangs, MockResponse::Hang);
        let client = Client::builder("wx1", "SECRET", weixin.clone()).build().unwrap();
        let stop = async {
            while weixin.count(hangs) == 0 {
                tokio::task::yield_now().await;
            }
        };
        let error = client.send_until(&message("t"), stop).await.unwrap_err();
        assert_eq!((error.operation(), error.delivery(), error.remedy()), expected, "{error}");
        assert_eq!((error.kind(), weixin.count(SEND)), (ErrorKind::Stopped, posts));
    }
}

/// The stale answer is known, so a stop while another token is fetched leaves the message not sent.
#[tokio::test]
async fn a_send_stopped_between_two_posts_is_not_sent() {
    let weixin = MockTransport::new().token("TOKEN-A").refused(40001);
    weixin.respond_once(TOKEN, MockResponse::Hang);
    let client = Client::builder("wx1", "SECRET", weixin.clone()).build().unwrap();
    let stop = async {
        while weixin.count(TOKEN) < 2 {
            tokio::task::yield_now().await;
        }
    };
    let error = client.send_until(&message("t"), stop).await.unwrap_err();
    assert_eq!((error.delivery(), weixin.count(SEND)), (Delivery::NotSent, 1));
}

#[tokio::test]
async fn a_send_stopped_before_a_retry_names_the_send() {
    let bench = bench();
    bench.weixin.respond_always(SEND, MockResponse::refuse_connection());
    let stop = async {
        while bench.weixin.count(SEND) == 0 {
            tokio::task::yield_now().await;
        }
    };
    let error = bench.client.send_until(&message("t"), stop).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Stopped, Operation::Send));
    assert_eq!((error.delivery(), bench.weixin.count(SEND)), (Delivery::NotSent, 1));
}

/// A machine that stands still during the pause wakes after the deadline.
#[tokio::test]
async fn a_retry_that_wakes_after_the_deadline_reports_the_failed_connection() {
    let bench = bench();
    bench.weixin.respond_always(SEND, MockResponse::refuse_connection());
    let client = bench.client.clone();
    let sending = tokio::spawn(async move { client.send(&message("t")).await.unwrap_err() });
    bench.clock.advance_and_run(Duration::ZERO).await;
    bench.clock.advance(Duration::from_secs(60));
    let error = sending.await.unwrap();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Transport, Operation::Send));
    assert_eq!((error.delivery(), bench.weixin.count(SEND)), (Delivery::NotSent, 1));
}

#[tokio::test]
async fn token_in_errmsg_is_redacted() {
    let echo = MockResponse::json(r#"{"errcode":48001,"errmsg":"no: TOKEN-A rid: TOKEN-A"}"#);
    let (_, error) = failed_send(echo).await;
    assert!(!format!("{error} {error:?}").contains("TOKEN-A"), "{error}");
}

#[tokio::test]
async fn concurrent_rejections_fetch_one_new_token() {
    let bench = bench();
    // The first token is stale, any other is accepted.
    let inner = bench.weixin.clone();
    let transport = move |request: HttpRequest| {
        let inner = inner.clone();
        async move {
            if request.path() != SEND {
                return inner.execute(request).await;
            }
            let stale = request.into_http().uri().query().unwrap_or_default().contains("TOKEN-A");
            let body =
                if stale { r#"{"errcode":40001,"errmsg":"no"}"# } else { r#"{"errcode":0,"errmsg":"ok"}"# };
            Ok(RawResponse::new(200, Bytes::from(body)))
        }
    };
    let client = Client::builder("wx1", "SECRET", transport).clock(bench.clock.clone()).build().unwrap();
    let sends: Vec<_> = (0..64)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.send(&message("t")).await })
        })
        .collect();
    for send in sends {
        send.await.unwrap().unwrap();
    }
    assert_eq!(bench.weixin.count(TOKEN), 2);
}

#[tokio::test]
async fn batch_keeps_order_and_reads_only_messages_in_flight() {
    let bench = bench();
    bench.weixin.respond_always(SEND, ok());
    let read = Arc::new(AtomicUsize::new(0));
    let counter = read.clone();
    let messages = stream::iter(0..1000).map(move |n| {
        counter.fetch_add(1, Ordering::Relaxed);
        (n, message(&n.to_string()))
    });
    let mut results = bench.client.send_all(messages, NonZeroUsize::new(8).unwrap());
    let mut n = 0;
    while let Some((key, result)) = results.next().await {
        assert_eq!(key, n);
        result.unwrap();
        n += 1;
        assert!(read.load(Ordering::Relaxed) <= n + 8);
    }
    assert_eq!((n, bench.weixin.count(SEND)), (1000, 1000));
}

#[tokio::test]
async fn refused_token_call_has_a_remedy_and_leaves_other_apps_alone() {
    let good = bench();
    good.weixin.respond_always(SEND, ok());
    let broken = MockTransport::new();
    broken.respond_always(
        TOKEN,
        MockResponse::json(r#"{"errcode":40164,"errmsg":"invalid ip 203.0.113.7, not in whitelist"}"#),
    );
    let other = Client::builder("wx2", "SECRET", broken.clone()).build().unwrap();
    for _ in 0..3 {
        let error = other.send(&message("t")).await.unwrap_err();
        assert_eq!((error.operation(), error.remedy()), (Operation::FetchToken, Remedy::AllowIp));
        assert_eq!(error.api_error().unwrap().blocked_ip().unwrap().to_string(), "203.0.113.7");
        good.client.send(&message("t")).await.unwrap();
    }
    assert_eq!(broken.count(SEND), 0);
    assert_eq!(good.weixin.count(TOKEN), 1);
}

/// Sends to an unreachable server. Returns the error and the times of the attempts.
async fn unreachable(timeout: Duration) -> (SendError, Vec<MonotonicInstant>) {
    let clock = Arc::new(ManualClock::new());
    let tries = Arc::new(Mutex::new(Vec::new()));
    let transport = {
        let (clock, tries) = (clock.clone(), tries.clone());
        move |_: HttpRequest| {
            tries.lock().unwrap().push(clock.now().mono);
            async { Err(TransportError::before_sending(TransportErrorKind::Connect, "connection refused")) }
        }
    };
    let client = Client::with_token_source(OneToken::new(true), transport)
        .clock(clock.clone())
        .rng_seed(7)
        .timeout(timeout)
        .build();
    let message = message("t");
    let (sent, ()) = tokio::join!(client.send(&message), clock.advance_and_run(Duration::from_secs(5)));
    let tries = tries.lock().unwrap().clone();
    (sent.unwrap_err(), tries)
}

#[tokio::test]
async fn no_retry_starts_at_the_deadline() {
    let (_, tries) = unreachable(Duration::from_secs(30)).await;
    let pause = tries[1].duration_since(tries[0]);
    for (timeout, tried) in [(pause, 1), (pause + Duration::from_nanos(1), 2)] {
        let (error, tries) = unreachable(timeout).await;
        assert_eq!((error.kind(), tries.len()), (ErrorKind::Transport, tried));
    }
}

#[test]
fn build_reports_all_invalid_values_without_their_text() {
    for (appid, secret, fields) in [
        ("PLANTED!", "PLANTED secret", ["appid", "secret"].as_slice()),
        ("PLANTED!", "SECRET", &["appid"]),
        ("wx1", "", &["secret"]),
    ] {
        let problems = Client::builder(appid, secret, MockTransport::new())
            .token_cache(|cache| cache.jitter_seed(1))
            .build()
            .unwrap_err();
        assert!(!problems.to_string().contains("PLANTED"), "{problems}");
        assert_eq!(problems.iter().map(ValidationError::field).collect::<Vec<_>>(), fields);
    }
}
