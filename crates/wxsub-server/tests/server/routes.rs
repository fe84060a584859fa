//! Each route of the v1 API is in the OpenAPI document, in the tables of rights and in the audit, and does what its example says.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wxsub_api::{
    AppList, IssuedConsent, OutboxApps, Problem, Redelivery, SendResult, TokenResponse, WebhookList,
};
use wxsub_hyper::client::view::{AppView, ConsentView, DecidedView, GrantList, MessageList, MessageView};

use super::outbox::{OUTBOX_SCOPES, consent_key};
use super::setup::{ALL, Setup, TestResponse, client, config_with_audit, key};
use super::webhooks::endpoint;

/// The constants of the paths: a new route has one.
const PATHS: &str = include_str!("../../../wxsub-api/src/path.rs");

const DOCUMENTS: [&str; 2] = [
    include_str!("../../../../docs/control-server.md"),
    include_str!("../../../../docs/zh-CN/control-server.md"),
];

const METHODS: [&str; 5] = ["DELETE", "GET", "PATCH", "POST", "PUT"];

/// A method and a path.
pub(crate) type Route = (String, String);

pub(crate) async fn setup(audit: &str) -> Setup {
    let clients = client('a', "\"*\"", &format!("{ALL}, {OUTBOX_SCOPES}, \"admin\""));
    let webhooks = endpoint("shop.example", "");
    let ledger = format!("[ledger]\nurl = \"sqlite:/unused\"\n[consent]\nkey_file = {:?}\n", consent_key());
    Setup::with_ledger_and(config_with_audit(audit, &format!("{clients}{ledger}{webhooks}"))).await.0
}

/// The routes that the server has: without a key, it answers 401.
async fn routes(setup: &Setup) -> BTreeSet<Route> {
    let paths = PATHS.lines().filter_map(|line| line.strip_prefix("pub const ")?.split('"').nth(1));
    let mut routes = BTreeSet::new();
    for path in paths.filter(|path| path.starts_with("/v1")) {
        let target = path.replace("{appid}", "wx1").replace("{id}", "7").replace("{name}", "shop.example");
        for method in METHODS {
            match setup.ask(method, &target, None, "").await.status {
                401 => drop(routes.insert((method.to_owned(), path.to_owned()))),
                405 => {}
                status => panic!("{method} {path}: {status}"),
            }
        }
    }
    assert!(routes.len() >= 15, "{routes:?}");
    routes
}

pub(crate) async fn document(setup: &Setup) -> Value {
    setup.ask("GET", "/openapi.json", None, "").await.json()
}

/// Method, path and description of each operation.
pub(crate) fn operations(document: &Value) -> Vec<(Route, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let mut operations = Vec::new();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push(((method.to_uppercase(), path.clone()), operation));
        }
    }
    operations
}

#[tokio::test]
async fn each_route_is_in_the_openapi_document() {
    let setup = setup("\"off\"").await;
    let document = document(&setup).await;
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3.") && document["info"]["version"].is_string()
    );
    // Without a list of its own, each operation needs the key.
    assert_eq!(document["security"], json!([{"key": []}]));
    let operations = operations(&document);
    for (route, operation) in &operations {
        assert!(operation["security"].is_null() && operation["responses"]["401"].is_object(), "{route:?}");
    }
    let described: BTreeSet<_> = operations.into_iter().map(|(route, _)| route).collect();
    assert_eq!(described, routes(&setup).await);
    let schemas = &document["components"]["schemas"];
    let outcomes = &schemas["SendStatus"]["enum"];
    assert_eq!(outcomes, &json!(["sent", "refused", "invalid", "not_sent", "maybe_sent"]));
    assert!(schemas["Token"]["properties"]["generation"].is_object());
    // Every reference has a target.
    let text = document.to_string();
    for name in text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(schemas[name].is_object(), "{name}");
    }
}

