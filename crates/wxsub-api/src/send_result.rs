//! The result of sending one message, as JSON. The command line prints the same object.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use wxsub_proto::message::MessageDraft;
use wxsub_proto::{
    ApiError, ErrCode, Message, OpenId, Operation, Remedy, Scene, TemplateId, TraceId, ValidationErrors,
    named_enum,
};

/// The result of sending one message. Members without a value are absent.
#[serde_with::skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct SendResult {
    /// The outcome.
    pub outcome: SendStatus,
    /// The user of the message.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub touser: Option<OpenId>,
    /// The template of the message.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub template_id: Option<TemplateId>,
    /// The scene of the message.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub scene: Option<Scene>,
    /// Weixin's error code, if Weixin refused a call.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<i64>))]
    pub errcode: Option<ErrCode>,
    /// Weixin's error text.
    pub errmsg: Option<String>,
    /// Weixin's id of the refused call.
    #[serde(default, deserialize_with = "read_trace_id")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub rid: Option<TraceId>,
    /// What to do.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::RemedyName>))]
    pub remedy: Option<Remedy>,
    /// The call that failed.
    pub stage: Option<SendStage>,
    /// The message in the ledger of the server, if it has one.
    pub id: Option<String>,
    /// The decision about a message that may have been sent.
    pub decision: Option<Cow<'static, str>>,
    /// The invalid fields of the message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<FieldError>,
    /// The line of the message in a file.
    pub line: Option<u64>,
}

named_enum! {
    /// The outcome of a message. Every reader must decide all five.
    #[derive(Default)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum SendStatus {
        /// Weixin accepted the message.
        Sent = "sent",
        /// Weixin refused the message with an error code.
        Refused = "refused",
        /// The message is invalid, so it was not sent.
        Invalid = "invalid",
        /// The message did not reach Weixin. With stage `token` and an error code, Weixin refused the token call before it.
        NotSent = "not_sent",
        /// The message may have been sent: the response was lost.
        #[default]
        MaybeSent = "maybe_sent",
    }
}

named_enum! {
    /// The step at which a send failed.
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    #[non_exhaustive]
    pub enum SendStage {
        /// The grant did not allow the message.
        Grant = "grant",
        /// The server had recorded the message, and did not come to post it.
        Claim = "claim",
        /// The token call.
        Token = "token",
        /// The message.
        Send = "send",
    }
}

impl From<Operation> for SendStage {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::FetchToken => Self::Token,
            Operation::Send => Self::Send,
        }
    }
}

impl SendStage {
    /// The call to Weixin, if the step is one.
    #[must_use]
    pub fn operation(self) -> Option<Operation> {
        match self {
            Self::Grant | Self::Claim => None,
            Self::Token => Some(Operation::FetchToken),
            Self::Send => Some(Operation::Send),
        }
    }
}

/// An invalid field of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct FieldError {
    /// The path in Weixin's body, such as `data.content.value`.
    pub field: Cow<'static, str>,
    /// What is wrong, and what to do.
    pub rule: String,
}

impl SendStatus {
    /// Whether a response with this outcome can have this status.
    pub(crate) fn fits(self, status: u16) -> bool {
        match self {
            Self::Sent => status == 200,
            Self::Refused => status == 422,
            Self::Invalid => [400, 422].contains(&status),
            Self::NotSent => [400, 401, 403, 404, 405, 409, 413, 422, 429, 503].contains(&status),
            Self::MaybeSent => true,
        }
    }
}

impl FieldError {
    /// Creates the JSON form of a field that breaks a rule.
    #[must_use]
    pub fn new(field: &'static str, rule: impl Into<String>) -> Self {
        Self { field: Cow::Borrowed(field), rule: rule.into() }
    }

    /// Converts validation errors to their JSON form.
    pub fn list(problems: &ValidationErrors) -> Vec<Self> {
        problems.iter().map(|invalid| Self::new(invalid.field(), invalid.rule().to_string())).collect()
    }
}

impl SendResult {
    /// Creates a result without a message.
    #[must_use]
    pub fn new(outcome: SendStatus) -> Self {
        Self { outcome, ..Self::default() }
    }

    /// Creates the result of a message: its outcome, and the members that identify the message.
    pub fn about(message: &Message, outcome: SendStatus) -> Self {
        Self::new(outcome).identified_by(message)
    }

    pub(crate) fn identified_by(self, message: &Message) -> Self {
        let grant = message.grant();
        Self {
            touser: Some(grant.openid().clone()),
            template_id: Some(grant.template_id().clone()),
            scene: Some(grant.scene()),
            ..self
        }
    }

    /// The result of a sent message.
    pub fn sent(message: &Message) -> Self {
        Self::about(message, SendStatus::Sent)
    }

    /// The result of a failed send: Weixin's error if there is one, what to do, and the call that failed.
    pub fn failed(
        message: &Message,
        outcome: SendStatus,
        api_error: Option<&ApiError>,
        remedy: Remedy,
        stage: Operation,
    ) -> Self {
        Self {
            errcode: api_error.map(ApiError::errcode),
            errmsg: api_error.map(|error| error.errmsg().to_owned()),
            rid: api_error.and_then(ApiError::trace_id).cloned(),
            remedy: Some(remedy),
            stage: Some(stage.into()),
            ..Self::about(message, outcome)
        }
    }

