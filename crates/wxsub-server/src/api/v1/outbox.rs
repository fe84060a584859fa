//! The messages of the outbox: record, list, show and withdraw them.

use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use wxsub_api::schema::SendMessageRequest;
use wxsub_api::{OutboxApps, Problem};
use wxsub_outbox::id::MessageId;
use wxsub_outbox::ledger::MessageQuery;
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::state::MessageState;
use wxsub_outbox::view::{AppView, MessageList, MessageView};
use wxsub_outbox::{LedgerError, OutboxError, OutboxMessage};
use wxsub_proto::{AppId, OpenId};

use super::ProblemResponse;
use super::ledger::{LedgerClient, ListClient, MessagePath, OutboxClient, RequestKey};
use super::lines::{self, MAX_LINES_BYTES};
use super::members::{RawBody, one_of, text};
use super::queue::{app, parse_message, record};
use crate::api::request::{Json, RequestContext, json_response};
use crate::apps::{MAX_APP_READS, SharedState};

/// How many messages a page has, unless the request says otherwise, and at most.
const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;

/// One message, or lines of messages. An axum extractor.
pub(in crate::api) enum PostedMessages {
    One(RawBody),
    Lines(RawBody),
}

impl FromRequest<SharedState> for PostedMessages {
    type Rejection = ProblemResponse;

    async fn from_request(request: Request, state: &SharedState) -> Result<Self, ProblemResponse> {
        let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case(lines::MEDIA_TYPE) {
            let (_, body) = RequestContext::read_body_up_to(request, state, MAX_LINES_BYTES).await;
            return Ok(Self::Lines(RawBody(body?)));
        }
        RawBody::from_request(request, state).await.map(Self::One)
    }
}

#[utoipa::path(
    post,
    path = "/v1/apps/{appid}/outbox",
    operation_id = "enqueue",
    summary = "Queues a message, or up to 1000 as application/x-ndjson; needs outbox:write",
    params(("appid" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = SendMessageRequest,
    responses(
        (status = 202, body = MessageView, description = "Recorded, now or before"),
        (status = 200, description = "Of lines: one result a line, as application/x-ndjson"),
        (status = 400, body = Problem, description = "Not JSON, or an Idempotency-Key is missing"),
        (status = 409, body = Problem, description = "The grant does not allow it"),
        (status = 422, body = Problem, description = "Invalid: see problems; or the key was used for another message")
    )
)]
pub(in crate::api) async fn enqueue(
    client: OutboxClient,
    RequestKey(key): RequestKey,
    posted: PostedMessages,
) -> Result<Response, ProblemResponse> {
    let body = match posted {
        PostedMessages::One(RawBody(body)) => body,
        PostedMessages::Lines(RawBody(body)) => return lines::enqueue(&client, key, &body).await,
    };
    let (message, _) = parse_message(&body, false)?;
    let message = key.into_iter().fold(message, OutboxMessage::idempotency_key);
    let recorded = async {
        let (message, is_replayed) = record(&client, message).await?;
        Ok((message, is_replayed, app(&client).await))
    };
    let (message, is_replayed, app) = client.work(recorded).await?;
    client.context.audit(|entry| entry.message = Some(message.id.to_string()));
    client.context.state().metrics().record_enqueued(client.app.appid(), is_replayed);
    let view = MessageView::new(&message, &app, client.now());
    let mut response = json_response(StatusCode::ACCEPTED, "application/json", &view);
    if is_replayed {
        super::messages::mark_replayed(&mut response);
    }
    Ok(response)
}

#[utoipa::path(
    get,
    path = "/v1/outbox",
    operation_id = "list_outbox_apps",
    summary = "The apps of the key that have messages, and how many; needs outbox:read",
    responses(
        (status = 200, body = OutboxApps<AppView>, description = "The apps, sorted by AppID")
    )
)]
pub(in crate::api) async fn apps(client: LedgerClient) -> Result<Json<OutboxApps<AppView>>, ProblemResponse> {
    let read = client.work(async {
        let (ledger, now) = (client.outbox.ledger(), client.now());
        let view = async |appid: AppId| {
            let app = ledger.app(&appid).await?;
            Ok::<_, LedgerError>(AppView::new(appid, &app, now))
        };
        let mut appids = ledger.apps().await?;
        appids.retain(|appid| client.client.can_access(appid));
        let apps = stream::iter(appids).map(view).buffered(MAX_APP_READS).try_collect().await?;
        Ok::<_, OutboxError>(OutboxApps { apps })
    });
    read.await.map(Json)
}

