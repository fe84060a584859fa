//! The v1 API.

use futures_util::future::join_all;
use serde_json::json;
use wxsub_core::proto::ErrCode;
use wxsub_sandbox::Fault;

use super::outbox::{post, with};
use super::setup::{ALL, SEND, Setup, TOKEN, client, key, message, usual};

#[tokio::test]
async fn concurrent_reads_cost_one_fetch_reports_another_and_late_ones_none() {
    let setup = Setup::new(&usual()).await;
    let reads = join_all((0..300).map(|_| setup.token())).await;
    let first = &reads[0];
    assert!(reads.iter().all(|read| read.status == 200 && read.text == first.text), "{reads:?}");
    assert_eq!(setup.seen(TOKEN), 1);
    assert_eq!(
        (&first.headers["cache-control"], &first.headers["content-type"]),
        (&"no-store".parse().unwrap(), &"application/json".parse().unwrap())
    );
    let expires_in = first.json()["expires_in"].as_u64().unwrap();
    // Until the planned refresh at half of the lifetime ± 10 %, and four minutes of overlap.
    assert!((3240 + 240..=3960 + 240).contains(&expires_in), "{expires_in}");
    assert!(first.json()["generation"].as_u64().unwrap() > 1_000_000_000_000);
    let token = first.access_token();
    setup.invalidate_tokens();
    let responses = join_all((0..300).map(|_| setup.report(&token))).await;
    assert!(
        responses.iter().all(|response| response.status == 200 && response.text == responses[0].text),
        "{responses:?}"
    );
    assert_ne!(responses[0].access_token(), token);
    assert!(responses[0].json()["generation"].as_u64() > first.json()["generation"].as_u64());
    assert_eq!(setup.seen(TOKEN), 2);
    for late in [token.as_str(), "never-heard-of"] {
        assert_eq!(setup.report(late).await.text, responses[0].text);
    }
    assert_eq!(setup.seen(TOKEN), 2);
}

#[tokio::test]
async fn key_may_report_three_times_then_once_a_minute() {
    let setup = Setup::new(&usual()).await;
    let mut token = setup.token().await.access_token();
    for _ in 0..3 {
        let response = setup.report(&token).await;
        assert_eq!(response.status, 200, "{response:?}");
        token = response.access_token();
    }
    let refused = setup.report(&token).await.is(429, "rate_limited");
    assert!(refused.retry_after() == 60 && !refused.text.contains(&token), "{refused:?}");
    // Other clients still get the token, and reports of older ones start no fetch.
    assert_eq!(setup.token().await.access_token(), token);
    assert_eq!(setup.seen(TOKEN), 4);
    setup.pass(60).await;
    assert_eq!(setup.report(&token).await.status, 200);
}

#[tokio::test]
async fn response_of_a_read_is_a_report() {
    let setup = Setup::new(&usual()).await;
    let read = setup.token().await;
    let response = post(&setup, "access_token/report", &[], read.text.clone()).await.has(200, &json!({}));
    assert_ne!(response.access_token(), read.access_token());
}

#[tokio::test]
async fn app_refreshes_five_times_for_any_number_of_keys() {
    let keys: String = ('a'..='f').map(|letter| client(letter, "\"wx1\"", ALL)).collect();
    let setup = Setup::new(&keys).await;
    let mut token = setup.token().await.access_token();
    let mut statuses = Vec::new();
    for letter in ('a'..='f').cycle().take(12) {
        let body = json!({"access_token": token}).to_string();
        let response = setup.ask("POST", "/v1/apps/wx1/access_token/report", Some(&key(letter)), body).await;
        statuses.push(response.status);
        if response.status == 200 {
            token = response.access_token();
        }
    }
    assert_eq!(statuses, [[200; 5].as_slice(), &[429; 7]].concat());
    assert_eq!(setup.seen(TOKEN), 6);
}

#[tokio::test]
async fn missing_token_is_a_problem_with_a_remedy() {
    let setup = Setup::new(&usual()).await;
    setup.sandbox.add_fault(TOKEN, 99, Fault::ErrCode(ErrCode::IP_NOT_ALLOWED));
    let response = setup.token().await;
    let response = response.has(503, &json!({"kind": "no_token", "errcode": 40164, "remedy": "allow_ip"}));
    assert!(response.retry_after() >= 1);
    let again = setup.token().await;
    assert_eq!((again.status, setup.seen(TOKEN)), (503, 1));
    assert_eq!(setup.ask("GET", "/readyz", None, "").await.status, 503);
    // The server recovers without a restart.
    setup.sandbox.clear_faults();
    setup.pass(400).await;
    assert_eq!(setup.token().await.status, 200);
}

#[tokio::test]
async fn message_is_sent_refused_and_sent_after_refresh() {
    let setup = Setup::new(&usual()).await;
    setup.allow("oUser", 1);
    let sent = setup.send(message("oUser", 1)).await;
    let expected = json!({"outcome": "sent", "touser": "oUser", "template_id": "T", "scene": "1"});
    assert_eq!((sent.status, sent.json()), (200, expected));
    let expected =
        json!({"kind": "refused", "outcome": "refused", "errcode": 43101, "remedy": "stop", "stage": "send"});
    let refused = setup.send(message("oUser", 1)).await.has(422, &expected);
    assert!(refused.json()["rid"].is_string());
    setup.allow("oUser", 2);
    setup.invalidate_tokens();
    assert_eq!(setup.send(message("oUser", 2)).await.status, 200);
    assert_eq!((setup.received("oUser"), setup.seen(TOKEN)), (2, 2));
}

