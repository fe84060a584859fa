//! Requests and responses about consents, grants and the outbox. Messages and grants are views of `wxsub-outbox`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wxsub_proto::{HttpUrl, OpenId, Reserved, Scene, TemplateId};

use crate::Problem;

/// A consent to ask a user for.
#[serde_with::skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[expect(clippy::exhaustive_structs, reason = "a client gives all of it")]
pub struct NewConsent {
    /// The scene.
    #[cfg_attr(feature = "openapi", schema(value_type = u32))]
    pub scene: Scene,
    /// The template of the message to come.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub template_id: TemplateId,
    /// What identifies the user's browser or login. The callback is accepted only with the same one.
    pub session: String,
    /// Where Weixin sends the user back to. Without it, the response has no `url`.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub redirect_url: Option<HttpUrl>,
}

/// A request for consent that the server has signed.
#[serde_with::skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IssuedConsent {
    /// The signed state, which the callback returns.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub reserved: Reserved,
    /// The page that asks the user, for a browser in Weixin.
    pub url: Option<String>,
    /// The values for the mobile SDK.
    pub mobile: Value,
    /// From when on a callback is refused, in RFC 3339.
    pub expires_at: String,
}

/// A consent to record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
#[expect(clippy::exhaustive_enums, reason = "a client gives one or the other")]
pub enum NewGrant {
    /// The server verifies the callback.
    Callback {
        /// The callback: its URL, its query, or an object with the values that the mobile SDK gave.
        callback: Value,
        /// The session for which the consent was requested.
        session: String,
    },
    /// The client has verified the consent. Needs an idempotency key.
    Verified {
        /// The user.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        openid: OpenId,
        /// The template.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        template_id: TemplateId,
        /// The scene.
        #[cfg_attr(feature = "openapi", schema(value_type = u32))]
        scene: Scene,
    },
}

/// A decision about a message that may have been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[expect(clippy::exhaustive_structs, reason = "a client gives all of it")]
pub struct DecisionRequest<'a> {
    /// `assume_sent`, `give_up` or `send_again`.
    pub decision: &'a str,
    /// Why, for the history.
    #[serde(default)]
    pub note: &'a str,
}

/// Why an app is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[expect(clippy::exhaustive_structs, reason = "a client gives all of it")]
pub struct PauseRequest<'a> {
    /// Why, for the operators.
    #[serde(default)]
    pub note: &'a str,
}

/// The result of one line of a batch. `M` is the view of a message.
#[serde_with::skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "all of it is shown")]
pub struct LineResult<M> {
    /// The number of the line, from 1.
    pub line: u64,
    /// The status that a request for this line alone would have.
    pub status: u16,
    /// Whether the message was recorded before under this key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    /// The recorded message.
    pub message: Option<M>,
    /// Why it was not recorded.
    pub problem: Option<Problem>,
}

/// The apps of the key that have or had messages, or are paused. `A` is the view of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[expect(clippy::exhaustive_structs, reason = "all of it is shown")]
pub struct OutboxApps<A> {
    /// The apps, sorted by AppID.
    pub apps: Vec<A>,
}
