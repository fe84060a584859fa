//! What happens to a message of `wx2`, and what each API responds: the table of docs/control-server.md, cell by cell.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use wxsub_core::proto::ErrCode;
use wxsub_sandbox::Fault;

use super::outbox::{later, ledger_config};
use super::setup::{
    APPS, SEND, Setup, TOKEN, TestResponse, config, config_of_apps, has, key, message, subscribe,
};
use super::test_ledger::{self, TestLedger};

/// What happens before or to the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Sent,
    Refused,
    Invalid,
    TokenRefused,
    OtherInFlight,
    ClientAtItsLimit,
    Paused,
    QuotaOver,
    TooFast,
    GrantInUse,
    NoGrant,
    LedgerDownBefore,
    LedgerDownAfter,
    Unknown,
}

impl Event {
    /// Whether a limit refuses the message before its body is read.
    fn is_limit(self) -> bool {
        matches!(self, Self::OtherInFlight | Self::ClientAtItsLimit)
    }
}

/// The events, with status and kind of the v1 API, and the errcode of the Weixin-compatible API.
const TABLE: [(Event, u16, &str, i64); 14] = [
    (Event::Sent, 200, "", 0),
    (Event::Refused, 422, "refused", 43101),
    (Event::Invalid, 422, "invalid", 47003),
    (Event::TokenRefused, 503, "not_sent", -1),
    (Event::OtherInFlight, 503, "overloaded", -1),
    (Event::ClientAtItsLimit, 429, "rate_limited", 45011),
    (Event::Paused, 503, "paused", -1),
    (Event::QuotaOver, 503, "paused", -1),
    (Event::TooFast, 429, "rate_limited", 45011),
    (Event::GrantInUse, 409, "grant_unavailable", 43101),
    (Event::NoGrant, 409, "no_grant", 43101),
    (Event::LedgerDownBefore, 503, "ledger_unavailable", -1),
    (Event::LedgerDownAfter, 504, "maybe_sent", 900_504),
    (Event::Unknown, 504, "maybe_sent", 900_504),
];

/// A server with the app `wx2`, and the access token that an SDK has.
struct App {
    setup: Setup,
    ledger: Arc<TestLedger>,
    token: String,
}

impl App {
    async fn start(event: Event) -> Self {
        let settings = match event {
            Event::NoGrant => "require_grant = true\n",
            Event::TooFast => "rate_per_s = 1\n",
            _ => "",
        };
        let limits = match event {
            Event::OtherInFlight => "[limits]\nin_flight = 1\n",
            Event::ClientAtItsLimit => "[limits]\nin_flight_per_key = 1\n",
            _ => "",
        };
        let text = format!("{settings}{}{limits}", ledger_config());
        let (setup, ledger) = Setup::with_ledger(&text).await;
        let token = setup.get("/v1/apps/wx2/access_token", &key('a')).await.access_token();
        let app = Self { setup, ledger, token };
        app.prepare(event).await;
        app
    }

