//! The status of the server and the apps: the response of [`APPS`](crate::path::APPS).

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
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
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = App))]
pub struct AppStatus {
    /// The app.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub appid: AppId,
    /// The health of the app.
    pub state: AppHealth,
    /// Where the tokens come from: Weixin's endpoint `token` or `stable_token`, or a token service, `token_url`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub token_endpoint: Cow<'static, str>,
    /// The generation of the current token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Seconds for which a client may cache the current token, as in [`TokenResponse`](crate::TokenResponse).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
    /// Whether the current token may have been invalidated, because the response to a fetch was lost.
    pub in_doubt: bool,
    /// From when on the current token is in doubt, as in RFC 3339. It is there as soon as the response is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_doubt_from: Option<String>,
    /// The state file could not be read when the server started, and was renamed to `*.broken`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub state_file_broken: bool,
    /// What is wrong with the token store. Absent if it worked when it was last needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreProblem>,
    /// Why fetching fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<AppError>,
    /// Whether its queued messages go on. Absent without a ledger, and if the ledger does not respond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbox: Option<AppOutbox>,
}

/// What an operator needs to know of the messages of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AppOutbox {
    /// Messages in the queue, also those that are due later.
    pub queued: u64,
    /// Messages that may have been sent and wait for a decision.
    pub undecided: u64,
    /// What its due messages wait for: `paused` by an operator, `rate`, `quota` or `token`. Absent if they go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub waiting_for: Option<Cow<'static, str>>,
    /// When the wait ends by itself, as in RFC 3339. Absent if only an operator ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_until: Option<String>,
    /// For `quota`: when the next message tries whether Weixin takes messages again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_probe_at: Option<String>,
    /// For `paused`: the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<String>,
    /// For `paused`: since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<String>,
    /// For `paused`: the note of the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// How long the oldest due message has waited, in seconds. Absent if none is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_due_s: Option<u64>,
}

/// What is wrong with the token store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoreProblem {
    /// The kind: `unreachable`, `unknown_host`, `certificate`, `wrong_credentials`, `missing_right`, `read_only`,
    /// `out_of_memory`, `cluster`, `encryption_key`, `broken_record`, `newer_layout`, `other_upstream`, `other_endpoint`,
    /// `lease_held` or `failed`. Later versions may add kinds.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AppError {
    /// The cause, for people.
    pub text: String,
    /// The same in Chinese.
    pub text_zh: String,
    /// Weixin's error code, if Weixin refused the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<i64>))]
    pub errcode: Option<ErrCode>,
    /// Weixin's id of the refused call.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::send_result::read_trace_id"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub rid: Option<TraceId>,
    /// The address to put on the app's IP allow-list, if Weixin refused the call because of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub ip: Option<IpAddr>,
    /// What to do.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::RemedyName))]
    pub remedy: Remedy,
    /// Time of the first failure, as in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}
