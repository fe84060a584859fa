//! Descriptions for the OpenAPI document, of what `wxsub-proto` reads and writes. The members of a message are `KNOWN` in
//! `message/draft/names.rs` there. The views of `wxsub-outbox` describe themselves.

use utoipa::ToSchema;

/// A message in Weixin's field names, for the OpenAPI document. `wxsub-proto` parses it. One for the queue has `send_at`, `expires_at`
/// and `priority` besides.
#[derive(Debug, ToSchema)]
#[schema(as = Message)]
#[expect(dead_code, reason = "a description only")]
pub struct SendMessageRequest {
    #[schema(max_length = 128)]
    touser: String,
    #[schema(max_length = 128)]
    template_id: String,
    #[schema(minimum = 0, maximum = 10_000)]
    scene: u32,
    #[schema(min_length = 1, max_length = 15)]
    title: String,
    data: SendMessageData,
    url: Option<String>,
    miniprogram: Option<SendMessagePage>,
}

#[derive(Debug, ToSchema)]
#[schema(as = MessageData)]
#[expect(dead_code, reason = "a description only")]
struct SendMessageData {
    content: SendMessageContent,
}

#[derive(Debug, ToSchema)]
#[schema(as = MessageContent)]
#[expect(dead_code, reason = "a description only")]
struct SendMessageContent {
    #[schema(min_length = 1, max_length = 200)]
    value: String,
    #[schema(pattern = "^#[0-9A-Fa-f]{6}$")]
    color: Option<String>,
}

#[derive(Debug, ToSchema)]
#[schema(as = MessagePage)]
#[expect(dead_code, reason = "a description only")]
struct SendMessagePage {
    appid: String,
    pagepath: String,
}

/// The wire names of [`Remedy`], for the OpenAPI document.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "a description only")]
pub(crate) enum RemedyName {
    RefreshToken,
    RetryLater,
    SlowDown,
    FixRequest,
    FixConfig,
    AllowIp,
    Stop,
    Investigate,
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;
    use utoipa::{PartialSchema, ToSchema};
    use wxsub_proto::message::MessageDraft;

    use super::SendMessageRequest;

    /// The names of the members of each object, by the name of the object in [`MessageDraft::MEMBERS`].
    type Members = BTreeMap<String, BTreeSet<String>>;

    /// Adds the members of an object and of the objects in it.
    fn add_members(found: &mut Members, object: &str, schema: &Value, schemas: &BTreeMap<String, Value>) {
        let properties = schema["properties"].as_object().unwrap();
        found.insert(object.to_owned(), properties.keys().cloned().collect());
        for (name, property) in properties {
            // An optional object is one of the object and null.
            let Some(reference) = property.get("$ref").or_else(|| property.pointer("/oneOf/0/$ref")) else {
                continue;
            };
            let schema = &schemas[reference.as_str().unwrap().rsplit('/').next().unwrap()];
            let child = if object == "message" { name.clone() } else { format!("{object}.{name}") };
            add_members(found, &child, schema, schemas);
        }
    }

    #[test]
    fn message_has_the_members_that_proto_knows() {
        let mut schemas = Vec::new();
        SendMessageRequest::schemas(&mut schemas);
        let schemas =
            schemas.into_iter().map(|(name, schema)| (name, serde_json::to_value(schema).unwrap())).collect();
        let message = serde_json::to_value(SendMessageRequest::schema()).unwrap();
        let mut described = Members::new();
        add_members(&mut described, "message", &message, &schemas);
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let known: Members = MessageDraft::MEMBERS
            .into_iter()
            .map(|(object, names)| (object.to_owned(), owned(names)))
            .collect();
        assert_eq!(described, known);
    }
}
