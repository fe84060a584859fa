//! `POST /cgi-bin/message/template/subscribe`: sends a message. As with Weixin, the access token authorizes the request.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use wxsub_core::token::Generation;
use wxsub_proto::endpoint::subscribe::access_token_from_query;
use wxsub_proto::message::MessageDraft;
use wxsub_proto::{ErrCode, Message, ValidationErrorKind};

use super::WeixinResponse;
use crate::api::request::RequestContext;
use crate::apps::{ManagedApp, SendJob, SharedState, TokenDigest};
use crate::state::denial::Denial;

/// The app whose access token authorizes the request, and the generation of that token. An axum extractor.
pub(in crate::api) struct TokenHolder {
    context: RequestContext,
    app: Arc<ManagedApp>,
    generation: Generation,
}

/// The message in the body. An axum extractor.
pub(in crate::api) struct PostedMessage(Message);

impl FromRequestParts<SharedState> for TokenHolder {
    type Rejection = WeixinResponse;

    /// The current token and the two before it are accepted.
    async fn from_request_parts(parts: &mut Parts, state: &SharedState) -> Result<Self, WeixinResponse> {
        let Ok(context) = RequestContext::from_request_parts(parts, state).await;
        let query = parts.uri.query().unwrap_or_default();
        let token = access_token_from_query(query).map_err(|invalid| {
            let response = match invalid.rule() {
                ValidationErrorKind::Missing | ValidationErrorKind::Empty => {
                    WeixinResponse::new(ErrCode::MISSING_ACCESS_TOKEN, "access_token missing")
                }
                _ => unknown_token(&context),
            };
            response.audited(&context)
        })?;
        // Computed once, because anyone can present a token, and there may be many apps.
        let digest = TokenDigest::of(&token);
        let known = |app: &Arc<ManagedApp>| Some((Arc::clone(app), app.generation_of(digest)?));
        let Some((app, generation)) = context.snapshot().apps.values().find_map(known) else {
            return Err(unknown_token(&context).audited(&context));
        };
        context.set_caller(app.appid().as_str(), &app.load);
        context.audit(|entry| {
            entry.appid = Some(app.appid().clone());
            entry.generation = Some(generation.get());
        });
        let admitted = context.admit(context.action()).await;
        admitted.map_err(|limit| WeixinResponse::from(limit).audited(&context))?;
        Ok(Self { context, app, generation })
    }
}

fn unknown_token(context: &RequestContext) -> WeixinResponse {
    WeixinResponse::denied(context.denied(Denial::UnknownToken), context.action())
}

impl FromRequest<SharedState> for PostedMessage {
    type Rejection = WeixinResponse;

    async fn from_request(request: Request, state: &SharedState) -> Result<Self, WeixinResponse> {
        let (context, body) = RequestContext::read_body(request, state).await;
        let message = body.map_err(WeixinResponse::from).and_then(|body| parse_message(&body));
        message.map(Self).map_err(|response| response.audited(&context))
    }
}

fn parse_message(body: &[u8]) -> Result<Message, WeixinResponse> {
    if body.is_empty() {
        return Err(WeixinResponse::new(ErrCode::EMPTY_POST_DATA, "empty post data"));
    }
    let draft = MessageDraft::from_json(body).map_err(|invalid| {
        WeixinResponse::new(ErrCode::DATA_FORMAT, format!("data format error: {invalid}"))
    })?;
    draft.validate_ignoring_unknown().map_err(|problems| {
        WeixinResponse::new(ErrCode::ARGUMENT_INVALID, format!("argument invalid! {problems}"))
    })
}

/// Sends the message.
pub(in crate::api) async fn send_one(
    TokenHolder { context, app, generation }: TokenHolder,
    PostedMessage(message): PostedMessage,
) -> WeixinResponse {
    let permit = match context.try_acquire_permit() {
        Ok(permit) => permit,
        Err(limit) => return WeixinResponse::from(limit).audited(&context),
    };
    let outbox = context.snapshot().outbox.as_ref();
    let outbox = outbox.and_then(|outbox| outbox.outbox().for_app(app.appid()).ok());
    let job = SendJob {
        state: Arc::clone(context.state()),
        app,
        client: None,
        presented_generation: Some(generation),
        deadline: context.deadline(),
        permit,
        audit: context.take_audit(),
        outbox,
        key: None,
    };
    job.run(message).await.map_or_else(WeixinResponse::from, |sent| WeixinResponse::sent(&sent))
}