/// The rows of the tables in the section about rights.
fn documented(document: &str) -> BTreeSet<Route> {
    let section = document.lines().skip_while(|line| !["## Rights", "## 权限"].contains(line)).skip(1);
    let rows = section.take_while(|line| !line.starts_with("## "));
    let requests = rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next()?.split_once(' '));
    let requests = requests.filter(|(_, path)| path.starts_with("/v1"));
    requests.map(|(method, path)| (method.to_owned(), path.to_owned())).collect()
}

#[tokio::test]
async fn each_route_is_in_the_tables_of_rights() {
    let routes = routes(&setup("\"off\"").await).await;
    for document in DOCUMENTS {
        assert_eq!(documented(document), routes);
    }
}

/// The bodies of examples have this app and template.
fn at_sandbox(value: &Value) -> String {
    value.to_string().replace("TEMPLATE_ID", "T").replace("\"scene\":1000", "\"scene\":1")
}

/// The operations, in an order in which each succeeds.
const ORDER: [&str; 18] = [
    "issue_consent",
    "record_grant",
    "list_grants",
    "void_grant",
    "pause_app",
    "enqueue",
    "list_outbox_apps",
    "list_messages",
    "show_message",
    "cancel_message",
    "resume_app",
    "decide_message",
    "send_message",
    "list_apps",
    "read_token",
    "report_token",
    "list_webhooks",
    "redeliver_webhooks",
];

/// Makes the documented request of each route.
async fn each_request(setup: &Setup, document: &Value) -> Vec<(Route, TestResponse)> {
    let operations = operations(document);
    let names: BTreeSet<_> =
        operations.iter().map(|(_, operation)| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(names, ORDER.into_iter().collect(), "add the operation to the order");
    let (mut id, mut responses) = (String::new(), Vec::new());
    for name in ORDER {
        let (route, operation) =
            operations.iter().find(|(_, operation)| operation["operationId"] == name).unwrap();
        let mut headers = vec![("Authorization", format!("Bearer {}", key('a')))];
        match name {
            "record_grant" | "enqueue" => headers.push(("Idempotency-Key", name.to_owned())),
            "decide_message" => {
                let (undecided, version) = setup.undecided("oUndecided").await;
                headers.push(("If-Match", version));
                id = undecided;
            }
            "send_message" => setup.allow("OPENID", 1),
            _ => {}
        }
        let request = operation.pointer("/requestBody/content/application~1json/example");
        assert_eq!(request.is_some(), operation.get("requestBody").is_some(), "{name} has no example");
        let mut target =
            route.1.replace("{appid}", "wx1").replace("{id}", &id).replace("{name}", "shop.example");
        if name == "list_grants" {
            target += "?openid=OPENID";
        }
        let mut body = request.map(at_sandbox).unwrap_or_default();
        if name == "report_token" {
            body = body.replace("ACCESS_TOKEN", &setup.token().await.access_token());
        }
        let response = setup.meanwhile(setup.ask_with(&route.0, &target, &headers, body)).await;
        assert!((200..300).contains(&response.status), "{name}: {response:?}");
        match name {
            "record_grant" => id = response.json()["grant"].as_str().unwrap().to_owned(),
            "enqueue" => id = response.id(),
            _ => {}
        }
        responses.push((route.clone(), response));
    }
    responses
}

#[tokio::test]
async fn each_route_has_its_audit_line() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("audit-routes.jsonl");
    let _ = std::fs::remove_file(&path);
    let setup = setup(&format!("{path:?}")).await;
    let document = document(&setup).await;
    let requests = each_request(&setup, &document).await.len();
    // The server writes all queued lines before it ends, if its clock stands still meanwhile.
    setup.stop().await;
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["outcome"] != "denied" && line["client"] == "a"), "{text}");
    let actions: BTreeSet<_> = lines.iter().map(|line| line["action"].as_str().unwrap()).collect();
    // Listing apps, listing messages and showing one are one action.
    assert_eq!(actions.len(), requests - 2, "{actions:?}");
}

