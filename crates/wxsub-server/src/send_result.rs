//! The one object that says what became of a message.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wxsub_core::SendError;
use wxsub_core::error::Delivery;
use wxsub_proto::message::MessageDraft;
use wxsub_proto::{
    ApiError, ErrCode, Message, OpenId, Operation, Remedy, Scene, TemplateId, TraceId, ValidationErrors,
};

/// What became of one message. Members without a value are absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct SendResult {
    /// What became of it.
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
    stage: Option<Stage>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<FieldError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
}

/// What can become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "every reader must decide all five")]
pub enum SendStatus {
    /// Weixin took it.
    Sent,
    /// Weixin refused the message, with an error code.
    Refused,
    /// It breaks a rule and was not tried.
    Invalid,
    /// It certainly did not arrive. With stage `token` and an error code, Weixin refused the token call before it.
    NotSent,
    /// Nobody can tell.
    MaybeSent,
}

/// Which call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Getting the access token.
    Token,
    /// Sending the message.
    Send,
}

/// What to do: the names of [`Remedy`], for the OpenAPI document.
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

/// What is read of a control server's answer.
#[derive(Deserialize)]
struct Answered {
    outcome: Option<SendStatus>,
    kind: Option<PreflightKind>,
    errcode: Option<ErrCode>,
    errmsg: Option<String>,
    remedy: Option<Remedy>,
    stage: Option<Stage>,
    #[serde(default)]
    problems: Vec<FieldError>,
}

/// The kinds of problem that say without a result object that nothing was tried.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum PreflightKind {
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Overloaded,
    /// Its result object says more.
    #[serde(other)]
    Other,
}

impl Answered {
    /// Whether the kind alone says that nothing was tried.
    fn was_not_tried(&self) -> bool {
        self.kind.as_ref().is_some_and(|kind| !matches!(kind, PreflightKind::Other))
    }
}

/// A field that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[non_exhaustive]
pub struct FieldError {
    /// As in Weixin's body: `data.content.value`.
    pub field: Cow<'static, str>,
    /// What is wrong, and what to do.
    pub rule: String,
}

impl SendStatus {
    /// As in JSON.
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

    /// Weixin took it.
    #[must_use]
    pub fn sent(message: &Message) -> Self {
        Self::about(message, SendStatus::Sent)
    }

    /// It was not, or not certainly, sent.
    #[must_use]
    pub fn failed(message: &Message, error: &SendError) -> Self {
        let outcome = match error.delivery() {
            Delivery::Rejected => SendStatus::Refused,
            Delivery::NotSent => SendStatus::NotSent,
            Delivery::MaybeSent => SendStatus::MaybeSent,
        };
        let stage = match error.operation() {
            Operation::FetchToken => Stage::Token,
            Operation::Send => Stage::Send,
        };
        Self {
            errcode: error.errcode(),
            errmsg: error.refusal().map(|refusal| refusal.errmsg().to_owned()),
            rid: error.trace_id().cloned(),
            remedy: Some(error.remedy()),
            stage: Some(stage),
            ..Self::about(message, outcome)
        }
    }

    /// It was given up while it was under way; where, nobody can tell.
    #[must_use]
    pub fn given_up(message: &Message) -> Self {
        Self { remedy: Some(Remedy::Investigate), ..Self::about(message, SendStatus::MaybeSent) }
    }

    /// There was no token to send it with.
    #[must_use]
    pub fn no_token(message: &Message) -> Self {
        let (remedy, stage) = (Some(Remedy::RetryLater), Some(Stage::Token));
        Self { remedy, stage, ..Self::about(message, SendStatus::NotSent) }
    }

    /// It was not tried: nobody was let in, or there was no room.
    #[must_use]
    pub fn not_tried(remedy: Remedy) -> Self {
        Self { remedy: Some(remedy), ..Self::new(SendStatus::NotSent) }
    }

    /// It breaks rules. What is valid of its address is kept, to recognise it by.
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

    /// What a control server answered, or nothing if that cannot be relied on.
    #[must_use]
    pub fn from_response(message: &Message, status: u16, body: &[u8]) -> Option<Self> {
        let answer: Answered = serde_json::from_slice(body).ok()?;
        let outcome = answer.outcome.or_else(|| answer.was_not_tried().then_some(SendStatus::NotSent))?;
        let fits = match outcome {
            SendStatus::Sent => status == 200,
            SendStatus::Refused => status == 422,
            SendStatus::Invalid => [400, 422].contains(&status),
            SendStatus::NotSent => [400, 401, 403, 404, 405, 413, 429, 503].contains(&status),
            SendStatus::MaybeSent => true,
        };
        let rid = answer.errmsg.as_deref().and_then(TraceId::find_in);
        fits.then_some(Self {
            errcode: answer.errcode,
            errmsg: answer.errmsg,
            rid,
            remedy: answer.remedy,
            stage: answer.stage,
            problems: answer.problems,
            ..Self::about(message, outcome)
        })
    }

    /// It never left for the control server.
    #[must_use]
    pub fn not_sent(message: &Message) -> Self {
        Self { remedy: Some(Remedy::RetryLater), ..Self::about(message, SendStatus::NotSent) }
    }

    /// What Weixin answered, if it did.
    #[must_use]
    pub fn refusal(&self) -> Option<(ApiError, Option<Stage>)> {
        let refusal = ApiError::new(self.errcode?, self.errmsg.as_deref().unwrap_or_default());
        Some((refusal, self.stage))
    }

    /// What to do, where that is known.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        self.remedy
    }

    /// In this line of a file.
    #[must_use]
    pub fn at_line(self, number: u64) -> Self {
        Self { line: Some(number), ..self }
    }
}

/// As they are printed.
#[must_use]
pub fn problems_of(problems: &ValidationErrors) -> Vec<FieldError> {
    problems
        .iter()
        .map(|invalid| FieldError { field: Cow::Borrowed(invalid.field()), rule: invalid.rule().to_string() })
        .collect()
}