    /// A message that uses up its place, its permit or its quota.
    async fn before(&self, fault: Option<Fault>) -> TestResponse {
        if let Some(fault) = fault {
            self.setup.sandbox.add_fault(SEND, 1, fault);
        }
        self.v1(message("oBefore", 1)).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: String) -> TestResponse {
        let mut all = vec![("Authorization", format!("Bearer {}", key('a')))];
        all.extend(headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
        self.setup.ask_with("POST", &format!("/v1/apps/wx2/{path}"), &all, body).await
    }

    async fn prepare(&self, event: Event) {
        let Self { setup, ledger, .. } = self;
        let fail_send = |fault| {
            setup.sandbox.add_fault(SEND, 1, fault);
        };
        match event {
            Event::Sent => setup.allow_in("wx2", "oUser", 1),
            Event::Refused => fail_send(Fault::ErrCode(ErrCode::USER_REFUSED)),
            Event::TokenRefused => {
                setup.sandbox.add_fault(TOKEN, 10_000, Fault::ErrCode(ErrCode::IP_NOT_ALLOWED));
                setup.pass(7_300).await;
            }
            Event::Paused => {
                assert_eq!(self.post("outbox/pause", &[], String::new()).await.status, 200);
            }
            Event::QuotaOver => {
                let used_up = self.before(Some(Fault::ErrCode(ErrCode::DAILY_QUOTA))).await;
                used_up.has(422, &json!({"errcode": 45009}));
            }
            Event::TooFast => {
                setup.allow_in("wx2", "oBefore", 1);
                assert_eq!(self.before(None).await.status, 200);
            }
            Event::GrantInUse => {
                let grant = json!({"openid": "oUser", "template_id": "T", "scene": 1}).to_string();
                assert_eq!(self.post("grants", &[("Idempotency-Key", "g")], grant).await.status, 201);
                assert_eq!(self.post("outbox", &[], later("oUser")).await.status, 202);
            }
            Event::LedgerDownBefore => ledger.fail(test_ledger::Fault::Away),
            Event::LedgerDownAfter => {
                setup.allow_in("wx2", "oUser", 1);
                ledger.fail(test_ledger::Fault::NoSettle);
            }
            Event::Unknown => fail_send(Fault::ResetAfterApply),
            Event::OtherInFlight | Event::ClientAtItsLimit => fail_send(Fault::Hang),
            Event::Invalid | Event::NoGrant => {}
        }
    }

    fn message(event: Event) -> String {
        let title = if event == Event::Invalid { "A title of more than 15 characters" } else { "Parcel" };
        message("oUser", 1).replace("Parcel", title)
    }

    async fn v1(&self, body: String) -> TestResponse {
        self.setup.ask("POST", "/v1/apps/wx2/messages", Some(&key('a')), body).await
    }

    /// Sends the message, after another one whose response never comes if the event is a limit. It is posted once, unless the
    /// response says that it was not sent or is invalid.
    async fn send(&self, event: Event, over_v1: bool) -> TestResponse {
        let one = async |body: String| match over_v1 {
            true => self.v1(body).await,
            false => subscribe(&self.setup, &self.token, body).await,
        };
        let posted_before = self.setup.seen(SEND);
        let response = match event.is_limit() {
            true => {
                let sending = async {
                    self.setup.until_seen(SEND, 1).await;
                    one(Self::message(event)).await
                };
                let both = async { tokio::join!(one(message("oBefore", 1)), sending) };
                self.setup.meanwhile(both).await.1
            }
            false => self.setup.meanwhile(one(Self::message(event))).await,
        };
        let (_, status, ..) = TABLE.into_iter().find(|(known, ..)| *known == event).unwrap();
        let is_posted = event != Event::Invalid && !matches!(status, 409 | 429 | 503);
        let posted = self.setup.seen(SEND) - posted_before;
        assert_eq!(posted, u64::from(is_posted || event.is_limit()), "{event:?}, v1: {over_v1}");
        response
    }
}

#[tokio::test]
async fn each_event_has_its_response_in_the_v1_api() {
    for (event, status, kind, _) in TABLE {
        let app = App::start(event).await;
        let response = app.send(event, true).await;
        assert_eq!(response.status, status, "{event:?}: {response:?}");
        let result = response.json();
        let outcome = match status {
            200 => "sent",
            422 if kind == "refused" => "refused",
            422 => "invalid",
            504 => "maybe_sent",
            _ => "not_sent",
        };
        if status != 200 {
            assert_eq!(response.kind(), kind, "{event:?}");
        }
        // A request that is refused before its body is read has no result.
        if !event.is_limit() {
            assert_eq!(result["outcome"], outcome, "{event:?}: {result}");
        }
        let can_try_again = matches!(status, 429 | 503);
        assert_eq!(response.headers.contains_key("retry-after"), can_try_again, "{event:?}");
        match event {
            Event::TokenRefused => {
                has(&result, &json!({"stage": "token", "errcode": 40164, "remedy": "allow_ip"}));
            }
            Event::GrantInUse => {
                has(&result, &json!({"stage": "grant", "remedy": "stop"}));
                app.post("outbox", &[], App::message(event)).await.is(409, "grant_unavailable");
            }
            Event::NoGrant => has(&result, &json!({"stage": "grant", "remedy": "stop"})),
            Event::Paused => assert_eq!(response.retry_after(), 60),
            _ => {}
        }
    }
}

#[tokio::test]
async fn each_event_has_its_errcode_in_the_weixin_compatible_api() {
    for (event, _, _, errcode) in TABLE {
        let app = App::start(event).await;
        let response = app.send(event, false).await;
        assert_eq!(response.errcode(), errcode, "{event:?}: {response:?}");
        let json = response.json();
        let text = json["errmsg"].as_str().unwrap();
        match event {
            Event::GrantInUse | Event::NoGrant => assert!(text.starts_with("wxsub:"), "{text}"),
            Event::Refused => assert!(!text.starts_with("wxsub:"), "{text}"),
            Event::TokenRefused => assert!(text.contains("40164") && text.contains("allow_ip"), "{text}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn stop_cuts_the_worker_and_leaves_the_queue() {
    let (setup, _ledger) =
        Setup::with_ledger(&format!("concurrency = 1\n{}[limits]\ndrain_s = 1\n", ledger_config())).await;
    let app = "/v1/apps/wx2/outbox";
    setup.get("/v1/apps/wx2/access_token", &key('a')).await;
    setup.sandbox.add_fault(SEND, 1, Fault::Hang);
    let ((stop, stopped), mut ids) = (oneshot::channel::<()>(), Vec::new());
    let ((), cut_messages) = {
        let enqueue_and_stop = async {
            for openid in ["oOne", "oTwo"] {
                ids.push(setup.ask("POST", app, Some(&key('a')), message(openid, 1)).await.id());
            }
            setup.until_seen(SEND, 1).await;
            stop.send(()).unwrap();
        };
        let serving = setup.serve_until(async { drop(stopped.await) });
        setup.meanwhile(async { tokio::join!(enqueue_and_stop, serving) }).await
    };
    assert_eq!(cut_messages, 1, "one message was cut");
    let state = async |id: &str| -> Value {
        setup.get(&format!("{app}/{id}"), &key('a')).await.json()["state"].clone()
    };
    let mut states = [state(&ids[0]).await, state(&ids[1]).await];
    states.sort_by_key(ToString::to_string);
    assert_eq!(states, ["attempting", "queued"]);
    setup.pass(30).await;
    assert_eq!(setup.seen(SEND), 1);
}

#[tokio::test]
async fn messages_of_an_app_that_a_reload_removes_wait_until_it_is_back() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    let app = "/v1/apps/wx2/outbox";
    assert_eq!(setup.ask("POST", &format!("{app}/pause"), Some(&key('a')), "").await.status, 200);
    let queued = setup.ask("POST", app, Some(&key('a')), message("oUser", 1)).await;
    let path = format!("{app}/{}", queued.id());
    let (only_first, second) = APPS.split_once("[[apps]]\nappid = \"wx2\"").unwrap();
    assert!(second.contains("api_base"));
    setup.server.reload(&config_of_apps(only_first, &ledger_config())).unwrap();
    setup.get(&path, &key('a')).await.is(404, "not_found");
    setup.pass(10).await;
    setup.server.reload(&config(&ledger_config())).unwrap();
    assert_eq!(setup.get(&path, &key('a')).await.json()["waiting_for"], "paused");
    assert_eq!(setup.ask("POST", &format!("{app}/resume"), Some(&key('a')), "").await.status, 200);
    setup.allow_in("wx2", "oUser", 1);
    setup.meanwhile(setup.until_state(&queued, "sent")).await;
}
