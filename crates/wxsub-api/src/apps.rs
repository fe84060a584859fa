//! The status of the server and the apps: the response of [`APPS`](crate::path::APPS).

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wxsub_proto::{AppId, ErrCode, Remedy, TraceId};

use crate::AppHealth;

/// The problems of the server, and all apps that the key may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Apps))]
pub struct AppList {
    /// What is wrong with the server itself. Empty if nothing is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ServerProblem>,
    /// The apps, sorted by AppID.
    pub apps: Vec<AppStatus>,
}

/// What is wrong with the server itself. It contains no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServerProblem {
    /// The kind: `ledger`, `audit`, `reload`, `certificate`, `client_key`, `open_files`, `webhooks` or `inbox`. Later versions may
    /// add kinds.
    pub kind: Cow<'static, str>,
    /// The cause and what to do, for people.
    pub text: String,
    /// The same in Chinese.
    pub text_zh: String,
    /// What to do.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::RemedyName))]
    pub remedy: Remedy,
}

/// The status of one app. It contains no secret.
#[serde_with::skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = App))]
pub struct AppStatus {
    /// The app.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub appid: AppId,
    /// The health of the app.
    pub state: AppHealth,
    /// Where the tokens come from: Weixin's endpoint `token` or `stable_token`, or a token service, `token_url`.
    pub token_endpoint: Cow<'static, str>,
    /// The generation of the current token.
    pub generation: Option<u64>,
    /// Seconds for which a client may cache the current token, as in [`TokenResponse`](crate::TokenResponse).
    pub expires_in: Option<u64>,
    /// Whether the current token may have been invalidated, because the response to a fetch was lost.
    pub in_doubt: bool,
    /// From when on the current token is in doubt, as in RFC 3339. It is there as soon as the response is lost.
    pub in_doubt_from: Option<String>,
    /// The state file could not be read when the server started, and was renamed to `*.broken`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub state_file_broken: bool,
    /// What is wrong with the token store. Absent if it worked when it was last needed.
    pub store: Option<StoreProblem>,
    /// Why fetching fails.
    pub error: Option<AppError>,
    /// Whether its queued messages go on. Absent without a ledger, and if the ledger does not respond.
    pub outbox: Option<AppOutbox>,
}

/// What an operator needs to know of the messages of an app.
#[serde_with::skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AppOutbox {
    /// Messages in the queue, also those that are due later.
    pub queued: u64,
    /// Messages that may have been sent and wait for a decision.
    pub undecided: u64,
    /// What its due messages wait for: `paused` by an operator, `rate`, `quota` or `token`. Absent if they go on.
    pub waiting_for: Option<Cow<'static, str>>,
    /// When the wait ends by itself, as in RFC 3339. Absent if only an operator ends it.
    pub waits_until: Option<String>,
    /// For `quota`: when the next message tries whether Weixin takes messages again.
    pub next_probe_at: Option<String>,
    /// For `paused`: the operator.
    pub paused_by: Option<String>,
    /// For `paused`: since when.
    pub paused_at: Option<String>,
    /// For `paused`: the note of the operator.
    pub note: Option<String>,
    /// How long the oldest due message has waited, in seconds. Absent if none is due.
    pub oldest_due_s: Option<u64>,
}

/// What is wrong with the token store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoreProblem {
    /// The kind: `unreachable`, `unknown_host`, `certificate`, `wrong_credentials`, `missing_right`, `read_only`,
    /// `out_of_memory`, `cluster`, `encryption_key`, `broken_record`, `newer_layout`, `other_upstream`, `other_endpoint`,
    /// `lease_held` or `failed`. Later versions may add kinds.
    pub kind: Cow<'static, str>,
    /// The cause and what to do, for people.
    pub text: String,
    /// What to do: `fix_config` if time will not help.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::RemedyName))]
    pub remedy: Remedy,
    /// Time of the first failure since the store last worked, as in RFC 3339.
    pub since: String,
}

/// Why fetching fails.
#[serde_with::skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(remote = "Self")]
pub struct AppError {
    /// The cause, for people.
    pub text: String,
    /// The same in Chinese. An older server gives no such member; then it is read as the English text.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub text_zh: String,
    /// Weixin's error code, if Weixin refused the call.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<i64>))]
    pub errcode: Option<ErrCode>,
    /// Weixin's id of the refused call.
    #[serde(default, deserialize_with = "crate::send_result::read_trace_id")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub rid: Option<TraceId>,
    /// The address to put on the app's IP allow-list, if Weixin refused the call because of it.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub ip: Option<IpAddr>,
    /// What to do.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::RemedyName))]
    pub remedy: Remedy,
    /// Time of the first failure, as in RFC 3339.
    pub since: Option<String>,
}

// The derived functions of `AppError` have the names of those of the traits, and come first.
impl<'de> Deserialize<'de> for AppError {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut error = Self::deserialize(deserializer)?;
        if error.text_zh.is_empty() {
            error.text_zh.clone_from(&error.text);
        }
        Ok(error)
    }
}

impl Serialize for AppError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that gave its texts in English only.
    #[test]
    fn error_of_an_older_server_is_read() {
        let text = r#"{"text":"no response","remedy":"retry_later"}"#;
        let error: AppError = serde_json::from_str(text).unwrap();
        assert_eq!((error.text.as_str(), error.text_zh.as_str()), ("no response", "no response"));
        let written = serde_json::to_string(&error).unwrap();
        assert_eq!(serde_json::from_str::<AppError>(&written).unwrap(), error);
    }
}
