//! Idempotency keys: each state of the key's message, on both routes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use serde_json::{Value, json};
use wxsub_core::proto::ErrCode;
use wxsub_core::testing::ManualClock;
use wxsub_postgres::{PostgresLedger, PostgresOptions};
use wxsub_sandbox::Fault;
use wxsub_test_support::Postgres;

use super::outbox::{enqueue, ledger_config, post, with};
use super::setup::{SEND, Setup, TestResponse, message};
use super::test_ledger::TestLedger;

const KEY: [(&str, &str); 1] = [("Idempotency-Key", "\"order-1\"")];

/// The servers that get the requests of a test.
#[derive(Clone, Copy)]
enum Servers<'a> {
    /// One server, with a ledger in memory.
    One,
    /// Two servers in turn, with their ledger in this database.
    Two(&'a Postgres),
}

impl Servers<'_> {
    async fn start(self, more: &str) -> Setup {
        let config = format!("{more}{}", ledger_config());
        let Self::Two(postgres) = self else { return Setup::with_ledger(&config).await.0 };
        let clock = Arc::new(ManualClock::new());
        static SCHEMAS: AtomicUsize = AtomicUsize::new(0);
        let schema = format!("s{}", SCHEMAS.fetch_add(1, Ordering::Relaxed));
        postgres.sql().await.batch_execute(&format!("CREATE SCHEMA {schema}")).await.unwrap();
        let url = postgres.url_in_schema(&schema);
        let mut ledgers = Vec::new();
        for _ in 0..2 {
            let options = PostgresOptions::new(&url).clock(clock.clone());
            ledgers.push(TestLedger::around(PostgresLedger::connect(options).await.unwrap()));
        }
        Setup::with_ledgers(&config, clock, ledgers).await
    }

    /// Their apps have a token.
    async fn ready(self) -> Setup {
        let setup = self.start("").await;
        // Once from each.
        for _ in 0..2 {
            setup.meanwhile(setup.token()).await;
        }
        setup
    }
}

async fn send(setup: &Setup) -> TestResponse {
    setup.meanwhile(post(setup, "messages", &KEY, message("o", 1))).await
}

fn replayed(response: &TestResponse) -> bool {
    response.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
}

/// Status, kind, outcome and whether it is replayed.
fn seen(response: &TestResponse) -> (u16, Value, Value, bool) {
    let json = response.json();
    (response.status, json["kind"].clone(), json["outcome"].clone(), replayed(response))
}

async fn decide(setup: &Setup, id: &str, decision: &str) -> Value {
    setup.pass(121).await;
    let path = format!("outbox/{id}/decision");
    let body = json!({"decision": decision}).to_string();
    let decided = post(setup, &path, &[("If-Match", "*")], body).await;
    assert_eq!(decided.status, 200, "{decided:?}");
    decided.json()
}

/// Tests each with one server. The last one is all of them with two.
macro_rules! with_one_server_and_with_two {
    ($($test:ident)*) => {
        mod with_one_server {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Servers::One).await;
            })*
        }

        #[tokio::test]
        #[ignore = "needs postgresql: scripts/test runs it"]
        async fn two_servers_on_one_database_keep_the_same_rules() {
            let postgres = Postgres::start();
            $($test(Servers::Two(&postgres)).await;)*
        }
    };
}

with_one_server_and_with_two! {
    sent_refused_and_unknown_messages_are_replayed
    decided_message_is_replayed_with_its_decision_and_child
    message_that_was_certainly_not_accepted_is_sent_anew
    fifty_requests_with_one_key_post_once
    a_message_in_flight_is_not_sent_twice
    queued_messages_are_replayed_in_every_state
    a_queued_message_in_flight_is_replayed
    a_decided_message_is_replayed_by_the_queue_with_its_decision
    an_expired_message_is_recorded_anew
    a_required_key_is_asked_for
}

async fn sent_refused_and_unknown_messages_are_replayed(servers: Servers<'_>) {
    for (fault, status, kind, outcome) in [
        (None, 200, Value::Null, "sent"),
        (Some(Fault::ErrCode(ErrCode::USER_REFUSED)), 422, json!("refused"), "refused"),
        (Some(Fault::ResetAfterApply), 504, json!("maybe_sent"), "maybe_sent"),
    ] {
        let setup = servers.ready().await;
        setup.allow("o", 1);
        if let Some(fault) = fault {
            setup.sandbox.add_fault(SEND, 1, fault);
        }
        let first = send(&setup).await;
        assert_eq!(seen(&first), (status, kind.clone(), json!(outcome), false), "{first:?}");
        let again = send(&setup).await;
        assert_eq!(seen(&again), (status, kind, json!(outcome), true), "{again:?}");
        assert_eq!((again.json(), setup.seen(SEND)), (first.json(), 1));
        // The key is one for each route, because the fingerprint covers the route.
        enqueue(&setup, &KEY, message("o", 1)).await.is(422, "key_reused");
        post(&setup, "messages", &KEY, message("p", 1)).await.is(422, "key_reused");
        assert_eq!(setup.seen(SEND), 1);
    }
}

