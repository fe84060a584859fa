//! The result of sending one message, as JSON.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wxsub_core::SendError;
use wxsub_core::error::Delivery;
use wxsub_proto::message::MessageDraft;
use wxsub_proto::{
    ApiError, ErrCode, Message, OpenId, Operation, Remedy, Scene, TemplateId, TraceId, ValidationErrors,
};

/// The result of sending one message. Members without a value are absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct SendResult {
    /// The outcome.
    pub outcome: SendStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    touser: Option<OpenId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    template_id: Option<TemplateId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    scene: Option<Scene>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    errcode: Option<ErrCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errmsg: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    rid: Option<TraceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<RemedyName>)]
    remedy: Option<Remedy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<StageName>)]
    stage: Option<Operation>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<FieldError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
}

/// The outcome of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "every reader must decide all five")]
pub enum SendStatus {
    /// Weixin accepted the message.
    Sent,
    /// Weixin refused the message with an error code.
    Refused,
    /// The message is invalid, so it was not sent.
    Invalid,
    /// The message did not reach Weixin. With stage `token` and an error code, Weixin refused the token call before it.
    NotSent,
    /// The message may have been sent: the response was lost.
    MaybeSent,
}

/// The wire names of [`Operation`], for the OpenAPI document.
#[derive(ToSchema)]
#[schema(as = Stage, rename_all = "snake_case")]
#[expect(dead_code, reason = "a description only")]
pub(crate) enum StageName {
    Token,
    Send,
}

/// The wire names of [`Remedy`], for the OpenAPI document.
#[derive(ToSchema)]
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

/// The members of a control server's response that are read.
#[derive(Deserialize)]
struct ResponseBody {
    outcome: Option<SendStatus>,
    kind: Option<PreflightKind>,
    errcode: Option<ErrCode>,
    errmsg: Option<String>,
    remedy: Option<Remedy>,
    stage: Option<Operation>,
    #[serde(default)]
    problems: Vec<FieldError>,
}

/// The kinds of problem that mean without a result object that no send was tried.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum PreflightKind {
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Overloaded,
    /// Another kind: only the result object counts.
    #[serde(other)]
    Other,
}

impl ResponseBody {
    /// Whether the kind alone means that no send was tried.
    fn was_not_tried(&self) -> bool {
        self.kind.as_ref().is_some_and(|kind| !matches!(kind, PreflightKind::Other))
    }
}

/// An invalid field of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[non_exhaustive]
pub struct FieldError {
    /// The path in Weixin's body, such as `data.content.value`.
    pub field: Cow<'static, str>,
    /// What is wrong, and what to do.
    pub rule: String,
}

impl SendStatus {
    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Refused => "refused",
            Self::Invalid => "invalid",
            Self::NotSent => "not_sent",
            Self::MaybeSent => "maybe_sent",
        }
    }
}

impl SendResult {
    fn new(outcome: SendStatus) -> Self {
        let (touser, template_id, scene, errcode, errmsg, rid, remedy, stage, problems, line) =
            Default::default();
        Self { outcome, touser, template_id, scene, errcode, errmsg, rid, remedy, stage, problems, line }
    }

    fn about(message: &Message, outcome: SendStatus) -> Self {
        let grant = message.grant();
        Self {
            touser: Some(grant.openid().clone()),
            template_id: Some(grant.template_id().clone()),
            scene: Some(grant.scene()),
            ..Self::new(outcome)
        }
    }

    /// The result of a sent message.
    #[must_use]
    pub fn sent(message: &Message) -> Self {
        Self::about(message, SendStatus::Sent)
    }