#[utoipa::path(
    get,
    path = "/v1/apps/{appid}/outbox",
    operation_id = "list_messages",
    summary = "A page of messages; needs outbox:read",
    params(("appid" = String, Path), ("state" = Option<String>, Query), ("openid" = Option<String>, Query), ("undecided" = Option<bool>, Query), ("after" = Option<String>, Query), ("limit" = Option<u32>, Query)),
    responses(
        (status = 200, body = MessageList, description = "The messages, oldest first"),
        (status = 422, body = Problem, description = "The query is invalid")
    )
)]
pub(in crate::api) async fn list(
    ListClient { client, mut query }: ListClient,
) -> Result<Json<MessageList>, ProblemResponse> {
    let state: Option<MessageState> = query.optional("state", state);
    let openid: Option<OpenId> = query.optional("openid", text);
    let undecided = query.optional("undecided", one_of("must be true or false")).unwrap_or(false);
    let after: Option<MessageId> =
        query.optional("after", one_of("must be the id of a message; use the next of a page"));
    let limit = query.optional("limit", limit).unwrap_or(DEFAULT_PAGE);
    query.finish(Some(()))?;
    let all = MessageQuery::new(client.app.appid().clone());
    let query = MessageQuery { state, openid, undecided, after, limit, ..all };
    let read = client.work(async {
        let ledger = client.outbox.ledger();
        Ok((ledger.messages(&query).await?, ledger.app(&query.appid).await?))
    });
    let (messages, app) = read.await?;
    Ok(Json(MessageList::new(&messages, &app, limit, client.now())))
}

#[utoipa::path(
    get,
    path = "/v1/apps/{appid}/outbox/{id}",
    operation_id = "show_message",
    summary = "One message with its history; needs outbox:read",
    params(("appid" = String, Path), ("id" = String, Path)),
    responses(
        (status = 200, body = MessageView, description = "The message; ETag is its version")
    )
)]
pub(in crate::api) async fn show(
    client: OutboxClient,
    MessagePath(id): MessagePath,
) -> Result<Response, ProblemResponse> {
    let read = client.work(async {
        let ledger = client.outbox.ledger();
        // The history first: the message is at least as new, so the next read of it shows no less.
        let history = ledger.history(id).await?;
        let message = client.message(id).await?;
        Ok((message, history, ledger.app(client.app.appid()).await?))
    });
    let (message, history, app) = read.await?;
    let view = MessageView::new(&message, &app, client.now()).with_events(&history);
    let mut response = json_response(StatusCode::OK, "application/json", &view);
    set_version(&mut response, &message);
    Ok(response)
}

/// Reads the state of a message.
fn state(value: &Value) -> Result<MessageState, String> {
    let names: Vec<_> = MessageState::ALL.iter().map(|state| state.as_str()).collect();
    let state = value.as_str().and_then(|text| text.parse().ok());
    state.ok_or_else(|| format!("must be one of {}", names.join(", ")))
}

/// Reads how many messages a page has.
fn limit(value: &Value) -> Result<usize, String> {
    let limit = value.as_str().and_then(|text| text.parse().ok());
    let limit = limit.filter(|limit| (1..=MAX_PAGE).contains(limit));
    limit.ok_or_else(|| format!("must be a whole number from 1 to {MAX_PAGE}"))
}

/// Sets the `ETag` of a message.
pub(super) fn set_version(response: &mut Response, message: &StoredMessage) {
    if let Ok(version) = HeaderValue::try_from(format!("\"{}\"", message.version)) {
        response.headers_mut().insert(ETAG, version);
    }
}

#[utoipa::path(
    delete,
    path = "/v1/apps/{appid}/outbox/{id}",
    operation_id = "cancel_message",
    summary = "Withdraws a queued message; needs outbox:write",
    params(("appid" = String, Path), ("id" = String, Path)),
    responses(
        (status = 204, description = "Withdrawn"),
        (status = 409, body = Problem, description = "It is being sent, or final")
    )
)]
pub(in crate::api) async fn cancel(
    client: OutboxClient,
    MessagePath(id): MessagePath,
) -> Result<Response, ProblemResponse> {
    let cancelled = client.work(async {
        client.message(id).await?;
        client.outbox.cancel(id, &client.client.name).await
    });
    cancelled.await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