/// A paused app, and the message that is to be sent in place of the one of the key.
async fn sent_again_while_paused(servers: Servers<'_>) -> (Setup, Value) {
    let setup = servers.ready().await;
    setup.sandbox.add_fault(SEND, 1, Fault::ResetAfterApply);
    let first = send(&setup).await;
    post(&setup, "outbox/pause", &[], String::new()).await;
    let child = decide(&setup, &first.id(), "send_again").await["child"]["id"].clone();
    (setup, child)
}

async fn decided_message_is_replayed_with_its_decision_and_child(servers: Servers<'_>) {
    for decision in ["assume_sent", "give_up"] {
        let setup = servers.ready().await;
        setup.sandbox.add_fault(SEND, 1, Fault::ResetAfterApply);
        let first = send(&setup).await;
        decide(&setup, &first.id(), decision).await;
        let again = send(&setup).await;
        assert_eq!(seen(&again), (504, json!("maybe_sent"), json!("maybe_sent"), true));
        assert_eq!((&again.json()["decision"], setup.seen(SEND)), (&json!(decision), 1));
    }

    let (setup, child) = sent_again_while_paused(servers).await;
    let waiting = send(&setup).await;
    assert_eq!(seen(&waiting), (409, json!("in_flight"), json!("maybe_sent"), false), "{waiting:?}");
    assert_eq!((&waiting.json()["id"], waiting.retry_after()), (&child, 5));
    setup.allow("o", 1);
    post(&setup, "outbox/resume", &[], String::new()).await;
    setup.meanwhile(setup.until_received("o", 1)).await;
    setup.meanwhile(setup.until_state_of("wx1", child.as_str().unwrap(), "sent")).await;
    let result = send(&setup).await;
    assert_eq!((seen(&result), &result.json()["id"]), ((200, Value::Null, json!("sent"), true), &child));

    let (setup, child) = sent_again_while_paused(servers).await;
    setup.delete(&format!("outbox/{}", child.as_str().unwrap())).await;
    let cancelled = send(&setup).await;
    assert_eq!(seen(&cancelled), (409, json!("cancelled"), json!("not_sent"), false), "{cancelled:?}");
}

async fn message_that_was_certainly_not_accepted_is_sent_anew(servers: Servers<'_>) {
    for errcode in [45009, 45011, 40001, 40014, 42001] {
        let setup = servers.ready().await;
        setup.allow("o", 1);
        setup.sandbox.add_fault(SEND, 2, Fault::ErrCode(ErrCode::new(errcode)));
        let first = send(&setup).await.has(422, &json!({"kind": "refused", "errcode": errcode}));
        setup.sandbox.clear_faults();
        post(&setup, "outbox/resume", &[], String::new()).await;
        let second = send(&setup).await;
        assert_eq!(seen(&second), (200, Value::Null, json!("sent"), false), "{errcode}: {second:?}");
        let shown = setup.read(&format!("outbox/{}", second.id())).await;
        assert_eq!(shown.json()["parent_id"], json!(first.id()));
    }
    // No token.
    let setup = servers.start("").await;
    setup.allow("o", 1);
    setup.sandbox.add_fault(super::setup::TOKEN, 9, Fault::ErrCode(ErrCode::IP_NOT_ALLOWED));
    send(&setup).await.is(503, "not_sent");
    setup.sandbox.clear_faults();
    setup.pass(400).await;
    let second = send(&setup).await;
    assert_eq!((second.status, setup.received("o")), (200, 1), "{second:?}");
}

async fn fifty_requests_with_one_key_post_once(servers: Servers<'_>) {
    let setup = servers.ready().await;
    setup.allow("o", 1);
    let all = join_all((0..50).map(|_| post(&setup, "messages", &KEY, message("o", 1))));
    let responses = setup.meanwhile(all).await;
    assert_eq!((setup.seen(SEND), setup.received("o")), (1, 1));
    for response in &responses {
        let (status, kind, ..) = seen(response);
        assert!(status == 200 || (status, &kind) == (409, &json!("in_flight")), "{response:?}");
    }
    assert_eq!(responses.iter().filter(|response| response.status == 200 && !replayed(response)).count(), 1);
    let setup = servers.ready().await;
    let all = join_all((0..50).map(|_| enqueue(&setup, &KEY, message("o", 1))));
    let ids: std::collections::BTreeSet<_> =
        setup.meanwhile(all).await.iter().map(TestResponse::id).collect();
    assert_eq!(ids.len(), 1);
}

async fn a_message_in_flight_is_not_sent_twice(servers: Servers<'_>) {
    let setup = servers.ready().await;
    setup.allow("o", 1);
    setup.sandbox.add_fault(SEND, 1, Fault::Hang);
    let first = post(&setup, "messages", &KEY, message("o", 1));
    let second = async {
        setup.until_seen(SEND, 1).await;
        post(&setup, "messages", &KEY, message("o", 1)).await
    };
    let (first, second) = setup.meanwhile(async { tokio::join!(first, second) }).await;
    assert_eq!(seen(&second), (409, json!("in_flight"), json!("maybe_sent"), false));
    assert!(second.retry_after() >= 1);
    assert_eq!((first.status, setup.seen(SEND)), (504, 1));
}

