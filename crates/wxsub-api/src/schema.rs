//! Descriptions for the OpenAPI document, of what `wxsub-proto` reads and writes. The members of a message are `KNOWN` in
//! `message/draft/names.rs` there.

use utoipa::ToSchema;

/// A message in Weixin's field names, for the OpenAPI document. `wxsub-proto` parses it.
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

/// A message of the outbox, for the OpenAPI document. `wxsub-outbox` writes it. Its request has `send_at`, `expires_at` and
/// `priority` besides the members of [`SendMessageRequest`].
#[derive(Debug, ToSchema)]
#[schema(as = OutboxMessage)]
#[expect(dead_code, reason = "a description only")]
pub struct OutboxMessageView {
    id: String,
    appid: String,
    #[schema(pattern = "^(queued|attempting|sent|refused|maybe_sent|not_sent|cancelled)$")]
    state: String,
    reason: Option<String>,
    touser: Option<String>,
    template_id: Option<String>,
    scene: Option<String>,
    attempt: u32,
    failures: u32,
    version: u32,
    created_at: String,
    send_at: String,
    expires_at: String,
    attempted_at: Option<String>,
    settled_at: Option<String>,
    errcode: Option<i64>,
    errmsg: Option<String>,
    rid: Option<String>,
    remedy: Option<RemedyName>,
    stage: Option<crate::SendStage>,
    idempotency_key: Option<String>,
    grant: Option<String>,
    decision: Option<String>,
    decided_by: Option<String>,
    parent_id: Option<String>,
    waiting_for: Option<String>,
    waits_until: Option<String>,
    events: Option<Vec<OutboxEventView>>,
    /// After `send_again`: the message that is sent in its place.
    #[schema(no_recursion)]
    child: Option<Box<OutboxMessageView>>,
}

#[derive(Debug, ToSchema)]
#[schema(as = OutboxEvent)]
#[expect(dead_code, reason = "a description only")]
struct OutboxEventView {
    at: String,
    event: String,
    attempt: u32,
    actor: Option<String>,
    detail: Option<String>,
}

/// A page of messages, for the OpenAPI document.
#[derive(Debug, ToSchema)]
#[schema(as = OutboxPage)]
#[expect(dead_code, reason = "a description only")]
pub struct OutboxPageView {
    messages: Vec<OutboxMessageView>,
    next: Option<String>,
}

/// What became of a consent, for the OpenAPI document.
#[derive(Debug, ToSchema)]
#[schema(as = RecordedConsent)]
#[expect(dead_code, reason = "a description only")]
pub struct RecordedConsentView {
    #[schema(pattern = "^(recorded|already_recorded|absorbed|declined)$")]
    outcome: String,
    grant: Option<String>,
}

/// The grants of a user, for the OpenAPI document.
#[derive(Debug, ToSchema)]
#[schema(as = Grants)]
#[expect(dead_code, reason = "a description only")]
pub struct GrantsView {
    grants: Vec<GrantView>,
}

#[derive(Debug, ToSchema)]
#[schema(as = Grant)]
#[expect(dead_code, reason = "a description only")]
struct GrantView {
    id: String,
    appid: String,
    openid: String,
    template_id: String,
    scene: String,
    #[schema(pattern = "^(open|reserved|attempting|used|in_doubt|void)$")]
    state: String,
    consented_at: String,
}

/// The apps of the outbox, for the OpenAPI document.
#[derive(Debug, ToSchema)]
#[schema(as = OutboxApps)]
#[expect(dead_code, reason = "a description only")]
pub struct OutboxAppsView {
    apps: Vec<OutboxAppView>,
}

/// An app of the outbox, for the OpenAPI document.
#[derive(Debug, ToSchema)]
#[schema(as = OutboxApp)]
#[expect(dead_code, reason = "a description only")]
pub struct OutboxAppView {
    appid: String,
    waiting_for: Option<String>,
    paused_by: Option<String>,
    note: Option<String>,
    paused_at: Option<String>,
    waits_until: Option<String>,
    next_probe_at: Option<String>,
    counts: std::collections::BTreeMap<String, u64>,
    undecided: u64,
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
