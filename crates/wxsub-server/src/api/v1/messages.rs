//! `POST …/messages`: sends one message. The body of every response has the members of the result object.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use wxsub_api::schema::SendMessageRequest;
use wxsub_api::{Problem, ProblemKind, SendResult};
use wxsub_proto::message::MessageDraft;
use wxsub_proto::{Message, ValidationErrors};

use super::ledger::{RequestKey, no_ledger, outbox_of};
use super::{AuthorizedClient, ProblemResponse};
use crate::api::request::{Json, RequestContext};
use crate::apps::{SendJob, SendOutcome, SharedState};

pub(super) const INVALID_MESSAGE: &str = "the message is invalid: see problems; correct the fields";

/// The members of a message in a body.
pub(super) fn read_draft(body: &[u8]) -> Result<MessageDraft<'_>, ProblemResponse> {
    MessageDraft::from_json(body).map_err(|invalid| {
        let problems = ValidationErrors::from(invalid);
        ProblemResponse::new(ProblemKind::NotJson, problems.to_string())
            .with_result(SendResult::invalid(&MessageDraft::default(), &problems))
    })
}

/// The message in the body. An axum extractor.
pub(in crate::api) struct PostedMessage(Message);

impl FromRequest<SharedState> for PostedMessage {
    type Rejection = ProblemResponse;

    async fn from_request(request: Request, state: &SharedState) -> Result<Self, ProblemResponse> {
        let (_, body) = RequestContext::read_body(request, state).await;
        let body = body.map_err(|reason| ProblemResponse::from(reason).not_tried())?;
        let draft = read_draft(&body)?;
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
    params(("appid" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = SendMessageRequest,
    responses(
        (status = 200, body = SendResult, description = "Sent"),
        (status = 409, body = Problem, description = "Not sent because of its grant; or the message of the idempotency key is not final"),
        (status = 422, body = Problem, description = "Weixin refused the message, or it is invalid"),
        (status = 429, body = Problem, description = "Not sent: too many requests of the client at once; see Retry-After"),
        (status = 503, body = Problem, description = "Not sent, or the server is overloaded; also if Weixin refused the token call (stage token); see remedy and Retry-After"),
        (status = 504, body = Problem, description = "Maybe sent: do not blindly repeat it")
    )
)]
pub(in crate::api) async fn send_one(
    AuthorizedClient { context, client, app }: AuthorizedClient,
    RequestKey(key): RequestKey,
    PostedMessage(message): PostedMessage,
) -> Result<Response, ProblemResponse> {
    let outbox = outbox_of(&context, &client, &app);
    if key.is_some() && outbox.is_none() {
        return Err(no_ledger().status(400).not_tried());
    }
    let permit = context.try_acquire_permit().map_err(|limit| ProblemResponse::from(limit).not_tried())?;
    let job = SendJob {
        state: Arc::clone(context.state()),
        app,
        client: Some(client),
        presented_generation: None,
        deadline: context.deadline(),
        permit,
        audit: context.take_audit(),
        outbox,
        key,
    };
    let sent = job.run(message).await;
    sent.map(respond).map_err(|unrecorded| ProblemResponse::from(unrecorded).not_tried())
}

fn respond(SendOutcome { result, problem, retry_after, replayed }: SendOutcome) -> Response {
    let is_final = !matches!(&problem, Some((ProblemKind::InFlight | ProblemKind::Cancelled, _)));
    let mut response = match problem {
        None => Json(result).into_response(),
        Some((kind, detail)) => {
            let mut problem = ProblemResponse::new(kind, detail).with_result(result);
            problem.retry_after = retry_after;
            problem.into_response()
        }
    };
    if replayed && is_final {
        mark_replayed(&mut response);
    }
    response
}

/// Says that the idempotency key of the request was used before.
pub(super) fn mark_replayed(response: &mut Response) {
    response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
}