#[tokio::test]
async fn unknown_outcome_is_504_and_not_sent_is_503() {
    let setup = Setup::new(&usual()).await;
    setup.token().await;
    for fault in [Fault::ResetAfterApply, Fault::Status(502), Fault::Html, Fault::Hang] {
        setup.sandbox.add_fault(SEND, 1, fault);
        setup.meanwhile(setup.send(message("oUser", 1))).await.has(504, &json!({"outcome": "maybe_sent"}));
    }
    let cold = Setup::new(&usual()).await;
    cold.sandbox.add_fault(TOKEN, 99, Fault::Status(502));
    let response = cold.meanwhile(cold.send(message("oUser", 1))).await;
    assert!(response.has(503, &json!({"outcome": "not_sent"})).retry_after() >= 1);
    // Without a token nothing was sent, however long the wait.
    let cold = Setup::new(&(usual() + "[limits]\nrequest_timeout_s = 5\n")).await;
    cold.sandbox.add_fault(TOKEN, 99, Fault::Hang);
    let response = cold.meanwhile(cold.send(message("oUser", 1))).await;
    response.has(503, &json!({"outcome": "not_sent", "touser": "oUser", "stage": "token"}));
    assert_eq!(cold.seen(SEND), 0);
}

#[tokio::test]
async fn a_refused_token_call_leaves_the_message_not_sent() {
    for (errcode, remedy) in [(40164, "allow_ip"), (40125, "fix_config"), (45009, "slow_down")] {
        let setup = Setup::new(&usual()).await;
        setup.sandbox.add_fault(TOKEN, 99, Fault::ErrCode(ErrCode::new(errcode)));
        let response = setup.send(message("oUser", 1)).await;
        let expected = json!({"kind": "not_sent", "outcome": "not_sent", "stage": "token", "errcode": errcode, "remedy": remedy});
        assert!(response.has(503, &expected).retry_after() > 5, "the wait is that of the token");
        // One call was refused, and no message.
        let refusals = format!("wxsub_refusals_total{{appid=\"wx1\",errcode=\"{errcode}\"}} 1");
        let sends = "wxsub_sends_total{appid=\"wx1\",client=\"a\",outcome=\"not_sent\"} 1";
        setup.assert_metrics(&[&refusals, sends]).await;
        assert!(!setup.metrics().await.contains("outcome=\"refused\""));
        assert_eq!(setup.seen(SEND), 0);
    }
}

#[tokio::test]
async fn empty_members_count_as_absent_and_unknown_ones_are_named() {
    let setup = Setup::new(&usual()).await;
    setup.allow("oUser", 1);
    let sent = setup.send(with(&message("oUser", 1), r#""miniprogram":"","url":"""#)).await;
    assert_eq!(sent.status, 200, "{sent:?}");
    let unknown = setup.send(with(&message("oUser", 1), r#""toUser":"oUser""#)).await;
    let rule = "has an unknown member \"toUser\"; the right name is touser";
    unknown.has(422, &json!({"problems": [{"rule": rule}]}));
}

#[tokio::test]
async fn invalid_message_is_not_posted() {
    let setup = Setup::new(&usual()).await;
    let invalid = setup.send(message("oUser", 1).replace("Parcel", "")).await;
    invalid.has(422, &json!({"problems": [{"field": "title"}], "outcome": "invalid", "touser": "oUser"}));
    setup.send("[]".to_owned()).await.has(400, &json!({"outcome": "invalid"}));
    assert_eq!(setup.seen(SEND), 0);
}

#[tokio::test]
async fn metrics_count_and_hold_no_secret() {
    let setup = Setup::new(&usual()).await;
    let token = setup.token().await.access_token();
    setup.invalidate_tokens();
    setup.report(&token).await;
    setup.send(message("oUser", 1)).await;
    setup.ask("GET", "/nowhere", None, "").await;
    let series = [
        "wxsub_token_in_doubt{appid=\"wx1\"} 0",
        "wxsub_token_expires_in_seconds{appid=\"wx2\"} 0",
        "wxsub_token_fetches_total{appid=\"wx1\",result=\"issued\"} 2",
        "wxsub_token_reads_total{api=\"v1\"} 2",
        "wxsub_token_reports_total{appid=\"wx1\",result=\"ok\"} 1",
        "wxsub_sends_total{appid=\"wx1\",client=\"a\",outcome=\"refused\"} 1",
        "wxsub_refusals_total{appid=\"wx1\",errcode=\"43101\"} 1",
        "wxsub_http_request_duration_seconds_count{route=\"/v1/apps/{appid}/access_token\",status=\"200\"} 1",
    ];
    setup.assert_metrics(&series).await;
    let metrics = setup.metrics().await;
    assert!(
        metrics.contains("route=\"other\"") && metrics.contains("wxsub_token_generation{appid=\"wx1\"} 1")
    );
    let now = setup.token().await.access_token();
    assert!(!metrics.contains(&token) && !metrics.contains(&now) && !metrics.contains("oUser"));
    assert!(!metrics.contains(&key('a')));
}
