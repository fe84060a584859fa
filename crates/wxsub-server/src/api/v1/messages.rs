//! `POST …/messages`: sends one message. The body of every response has the members of the result object.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use utoipa::ToSchema;
use wxsub_core::SendError;
use wxsub_proto::Message;
use wxsub_proto::message::MessageDraft;

use super::problem::{Problem, ProblemKind};
use super::{AppIdPath, authorize, body_problem, json, parse_appid};
use crate::audit::{Action, ApiSurface};
use crate::client::Scope;
use crate::context::{AuditCaller, RequestContext};
use crate::send::{SendContext, SendOutcome, send};
use crate::send_result::{SendResult, SendStatus};
use crate::state::AuditOutcome;

/// The value of `Retry-After` if the error has none.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);

/// A message in Weixin's field names, for the OpenAPI document. `wxsub-proto` parses it.
#[derive(ToSchema)]
#[schema(as = Message)]
#[expect(dead_code, reason = "a description only")]
pub(super) struct SendMessageRequest {
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

#[derive(ToSchema)]
#[schema(as = MessageData)]
#[expect(dead_code, reason = "a description only")]
pub(super) struct SendMessageData {
    content: SendMessageContent,
}

#[derive(ToSchema)]
#[schema(as = MessageContent)]
#[expect(dead_code, reason = "a description only")]
pub(super) struct SendMessageContent {
    #[schema(min_length = 1, max_length = 200)]
    value: String,
    #[schema(pattern = "^#[0-9A-Fa-f]{6}$")]
    color: Option<String>,
}

#[derive(ToSchema)]
#[schema(as = MessagePage)]
#[expect(dead_code, reason = "a description only")]
pub(super) struct SendMessagePage {
    appid: String,
    pagepath: String,
}

#[utoipa::path(
    post,
    path = "/v1/apps/{appid}/messages",
    operation_id = "send_message",
    summary = "Sends one message; needs message:send",
    security(("key" = [])),
    params(("appid" = String, Path)),
    request_body = SendMessageRequest,
    responses(
        (status = 200, body = SendResult, description = "Sent"),
        (status = 400, body = Problem, description = "Not JSON"),
        (status = 401, body = Problem, description = "No or unknown key"),
        (status = 403, body = Problem, description = "The key lacks the scope, or may not use this app"),
        (status = 404, body = Problem, description = "No such app; only keys for all apps get this status"),
        (status = 413, body = Problem, description = "Too large"),
        (status = 422, body = Problem, description = "Weixin refused the message, or it is invalid"),
        (status = 503, body = Problem, description = "Not sent, or the server is overloaded; also if Weixin refused the token call (stage token); see remedy and Retry-After"),
        (status = 504, body = Problem, description = "Maybe sent: do not blindly repeat it")
    )
)]
pub(super) async fn send_one(path: AppIdPath, context: RequestContext) -> Response {
    let (client, app) = match authorize(&context, &path, Scope::MessageSend) {
        Ok(found) => found,
        Err((client, problem)) => return rejected(&context, &path, context.caller(client), problem),
    };
    let message = match context.body().await.map_err(body_problem).and_then(|body| parse_message(&body)) {
        Ok(message) => message,
        Err(problem) => return rejected(&context, &path, context.caller(Some(client)), problem),
    };
    let send_context = SendContext {
        request: &context,
        app,
        client: Some(client),
        api: ApiSurface::V1,
        presented_generation: None,
    };
    respond(send(&send_context, message).await)
}

fn parse_message(body: &[u8]) -> Result<Message, Problem> {
    let not_json = |problems: wxsub_proto::ValidationErrors| {
        Problem::new(ProblemKind::NotJson, problems.to_string())
            .with_result(SendResult::invalid(&MessageDraft::default(), &problems))
    };
    let draft = MessageDraft::from_json(body).map_err(|invalid| not_json(invalid.into()))?;
    draft.validate().map_err(|problems| {
        let result = SendResult::invalid(&draft, &problems);
        Problem::new(ProblemKind::Invalid, "the message is invalid: see problems; correct the fields")
            .with_result(result)
    })
}

fn respond(SendOutcome { result, error }: SendOutcome) -> Response {
    let (kind, detail) = match result.outcome {
        SendStatus::Sent => return json(&result),
        SendStatus::Refused => (ProblemKind::Refused, "Weixin refused the message with errcode; see remedy"),
        SendStatus::NotSent if result.refusal().is_some() => (
            ProblemKind::NotSent,
            "the message was not sent: Weixin refused the token call with errcode; see remedy, then send it again",
        ),
        SendStatus::Invalid => {
            (ProblemKind::Invalid, "the message is invalid: see problems; correct the fields")
        }
        SendStatus::NotSent => {
            (ProblemKind::NotSent, "the message was not sent; it is safe to send it again")
        }
        SendStatus::MaybeSent => {
            (ProblemKind::MaybeSent, "the message may have been sent; do not blindly repeat it")
        }
    };
    let problem = Problem::new(kind, detail).with_result(result);
    match kind {
        ProblemKind::NotSent => {
            let wait = error.as_ref().and_then(SendError::retry_after);
            problem.retry_after(wait.unwrap_or(DEFAULT_RETRY_AFTER)).into_response()
        }
        _ => problem.into_response(),
    }
}

fn rejected(
    context: &RequestContext,
    path: &AppIdPath,
    caller: AuditCaller<'_>,
    problem: Problem,
) -> Response {
    let appid = parse_appid(path);
    let audit = AuditOutcome { appid: appid.as_ref(), outcome: "denied", ..AuditOutcome::default() };
    context.state.record_audit(ApiSurface::V1, Action::Send, &caller, &audit);
    let remedy = problem.kind.remedy();
    if problem.has_result() {
        return problem.into_response();
    }
    problem.with_result(SendResult::not_tried(remedy)).into_response()
}