/// The example is what this type reads and writes.
fn check_type<T: DeserializeOwned + Serialize>(example: &Value, place: &str) {
    let read: T = serde_json::from_value(example.clone()).unwrap_or_else(|error| panic!("{place}: {error}"));
    assert_eq!(serde_json::to_value(read).unwrap(), *example, "{place}");
}

fn check_example(schema: &str, example: &Value, place: &str) {
    match schema {
        "Apps" => check_type::<AppList>(example, place),
        "Token" => check_type::<TokenResponse<'_>>(example, place),
        "SendResult" => check_type::<SendResult>(example, place),
        "IssuedConsent" => check_type::<IssuedConsent>(example, place),
        "RecordedConsent" => check_type::<ConsentView>(example, place),
        "Grants" => check_type::<GrantList>(example, place),
        "DecidedMessage" => check_type::<DecidedView>(example, place),
        "OutboxMessage" => check_type::<MessageView>(example, place),
        "OutboxPage" => check_type::<MessageList>(example, place),
        "OutboxApp" => check_type::<AppView>(example, place),
        "OutboxApps_OutboxApp" => check_type::<OutboxApps<AppView>>(example, place),
        "Webhooks" => check_type::<WebhookList>(example, place),
        "Redelivery" => check_type::<Redelivery>(example, place),
        "Problem" => check_type::<Problem>(example, place),
        other => panic!("{place}: {other} has no type here"),
    }
}

#[tokio::test]
async fn each_example_is_what_our_types_read_and_write() {
    let document = document(&setup("\"off\"").await).await;
    let mut examples = 0;
    for ((method, path), operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let Some(content) = response.pointer("/content/application~1json") else { continue };
            let place = format!("{method} {path}: {status}");
            let schema = content["schema"]["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
            let example = content.get("example").unwrap_or_else(|| panic!("{place}: no example"));
            check_example(schema, example, &place);
            if schema == "Problem" {
                assert_eq!(example["status"].to_string(), *status, "{place}");
            }
            examples += 1;
        }
    }
    assert!(examples > 90, "{examples}");
}

/// Each member of a response has the type that it has in the example. Members that the example does not have are described.
fn check_shape(example: &Value, real: &Value, schema: &Value, place: &str) {
    match (example, real) {
        (Value::Object(example), Value::Object(real)) => {
            for (name, value) in real {
                match example.get(name) {
                    Some(example) => check_shape(example, value, &Value::Null, &format!("{place}.{name}")),
                    None => assert!(
                        schema.is_null() || schema["properties"].get(name).is_some(),
                        "{place}: {name} is not described"
                    ),
                }
            }
        }
        (Value::Array(example), Value::Array(real)) => {
            if let (Some(example), Some(real)) = (example.first(), real.first()) {
                check_shape(example, real, &Value::Null, place);
            }
        }
        _ => assert_eq!(
            std::mem::discriminant(example),
            std::mem::discriminant(real),
            "{place}: {example} and {real}"
        ),
    }
}

#[tokio::test]
async fn each_response_has_the_shape_of_its_example() {
    let setup = setup("\"off\"").await;
    let document = document(&setup).await;
    for ((method, path), response) in each_request(&setup, &document).await {
        let place = format!("{method} {path}: {}", response.status);
        let (_, operation) = operations(&document)
            .into_iter()
            .find(|(route, _)| *route == (method.clone(), path.clone()))
            .unwrap();
        let described = operation["responses"].get(response.status.to_string());
        let described = described.unwrap_or_else(|| panic!("{place} is not described"));
        let Some(content) = described.pointer("/content/application~1json") else {
            assert_eq!(response.text, "", "{place}");
            continue;
        };
        let reference = content["schema"]["$ref"].as_str().unwrap().trim_start_matches('#');
        let schema = document.pointer(reference).unwrap();
        check_shape(&content["example"], &response.json(), schema, &place);
    }
}
