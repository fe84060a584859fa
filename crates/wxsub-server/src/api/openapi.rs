//! The OpenAPI document of the v1 API: generated from its handlers, with an example of each request and response.

use std::sync::LazyLock;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use wxsub_api::path::APPS;

use super::request::response;
use super::v1::{apps, consents, decision, grants, messages, outbox, token, webhooks};

/// The examples: by method and path, the body of the request and that of each response by status. `problems` has the bodies of
/// all other errors, by status.
const EXAMPLES: &str = include_str!("openapi/examples.json");

/// The errors of most routes, by status. A route that describes a status itself has its own text.
const ERRORS: [(&str, &str); 8] = [
    ("400", "Not JSON"),
    ("401", "No or unknown key"),
    ("403", "The key lacks the scope, or may not use this app"),
    ("404", "No such app, which only keys for all apps learn; no such id, or no ledger"),
    ("413", "Too large"),
    ("422", "Invalid: see problems"),
    ("429", "Too many requests of the client at once; see Retry-After"),
    ("503", "The ledger is unavailable, or the server is overloaded; see Retry-After"),
];

/// `GET /openapi.json`.
pub(super) async fn openapi() -> Response {
    // Built once: the route needs no key, so requests can be frequent.
    static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| serde_json::to_vec(&document()).unwrap_or_default());
    response(StatusCode::OK, "application/json", TEXT.as_slice())
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "wxsub control server",
        description = "Access tokens and one-time subscription messages of Weixin. The Weixin-compatible API is described by \
                       Weixin's own documentation."
    ),
    paths(
        apps::list,
        token::read,
        token::report,
        messages::send_one,
        consents::issue,
        grants::record,
        grants::list,
        grants::void,
        outbox::enqueue,
        outbox::apps,
        outbox::list,
        outbox::show,
        outbox::cancel,
        decision::decide,
        decision::pause,
        decision::resume,
        webhooks::list,
        webhooks::redeliver
    ),
    modifiers(&Key),
    security(("key" = []))
)]
struct Document;

/// Adds the security scheme of client keys.
struct Key;

impl Modify for Key {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme =
            HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A client key")).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

/// The document with its examples.
fn document() -> Value {
    let mut document = serde_json::to_value(Document::openapi()).unwrap_or_default();
    let examples: Map<String, Value> = serde_json::from_str(EXAMPLES).unwrap_or_default();
    let paths = document.get_mut("paths").and_then(Value::as_object_mut).into_iter().flatten();
    for (path, operations) in paths {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            let own = examples.get(&format!("{} {path}", method.to_uppercase()));
            let problems = examples.get("problems");
            let example =
                |name: &str| [own, problems].into_iter().flatten().find_map(|group| group.get(name));
            let has_body = operation.get("requestBody").is_some();
            if let Some(request) = operation.get_mut("requestBody") {
                add_example(request, example("request"));
            }
            let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else {
                continue;
            };
            let errors = ERRORS.into_iter().filter(|(status, _)| match *status {
                "400" | "413" => has_body,
                "404" => path != APPS,
                _ => true,
            });
            for (status, description) in errors {
                responses.entry(status).or_insert_with(|| {
                    let schema = json!({"$ref": "#/components/schemas/Problem"});
                    json!({"description": description, "content": {"application/json": {"schema": schema}}})
                });
            }
            for (status, response) in responses {
                add_example(response, example(status));
            }
        }
    }
    document
}

fn add_example(body: &mut Value, example: Option<&Value>) {
    if let (Some(content), Some(example)) = (body.pointer_mut("/content/application~1json"), example) {
        content["example"] = example.clone();
    }
}