    /// The result of a send that was given up at an unknown stage.
    pub fn given_up(message: &Message) -> Self {
        Self { remedy: Some(Remedy::Investigate), ..Self::about(message, SendStatus::MaybeSent) }
    }

    /// The result if there was no access token.
    pub fn no_token(message: &Message) -> Self {
        Self::failed(message, SendStatus::NotSent, None, Remedy::RetryLater, Operation::FetchToken)
    }

    /// The result of a request that was rejected before the message was read.
    pub fn not_tried(remedy: Remedy) -> Self {
        Self { remedy: Some(remedy), ..Self::new(SendStatus::NotSent) }
    }

    /// The result of an invalid message. Its valid `touser`, `template_id` and `scene` identify it.
    pub fn invalid(draft: &MessageDraft<'_>, problems: &ValidationErrors) -> Self {
        Self {
            touser: draft.touser(),
            template_id: draft.template_id(),
            scene: draft.scene(),
            problems: FieldError::list(problems),
            ..Self::new(SendStatus::Invalid)
        }
    }

    /// The result if the control server was not reached.
    pub fn not_sent(message: &Message) -> Self {
        Self { remedy: Some(Remedy::RetryLater), ..Self::about(message, SendStatus::NotSent) }
    }

    /// The error that Weixin returned, and the call that it refused.
    pub fn api_error(&self) -> Option<(ApiError, Option<Operation>)> {
        let error = ApiError::new(self.errcode?, self.errmsg.as_deref().unwrap_or_default());
        Some((error, self.stage.and_then(SendStage::operation)))
    }

    /// Sets the line number of the message in a file.
    #[must_use]
    pub fn at_line(self, number: u64) -> Self {
        Self { line: Some(number), ..self }
    }
}

/// Reads a trace id. A text that is none counts as absent.
pub(crate) fn read_trace_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TraceId>, D::Error> {
    let text: Option<Cow<'_, str>> = Deserialize::deserialize(deserializer)?;
    Ok(text.and_then(|text| TraceId::new(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        serde_json::from_str(
            r#"{"touser":"o","template_id":"T","scene":"1","title":"t","data":{"content":{"value":"v"}}}"#,
        )
        .unwrap()
    }

    fn read(status: u16, body: &str) -> Option<SendResult> {
        crate::Problem::parse_send_result(&message(), status, body.as_bytes())
    }

    #[test]
    fn success_is_read_and_identified_by_the_message() {
        let sent = SendResult::sent(&message());
        let text = serde_json::to_string(&sent).unwrap();
        assert_eq!(text, r#"{"outcome":"sent","touser":"o","template_id":"T","scene":"1"}"#);
        assert_eq!(read(200, &text), Some(sent.clone()));
        assert_eq!(read(200, r#"{"outcome":"sent","touser":"other","line":7}"#).unwrap().touser, sent.touser);
    }

    #[test]
    fn problem_with_a_result_is_read() {
        let refusal = ApiError::new(ErrCode::USER_REFUSED, "user refuse rid: 6004f3da-1529ba72-5c345f67");
        let result = SendResult::failed(
            &message(),
            SendStatus::Refused,
            Some(&refusal),
            Remedy::Stop,
            Operation::Send,
        );
        let problem = crate::Problem::new(crate::ProblemKind::Refused, "no").with_result(result.clone());
        assert_eq!(read(422, &serde_json::to_string(&problem).unwrap()), Some(result));
    }

    /// Only a response that says so counts as sent, or as certainly not sent.
    #[test]
    fn contradicting_or_unreadable_response_is_none() {
        for (status, body) in [
            (500, r#"{"outcome":"sent"}"#),
            (200, r#"{"outcome":"refused"}"#),
            (200, r#"{"outcome":"not_sent"}"#),
            (502, r#"{"outcome":"not_sent"}"#),
            (503, r#"{"outcome":"not_sent","remedy":"sleep"}"#),
            (503, r#"{"outcome":"not_sent","errcode":"45009"}"#),
            (422, r#"{"outcome":"perhaps"}"#),
            (503, r#"{"kind":"no_token","remedy":"retry_later"}"#),
            (200, r#"{"kind":"overloaded"}"#),
            (200, "{}"),
            (200, "<html>"),
        ] {
            assert_eq!(read(status, body), None, "{status} {body}");
        }
        assert_eq!(read(200, r#"{"outcome":"maybe_sent"}"#).unwrap().outcome, SendStatus::MaybeSent);
    }

    #[test]
    fn problem_before_the_send_means_not_sent() {
        for (status, kind) in [
            (401, "unauthorized"),
            (403, "forbidden"),
            (404, "not_found"),
            (429, "rate_limited"),
            (503, "overloaded"),
        ] {
            let result = read(status, &format!(r#"{{"kind":"{kind}","detail":"x"}}"#)).unwrap();
            assert_eq!(result.outcome, SendStatus::NotSent, "{kind}");
        }
    }
}
