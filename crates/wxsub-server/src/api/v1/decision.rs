//! What operators do with the outbox: decide a message that may have been sent, pause an app and resume it.

use axum::http::header::IF_MATCH;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::Value;
use wxsub_api::{DecisionRequest, PauseRequest, Problem, ProblemKind};
use wxsub_outbox::OutboxError;
use wxsub_outbox::state::Decision;
use wxsub_outbox::view::{AppView, DecidedView, MessageView};

use super::ProblemResponse;
use super::ledger::{MessagePath, OutboxClient};
use super::members::{Members, RawBody, one_of};
use super::outbox::set_version;
use super::queue::app;
use crate::api::request::{Json, json_response};
use crate::apps::check_note;

#[utoipa::path(
    post,
    path = "/v1/apps/{appid}/outbox/{id}/decision",
    operation_id = "decide_message",
    summary = "Decides a message that may have been sent; needs outbox:decide",
    params(("appid" = String, Path), ("id" = String, Path), ("If-Match" = String, Header)),
    request_body = DecisionRequest<'_>,
    responses(
        (status = 200, body = DecidedView, description = "The decided message"),
        (status = 409, body = Problem, description = "Decided, not undecided, or too early"),
        (status = 412, body = Problem, description = "The message has changed"),
        (status = 428, body = Problem, description = "If-Match is missing")
    )
)]
pub(in crate::api) async fn decide(
    client: OutboxClient,
    MessagePath(id): MessagePath,
    headers: HeaderMap,
    mut members: Members,
) -> Result<Response, ProblemResponse> {
    let seen = seen_version(&headers)?;
    let decision: Option<Decision> =
        members.required("decision", one_of("must be assume_sent, give_up or send_again"));
    let note = members.optional("note", note).unwrap_or_default();
    let decision = members.finish(decision)?;
    let decided = async {
        client.message(id).await?;
        let decided = client.outbox.decide(id, decision, &client.client.name, &note, seen).await?;
        Ok((decided, app(&client).await))
    };
    let ((message, child), app) = client.work(decided).await?;
    client.context.audit(|entry| entry.outcome = decision.as_str());
    let view = |message| MessageView::new(message, &app, client.now());
    let decided = DecidedView::new(view(&message), child.as_ref().map(view));
    let mut response = json_response(StatusCode::OK, "application/json", &decided);
    set_version(&mut response, &message);
    Ok(response)
}

/// The version that the operator has seen; `None` for any.
fn seen_version(headers: &HeaderMap) -> Result<Option<u32>, ProblemResponse> {
    let Some(value) = headers.get(IF_MATCH) else {
        let detail = "If-Match is missing; send the ETag of the message that you have looked at";
        return Err(ProblemResponse::new(ProblemKind::PreconditionRequired, detail));
    };
    let text = value.to_str().unwrap_or_default().trim();
    let version = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    match (text, version.parse()) {
        ("*", _) => Ok(None),
        (_, Ok(version)) => Ok(Some(version)),
        (_, Err(_)) => {
            let detail = "If-Match names no version of the message; send the ETag of the message that you have looked at";
            Err(ProblemResponse::new(ProblemKind::PreconditionFailed, detail))
        }
    }
}

/// Reads a note of an operator.
fn note(value: &Value) -> Result<String, String> {
    let note = value.as_str().ok_or("must be text")?;
    check_note(note).map(|()| note.to_owned()).map_err(|rule| rule.to_string())
}

#[utoipa::path(
    post,
    path = "/v1/apps/{appid}/outbox/pause",
    operation_id = "pause_app",
    summary = "Messages of the app wait; needs outbox:decide",
    params(("appid" = String, Path)),
    request_body = PauseRequest<'_>,
    responses(
        (status = 200, body = AppView, description = "The app")
    )
)]
pub(in crate::api) async fn pause(
    client: OutboxClient,
    RawBody(body): RawBody,
) -> Result<Json<AppView>, ProblemResponse> {
    let mut members = if body.is_empty() { Members::default() } else { Members::of_body(&body)? };
    let note = members.optional("note", note).unwrap_or_default();
    members.finish(Some(()))?;
    let paused = async {
        client.outbox.pause(&client.client.name, &note).await?;
        app_view(&client).await
    };
    client.work(paused).await.map(Json)
}

#[utoipa::path(
    post,
    path = "/v1/apps/{appid}/outbox/resume",
    operation_id = "resume_app",
    summary = "Lifts every pause of the app; needs outbox:decide",
    params(("appid" = String, Path)),
    responses(
        (status = 200, body = AppView, description = "The app")
    )
)]
pub(in crate::api) async fn resume(client: OutboxClient) -> Result<Json<AppView>, ProblemResponse> {
    let resumed = async {
        client.outbox.resume().await?;
        app_view(&client).await
    };
    client.work(resumed).await.map(Json)
}

async fn app_view(client: &OutboxClient) -> Result<AppView, OutboxError> {
    let appid = client.app.appid();
    let app = client.outbox.ledger().app(appid).await?;
    Ok(AppView::new(appid.clone(), &app, client.now()))
}
