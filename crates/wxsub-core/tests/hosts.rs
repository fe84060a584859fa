//! Several hosts of Weixin's API: which one is called, and what may be repeated at the next.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests may panic")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use wxsub_core::Client;
use wxsub_core::clock::Clock;
use wxsub_core::error::Delivery;
use wxsub_core::proto::codec::RawResponse;
use wxsub_core::proto::{BaseUrl, BaseUrls, Grant, Message};
use wxsub_core::testing::ManualClock;
use wxsub_core::token::{TokenCache, TokenSource};
use wxsub_core::transport::{HttpRequest, Transport, TransportError, TransportErrorKind};

const TOKEN: &str = r#"{"access_token":"T","expires_in":7200}"#;
const SENT: &str = r#"{"errcode":0,"errmsg":"ok"}"#;

/// Answers as scripted, in order; then always well. Remembers every call: host and path.
#[derive(Debug, Default)]
struct Weixin {
    script: Mutex<VecDeque<Result<(u16, &'static str), TransportError>>>,
    calls: Mutex<Vec<String>>,
}

#[async_trait]
impl Transport for Weixin {
    async fn execute(&self, request: HttpRequest) -> Result<RawResponse<Bytes>, TransportError> {
        let (host, path) = {
            let request = request.into_http();
            (request.uri().host().unwrap().to_owned(), request.uri().path().to_owned())
        };
        let well = if path.ends_with("token") { TOKEN } else { SENT };
        self.calls.lock().unwrap().push(format!("{host} {}", path.rsplit('/').next().unwrap()));
        let next = self.script.lock().unwrap().pop_front().unwrap_or(Ok((200, well)));
        next.map(|(status, body)| RawResponse::new(status, Bytes::from(body)))
    }
}

impl Weixin {
    fn scripted(script: impl IntoIterator<Item = Result<(u16, &'static str), TransportError>>) -> Arc<Self> {
        Arc::new(Self { script: Mutex::new(script.into_iter().collect()), ..Self::default() })
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

fn unsent(fault: TransportErrorKind) -> Result<(u16, &'static str), TransportError> {
    Err(TransportError::before_sending(fault, ""))
}

fn lost() -> Result<(u16, &'static str), TransportError> {
    Err(TransportError::maybe_sent(TransportErrorKind::Broken, ""))
}

fn hosts() -> BaseUrls {
    BaseUrls::new(["https://a", "https://b"].map(|base| base.parse::<BaseUrl>().unwrap())).unwrap()
}

fn cache(weixin: &Arc<Weixin>, clock: &Arc<ManualClock>) -> TokenCache {
    let builder = TokenCache::builder("wx1", "SECRET", weixin.clone()).api_bases(hosts());
    builder.clock(clock.clone()).jitter_seed(1).build().unwrap()
}

fn client(weixin: &Arc<Weixin>, clock: &Arc<ManualClock>) -> Client {
    Client::builder("wx1", "SECRET", weixin.clone()).api_bases(hosts()).clock(clock.clone()).build().unwrap()
}

fn message() -> Message {
    let grant = Grant::assume_verified("o", "T", 7).unwrap();
    Message::builder(grant).title("t").content("text").build().unwrap()
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
    use TransportErrorKind::{Certificate, Connect, Dns, Tls};
    let faults = [
        unsent(Dns),
        unsent(Connect),
        unsent(Tls),
        unsent(Certificate),
        lost(),
        Ok((502, "<html>")),
        Ok((200, r#"{"errcode":-1,"errmsg":"system error"}"#)),
    ];
    for fault in faults {
        let clock = Arc::new(ManualClock::new());
        let weixin = Weixin::scripted([fault.clone()]);
        run(&clock, cache(&weixin, &clock).token()).await.unwrap();
        assert_eq!(weixin.calls(), ["a token", "b token"], "{fault:?}");
    }
}

/// What Weixin itself says is the same at every host.
#[tokio::test]
async fn refusal_of_a_token_call_stays_with_the_host() {
    let clock = Arc::new(ManualClock::new());
    let weixin = Weixin::scripted([Ok((200, r#"{"errcode":40125,"errmsg":"invalid appsecret"}"#))]);
    run(&clock, cache(&weixin, &clock).token()).await.unwrap_err();
    assert_eq!(weixin.calls(), ["a token"]);
}

/// The lost call may have ended the token held, whichever host is called next.
#[tokio::test]
async fn lost_token_call_leaves_the_token_in_doubt() {
    let clock = Arc::new(ManualClock::new());
    let weixin = Weixin::scripted([Ok((200, TOKEN)), lost(), unsent(TransportErrorKind::Connect)]);
    let cache = cache(&weixin, &clock);
    run(&clock, cache.token()).await.unwrap();
    let due = cache.status().next_attempt_at.unwrap();
    clock.advance_and_run(due.remaining(clock.now())).await;
    assert!(cache.status().in_doubt_from.is_some());
    assert_eq!(weixin.calls(), ["a token", "a token"]);
    clock.advance_and_run(Duration::from_secs(1)).await;
    assert_eq!(weixin.calls(), ["b token", "a token"]);
    assert!(cache.status().in_doubt_from.is_none(), "the token that came settles it");
}

#[tokio::test]
async fn message_goes_to_the_next_host_only_if_it_was_certainly_not_sent() {
    use TransportErrorKind::{Certificate, Connect, Dns, Tls};
    let unsent = [Dns, Connect, Tls, Certificate].map(unsent);
    for (fault, repeated) in unsent.map(|fault| (fault, true)).into_iter().chain([
        (lost(), false),
        (Ok((502, "<html>")), false),
        (Ok((200, r#"{"errcode":-1,"errmsg":"system error"}"#)), false),
    ]) {
        let clock = Arc::new(ManualClock::new());
        let weixin = Weixin::scripted([Ok((200, TOKEN)), fault.clone()]);
        let sent = run(&clock, client(&weixin, &clock).send(&message())).await;
        let expected: &[&str] =
            if repeated { &["a token", "a subscribe", "b subscribe"] } else { &["a token", "a subscribe"] };
        assert_eq!(sent.is_ok(), repeated, "{fault:?}");
        assert_eq!(weixin.calls(), expected, "{fault:?}");
    }
}

#[tokio::test]
async fn host_that_works_is_kept_and_the_first_is_tried_again_after_five_minutes() {
    let clock = Arc::new(ManualClock::new());
    let weixin = Weixin::scripted([Ok((200, TOKEN)), lost()]);
    let client = client(&weixin, &clock);
    let unknown = run(&clock, client.send(&message())).await.unwrap_err();
    assert_eq!(unknown.delivery(), Delivery::MaybeSent);
    for (pause, host) in [(0, "b"), (298, "b"), (2, "a")] {
        weixin.calls();
        clock.advance_and_run(Duration::from_secs(pause)).await;
        run(&clock, client.send(&message())).await.unwrap();
        assert_eq!(weixin.calls(), [format!("{host} subscribe")], "after {pause} s more");
    }
}

#[tokio::test]
async fn deadline_and_retry_budget_are_shared_by_all_hosts() {
    let clock = Arc::new(ManualClock::new());
    let dead = std::iter::repeat_n(unsent(TransportErrorKind::Connect), 200);
    let weixin = Weixin::scripted(std::iter::once(Ok((200, TOKEN))).chain(dead));
    let client = client(&weixin, &clock);
    for _ in 0..20 {
        run(&clock, client.send(&message())).await.unwrap_err();
    }
    // 20 sends and the 10 retries that the budget holds.
    assert_eq!(weixin.calls().len(), 1 + 20 + 10);
}
