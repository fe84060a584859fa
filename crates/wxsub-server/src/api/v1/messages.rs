//! `POST …/messages`: sends one message. The body of every response has the members of the result object.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, Request};
use wxsub_api::schema::SendMessageRequest;
use wxsub_api::{Problem, ProblemKind, SendResult, SendStatus};
use wxsub_core::SendError;
use wxsub_proto::message::MessageDraft;
use wxsub_proto::{Message, ValidationErrors};

use super::{AuthorizedClient, ProblemResponse};
use crate::api::request::{Json, RequestContext};
use crate::apps::{SendJob, SendOutcome, ServerState};
use crate::state::audit::Unrecorded;

/// The value of `Retry-After` if the error has none.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);

const INVALID_MESSAGE: &str = "the message is invalid: see problems; correct the fields";

/// The message in the body. An axum extractor.
#[derive(Debug)]
pub(in crate::api) struct PostedMessage(Message);

impl FromRequest<Arc<ServerState>> for PostedMessage {
    type Rejection = ProblemResponse;

    async fn from_request(request: Request, state: &Arc<ServerState>) -> Result<Self, ProblemResponse> {
        let (_, body) = RequestContext::read_body(request, state).await;
        let body = body.map_err(|reason| ProblemResponse::from(reason).not_tried())?;
        let draft = MessageDraft::from_json(&body).map_err(|invalid| {
            let problems = ValidationErrors::from(invalid);
            ProblemResponse::new(ProblemKind::NotJson, problems.to_string())
                .with_result(SendResult::invalid(&MessageDraft::default(), &problems))
        })?;
        draft.validate().map(Self).map_err(|problems| {
            ProblemResponse::new(ProblemKind::Invalid, INVALID_MESSAGE)
                .with_result(SendResult::invalid(&draft, &problems))
        })
    }
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
        (status = 429, body = Problem, description = "Not sent: too many requests of the client at once; see Retry-After"),
        (status = 503, body = Problem, description = "Not sent, or the server is overloaded; also if Weixin refused the token call (stage token); see remedy and Retry-After"),
        (status = 504, body = Problem, description = "Maybe sent: do not blindly repeat it")
    )
)]
pub(in crate::api) async fn send_one(
    AuthorizedClient { context, client, app }: AuthorizedClient,
    PostedMessage(message): PostedMessage,
) -> Result<Json<SendResult>, ProblemResponse> {
    let permit = context.try_acquire_permit().map_err(|limit| ProblemResponse::from(limit).not_tried())?;
    let job = SendJob {
        state: Arc::clone(context.state()),
        app,
        client: Some(client),
        presented_generation: None,
        deadline: context.deadline(),
        permit,
        audit: context.take_audit(),
    };
    let sent = job.run(message).await;
    sent.map_err(|Unrecorded| super::audit_unavailable().not_tried()).and_then(respond)
}

fn respond(SendOutcome { result, error }: SendOutcome) -> Result<Json<SendResult>, ProblemResponse> {
    let (kind, detail) = match result.outcome {
        SendStatus::Sent => return Ok(Json(result)),
        SendStatus::Refused => (ProblemKind::Refused, "Weixin refused the message with errcode; see remedy"),
        SendStatus::NotSent if result.errcode.is_some() => (
            ProblemKind::NotSent,
            "the message was not sent: Weixin refused the token call with errcode; see remedy, then send it again",
        ),
        SendStatus::Invalid => (ProblemKind::Invalid, INVALID_MESSAGE),
        SendStatus::NotSent => {
            (ProblemKind::NotSent, "the message was not sent; it is safe to send it again")
        }
        SendStatus::MaybeSent => {
            (ProblemKind::MaybeSent, "the message may have been sent; do not blindly repeat it")
        }
    };
    let problem = ProblemResponse::new(kind, detail).with_result(result);
    Err(match kind {
        ProblemKind::NotSent => {
            let wait = error.as_ref().and_then(SendError::retry_after);
            problem.retry_after(wait.unwrap_or(DEFAULT_RETRY_AFTER))
        }
        _ => problem,
    })
}