    /// The result of a failed send.
    #[must_use]
    pub fn failed(message: &Message, error: &SendError) -> Self {
        let outcome = match error.delivery() {
            Delivery::Rejected => SendStatus::Refused,
            Delivery::NotSent => SendStatus::NotSent,
            Delivery::MaybeSent => SendStatus::MaybeSent,
        };
        Self {
            errcode: error.errcode(),
            errmsg: error.api_error().map(|api_error| api_error.errmsg().to_owned()),
            rid: error.trace_id().cloned(),
            remedy: Some(error.remedy()),
            stage: Some(error.operation()),
            ..Self::about(message, outcome)
        }
    }

    /// The result of a send that was given up at an unknown stage.
    #[must_use]
    pub fn given_up(message: &Message) -> Self {
        Self { remedy: Some(Remedy::Investigate), ..Self::about(message, SendStatus::MaybeSent) }
    }

    /// The result if there was no access token.
    #[must_use]
    pub fn no_token(message: &Message) -> Self {
        let (remedy, stage) = (Some(Remedy::RetryLater), Some(Operation::FetchToken));
        Self { remedy, stage, ..Self::about(message, SendStatus::NotSent) }
    }

    /// The result of a request that was rejected before the message was read.
    #[must_use]
    pub fn not_tried(remedy: Remedy) -> Self {
        Self { remedy: Some(remedy), ..Self::new(SendStatus::NotSent) }
    }

    /// The result of an invalid message. Its valid `touser`, `template_id` and `scene` identify it.
    #[must_use]
    pub fn invalid(draft: &MessageDraft, problems: &ValidationErrors) -> Self {
        let text = |place| draft.get(place).and_then(|value| value.as_str());
        let scene =
            draft.get("scene").map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        Self {
            touser: text("touser").and_then(|text| text.parse().ok()),
            template_id: text("template_id").and_then(|text| text.parse().ok()),
            scene: scene.and_then(|text| text.parse().ok()),
            problems: problems_of(problems),
            ..Self::new(SendStatus::Invalid)
        }
    }

    /// Parses a control server's response. `None` if it is not one, or status and outcome contradict each other.
    #[must_use]
    pub fn from_response(message: &Message, status: u16, body: &[u8]) -> Option<Self> {
        let response: ResponseBody = serde_json::from_slice(body).ok()?;
        let outcome = response.outcome.or_else(|| response.was_not_tried().then_some(SendStatus::NotSent))?;
        let fits = match outcome {
            SendStatus::Sent => status == 200,
            SendStatus::Refused => status == 422,
            SendStatus::Invalid => [400, 422].contains(&status),
            SendStatus::NotSent => [400, 401, 403, 404, 405, 413, 429, 503].contains(&status),
            SendStatus::MaybeSent => true,
        };
        let rid = response.errmsg.as_deref().and_then(TraceId::find_in);
        fits.then_some(Self {
            errcode: response.errcode,
            errmsg: response.errmsg,
            rid,
            remedy: response.remedy,
            stage: response.stage,
            problems: response.problems,
            ..Self::about(message, outcome)
        })
    }

    /// The result if the control server was not reached.
    #[must_use]
    pub fn not_sent(message: &Message) -> Self {
        Self { remedy: Some(Remedy::RetryLater), ..Self::about(message, SendStatus::NotSent) }
    }

    /// The error that Weixin returned, and the call that it refused.
    #[must_use]
    pub fn refusal(&self) -> Option<(ApiError, Option<Operation>)> {
        let api_error = ApiError::new(self.errcode?, self.errmsg.as_deref().unwrap_or_default());
        Some((api_error, self.stage))
    }

    /// What to do, if it is known.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        self.remedy
    }

    /// Sets the line number of the message in a file.
    #[must_use]
    pub fn at_line(self, number: u64) -> Self {
        Self { line: Some(number), ..self }
    }
}

/// Converts validation errors to their JSON form.
#[must_use]
pub fn problems_of(problems: &ValidationErrors) -> Vec<FieldError> {
    problems
        .iter()
        .map(|invalid| FieldError { field: Cow::Borrowed(invalid.field()), rule: invalid.rule().to_string() })
        .collect()
}