async fn queued_messages_are_replayed_in_every_state(servers: Servers<'_>) {
    let setup = servers.ready().await;
    post(&setup, "outbox/pause", &[], String::new()).await;
    let first = enqueue(&setup, &KEY, message("o", 1)).await;
    assert_eq!((first.status, replayed(&first)), (202, false));
    let again = async || enqueue(&setup, &KEY, message("o", 1)).await;
    assert_eq!((again().await.json(), again().await.status), (first.json(), 202));
    for more in [r#""priority":"low""#, r#""send_at":"2030-01-01T00:00:00Z""#] {
        enqueue(&setup, &KEY, with(&message("o", 1), more)).await.is(422, "key_reused");
    }
    setup.delete(&format!("outbox/{}", first.id())).await;
    assert!(replayed(&again().await.has(202, &json!({"state": "cancelled"}))));
    for (fault, state) in [
        (None, "sent"),
        (Some(Fault::ErrCode(ErrCode::USER_REFUSED)), "refused"),
        (Some(Fault::ResetAfterApply), "maybe_sent"),
    ] {
        let setup = servers.ready().await;
        setup.allow("o", 1);
        if let Some(fault) = fault {
            setup.sandbox.add_fault(SEND, 1, fault);
        }
        let first = enqueue(&setup, &KEY, message("o", 1)).await;
        setup.meanwhile(setup.until_state(&first, state)).await;
        let again = enqueue(&setup, &KEY, message("o", 1)).await;
        assert_eq!((again.status, replayed(&again), again.id()), (202, true, first.id()), "{state}");
        assert_eq!((&again.json()["state"], setup.seen(SEND)), (&json!(state), 1));
    }
}

async fn a_decided_message_is_replayed_by_the_queue_with_its_decision(servers: Servers<'_>) {
    for decision in ["assume_sent", "give_up", "send_again"] {
        let setup = servers.ready().await;
        setup.sandbox.add_fault(SEND, 1, Fault::ResetAfterApply);
        let first = enqueue(&setup, &KEY, message("o", 1)).await;
        setup.meanwhile(setup.until_state(&first, "maybe_sent")).await;
        let decided = decide(&setup, &first.id(), decision).await;
        let again = enqueue(&setup, &KEY, message("o", 1)).await;
        assert_eq!((again.status, replayed(&again)), (202, true), "{decision}: {again:?}");
        match decision {
            "send_again" => assert_eq!(json!(again.id()), decided["child"]["id"]),
            _ => assert_eq!((again.id(), &again.json()["decision"]), (first.id(), &json!(decision))),
        }
    }
}

async fn a_queued_message_in_flight_is_replayed(servers: Servers<'_>) {
    let setup = servers.ready().await;
    setup.sandbox.add_fault(SEND, 1, Fault::Hang);
    let first = enqueue(&setup, &KEY, message("o", 1)).await;
    let again = async {
        setup.until_seen(SEND, 1).await;
        enqueue(&setup, &KEY, message("o", 1)).await
    };
    let again = setup.meanwhile(again).await;
    assert_eq!((again.status, replayed(&again), again.id()), (202, true, first.id()), "{again:?}");
    assert_eq!((&again.json()["state"], setup.seen(SEND)), (&json!("attempting"), 1));
}

async fn an_expired_message_is_recorded_anew(servers: Servers<'_>) {
    let setup = servers.ready().await;
    post(&setup, "outbox/pause", &[], String::new()).await;
    let first = enqueue(&setup, &KEY, message("o", 1)).await;
    setup.clock.advance(std::time::Duration::from_secs(7 * 24 * 3600));
    setup.pass(10).await;
    let expired = setup.meanwhile(setup.until_state(&first, "not_sent")).await;
    assert_eq!(expired.json()["reason"], "expired");
    let second = enqueue(&setup, &KEY, message("o", 1)).await;
    assert!(!replayed(&second.has(202, &json!({"parent_id": first.id(), "state": "queued"}))));
}

async fn a_required_key_is_asked_for(servers: Servers<'_>) {
    let setup = servers.start("require_idempotency_key = true\n").await;
    let ask = async |path: &str| {
        let key = super::setup::key('a');
        setup.ask("POST", &format!("/v1/apps/wx2/{path}"), Some(&key), message("o", 1)).await
    };
    for path in ["messages", "outbox"] {
        ask(path).await.is(400, "key_required");
    }
    let invalid = post(&setup, "messages", &[("Idempotency-Key", "a b")], message("o", 1)).await;
    invalid.has(422, &json!({"problems": [{"field": "Idempotency-Key"}]}));
    assert_eq!(setup.seen(SEND), 0);
}
