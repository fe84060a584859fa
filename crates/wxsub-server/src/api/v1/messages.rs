//! `POST …/messages`: sends one message. The body of every answer has the members of the result object.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use utoipa::ToSchema;
use wxsub_core::SendError;
use wxsub_proto::Message;
use wxsub_proto::message::MessageDraft;

use super::problem::{Problem, ProblemKind};
use super::{AppIdPath, app, appid, json, no_body};
use crate::audit::{Action, ApiSurface};
use crate::client::Scope;
use crate::context::{AuditCaller, RequestContext};
use crate::send::{SendContext, Sent, send};
use crate::send_result::{SendResult, SendStatus};
use crate::state::AuditOutcome;

/// When to try again, where nothing says more.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A message in Weixin's field names, for the OpenAPI document; it is read by the rules of `wxsub-proto`.
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
    data: WrittenData,
    url: Option<String>,
    miniprogram: Option<WrittenPage>,
}

#[derive(ToSchema)]
#[schema(as = MessageData)]
#[expect(dead_code, reason = "a description only")]
pub(super) struct WrittenData {
    content: WrittenContent,
}

#[derive(ToSchema)]
#[schema(as = MessageContent)]
#[expect(dead_code, reason = "a description only")]
pub(super) struct WrittenContent {
    #[schema(min_length = 1, max_length = 200)]
    value: String,
    #[schema(pattern = "^#[0-9A-Fa-f]{6}$")]
    color: Option<String>,
}

#[derive(ToSchema)]
#[schema(as = MessagePage)]
#[expect(dead_code, reason = "a description only")]
pub(super) struct WrittenPage {
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
        (status = 403, body = Problem, description = "The key lacks the scope, or is not for this app"),
        (status = 404, body = Problem, description = "No such app; only keys for all apps are told"),
        (status = 413, body = Problem, description = "Too large"),
        (status = 422, body = Problem, description = "Weixin refused the message, or it is invalid"),
        (status = 503, body = Problem, description = "Certainly not sent, or the server is overloaded; also if Weixin refused the token call (stage token); see remedy and Retry-After"),
        (status = 504, body = Problem, description = "Maybe sent: do not blindly repeat it")
    )
)]
pub(super) async fn send_one(named: AppIdPath, call: RequestContext) -> Response {
    let (client, app) = match app(&call, &named, Scope::MessageSend) {
        Ok(found) => found,
        Err((client, problem)) => return rejected(&call, &named, call.caller(client), problem),
    };
    let message = match call.body().await.map_err(no_body).and_then(|body| message(&body)) {
        Ok(message) => message,
        Err(problem) => return rejected(&call, &named, call.caller(Some(client)), problem),
    };
    let sending = SendContext {
        call: &call,
        app,
        client: Some(client),
        api: ApiSurface::V1,
        presented_generation: None,
    };
    answer(send(&sending, message).await)
}

fn message(body: &[u8]) -> Result<Message, Problem> {
    let not_json = |problems: wxsub_proto::ValidationErrors| {
        Problem::new(ProblemKind::NotJson, problems.to_string())
            .with_result(SendResult::invalid(&MessageDraft::default(), &problems))
    };
    let draft = MessageDraft::from_json(body).map_err(|invalid| not_json(invalid.into()))?;
    draft.validate().map_err(|problems| {
        let result = SendResult::invalid(&draft, &problems);
        Problem::new(ProblemKind::Invalid, "the message breaks rules, listed in problems; correct it")
            .with_result(result)
    })
}

fn answer(Sent { result, error }: Sent) -> Response {
    let (kind, detail) = match result.outcome {
        SendStatus::Sent => return json(&result),
        SendStatus::Refused => (ProblemKind::Refused, "Weixin refused it, with errcode; see remedy"),
        SendStatus::NotSent if result.refusal().is_some() => (
            ProblemKind::NotSent,
            "Weixin refused the token call, with errcode, so the message was not sent; see remedy, then try again",
        ),
        SendStatus::Invalid => {
            (ProblemKind::Invalid, "the message breaks rules, listed in problems; correct it")
        }
        SendStatus::NotSent => {
            (ProblemKind::NotSent, "the message was certainly not sent; it can be tried again")
        }
        SendStatus::MaybeSent => {
            (ProblemKind::MaybeSent, "the message may have been sent; do not blindly repeat it")
        }
    };
    let problem = Problem::new(kind, detail).with_result(result);
    match kind {
        ProblemKind::NotSent => {
            let wait = error.as_ref().and_then(SendError::retry_after);
            problem.retry_after(wait.unwrap_or(RETRY_AFTER)).into_response()
        }
        _ => problem.into_response(),
    }
}

fn rejected(call: &RequestContext, named: &AppIdPath, caller: AuditCaller<'_>, problem: Problem) -> Response {
    let appid = appid(named);
    let told = AuditOutcome { appid: appid.as_ref(), outcome: "denied", ..AuditOutcome::default() };
    call.house.record_audit(ApiSurface::V1, Action::Send, &caller, &told);
    let remedy = problem.kind.remedy();
    if problem.has_result() {
        return problem.into_response();
    }
    problem.with_result(SendResult::not_tried(remedy)).into_response()
}
