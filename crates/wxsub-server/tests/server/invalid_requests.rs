//! Requests of the v1 API with a wrong body or query: each response names every field, the rule and what to do.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::outbox::{ledger_config, post};
use super::routes;
use super::setup::{Setup, TestResponse, key, message};

/// A route that takes a JSON body: the path below the app, a valid body, and the members that may be missing.
struct Posted {
    path: &'static str,
    body: Value,
    optional: &'static [&'static str],
}

const MESSAGE_ID: &str = "01010101-0101-0101-0101-010101010101";

fn posted() -> [Posted; 8] {
    let message: Value = serde_json::from_str(&message("o", 1)).unwrap();
    let mut queued = message.clone();
    for (name, value) in
        [("send_at", "2030-01-01T00:00:00Z"), ("expires_at", "2031-01-01T00:00:00Z"), ("priority", "high")]
    {
        queued[name] = json!(value);
    }
    let callback = "openid=o&template_id=T&scene=1&action=confirm&reserved=x";
    let asked =
        json!({"scene": 1, "template_id": "T", "session": "s", "redirect_url": "https://shop.example/back"});
    let decision = "outbox/01010101-0101-0101-0101-010101010101/decision";
    let grant = json!({"openid": "o", "template_id": "T", "scene": 1});
    [
        Posted { path: "access_token/report", body: json!({"access_token": "t"}), optional: &[] },
        Posted { path: "messages", body: message, optional: &[] },
        Posted { path: "outbox", body: queued, optional: &["send_at", "expires_at", "priority"] },
        Posted { path: "consents", body: asked, optional: &["redirect_url"] },
        Posted { path: "grants", body: json!({"callback": callback, "session": "s"}), optional: &[] },
        Posted { path: "grants", body: grant, optional: &[] },
        Posted { path: decision, body: json!({"decision": "give_up", "note": "n"}), optional: &["note"] },
        Posted { path: "outbox/pause", body: json!({"note": "n"}), optional: &["note"] },
    ]
}

/// What serde and axum say of a wrong body or query.
const WORDS_OF_PARSERS: [&str; 10] = [
    "invalid type",
    "invalid value",
    "missing field",
    "unknown field",
    "unknown variant",
    "duplicate field",
    "data did not match",
    "expected ",
    " at line ",
    "deserialize",
];

/// The fields of the problems of a response with this status and kind.
fn fields(response: &TestResponse, status: u16, kind: &str, place: &str) -> BTreeSet<String> {
    assert_eq!((response.status, response.kind().as_str()), (status, kind), "{place}: {response:?}");
    for words in WORDS_OF_PARSERS {
        assert!(!response.text.contains(words), "{place}: {response:?}");
    }
    let json = response.json();
    let problems = json["problems"].as_array().unwrap_or_else(|| panic!("{place}: {response:?}"));
    let has_rule = |problem: &Value| problem["rule"].as_str().is_some_and(|rule| rule.len() > 8);
    assert!(problems.iter().all(has_rule), "{response:?}");
    problems.iter().map(|problem| problem["field"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn each_wrong_body_names_every_field() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    let headers = [("Idempotency-Key", "k"), ("If-Match", "*")];
    for Posted { path, body, optional } in posted() {
        let ask = async |body: String| post(&setup, path, &headers, body).await;
        let members: BTreeSet<String> = body.as_object().unwrap().keys().cloned().collect();
        let text = body.to_string();
        for not_json in ["{broken", "[]", "7", "nonsense", &text.replacen('{', "{\"x\":1,\"x\":1,", 1)] {
            let place = format!("{path} {not_json}");
            assert_eq!(fields(&ask(not_json.to_owned()).await, 400, "not_json", &place).len(), 1, "{place}");
        }
        let names = |fields: &BTreeSet<String>, member: &str| {
            fields.iter().any(|field| field == member || field.starts_with(&format!("{member}.")))
        };
        for member in &members {
            let place = format!("{path} {member}");
            let mut wrong = body.clone();
            wrong[member] = json!([1]);
            assert!(names(&fields(&ask(wrong.to_string()).await, 422, "invalid", &place), member), "{place}");
            let mut missing = body.clone();
            missing.as_object_mut().unwrap().remove(member);
            if !optional.contains(&member.as_str()) {
                let fields = fields(&ask(missing.to_string()).await, 422, "invalid", &place);
                assert!(fields.len() == 1 && names(&fields, member), "{place}: {fields:?}");
            }
        }
        // A report may be the response of a read, which has more members.
        if path != "access_token/report" {
            let mut unknown = body.clone();
            unknown["unnamed"] = json!(1);
            let response = ask(unknown.to_string()).await;
            assert_eq!(fields(&response, 422, "invalid", path).len(), 1, "{response:?}");
            assert!(response.text.contains(r#"has an unknown member \"unnamed\"; "#), "{response:?}");
        }
        let all_wrong: Value = members.iter().map(|member| (member.clone(), json!([1]))).collect();
        let fields = fields(&ask(all_wrong.to_string()).await, 422, "invalid", path);
        assert!(members.iter().all(|member| names(&fields, member)), "{path}: {fields:?}");
        ask("x".repeat(65_537)).await.is(413, "too_large");
    }
}

#[tokio::test]
async fn grant_without_any_member_names_both_forms() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    let response = post(&setup, "grants", &[], "{}".to_owned()).await;
    assert_eq!(fields(&response, 422, "invalid", "{}"), ["callback".to_owned()].into());
    let both = "send callback and session, or openid, template_id and scene";
    assert!(response.text.contains(both), "{response:?}");
}

#[tokio::test]
async fn each_wrong_query_names_the_parameter() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    for (path, field) in [
        ("grants", "openid"),
        ("grants?openid=", "openid"),
        ("grants?openid=a%20b", "openid"),
        ("grants?openid=o&openid=o", "openid"),
        ("outbox?state=lost", "state"),
        ("outbox?after=1", "after"),
        ("outbox?limit=0", "limit"),
        ("outbox?limit=1001", "limit"),
        ("outbox?limit=x", "limit"),
        ("outbox?page=2", "query"),
        ("outbox?openid=%ff", "query"),
    ] {
        let response = setup.read(path).await;
        assert_eq!(fields(&response, 422, "invalid", path), [field.to_owned()].into(), "{path}");
    }
    let several = setup.read("outbox?state=lost&limit=0&page=2").await;
    assert_eq!(fields(&several, 422, "invalid", "several").len(), 3, "{several:?}");
}

/// A parameter that is ignored would make the caller believe that it works.
#[tokio::test]
async fn each_route_refuses_an_unknown_parameter() {
    let setup = routes::setup("\"off\"").await;
    let document = routes::document(&setup).await;
    for ((method, path), operation) in routes::operations(&document) {
        let path =
            path.replace("{appid}", "wx1").replace("{id}", MESSAGE_ID).replace("{name}", "shop.example");
        let needed = if path.ends_with("/grants") && method == "GET" { "&openid=o" } else { "" };
        let target = format!("{path}?unnamed=1{needed}");
        let response = setup.ask(&method, &target, Some(&key('a')), "").await;
        assert_eq!(fields(&response, 422, "invalid", &target), ["query".to_owned()].into(), "{target}");
        assert!(response.text.contains(r#"has an unknown parameter \"unnamed\"; "#), "{response:?}");
        assert!(operation["responses"].get("422").is_some(), "{target}: 422 is not described");
        // A key that may not do this learns nothing of the query.
        assert_eq!(setup.ask(&method, &target, None, "").await.status, 401, "{target}");
    }
}
