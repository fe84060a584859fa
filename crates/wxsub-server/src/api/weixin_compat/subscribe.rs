//! `POST /cgi-bin/message/template/subscribe`: sends a message. As with Weixin, the access token authorizes the request.

use std::sync::Arc;

use axum::response::Response;
use wxsub_core::token::Generation;
use wxsub_proto::endpoint::subscribe::access_token_from_query;
use wxsub_proto::message::MessageDraft;
use wxsub_proto::{ErrCode, Message, ValidationErrorKind};

use super::response::WeixinResponse;
use crate::app::ManagedApp;
use crate::audit::{Action, ApiSurface};
use crate::context::RequestContext;
use crate::send::{SendContext, send};
use crate::state::AuditOutcome;

pub(super) async fn send_one(context: RequestContext) -> Response {
    let (app, presented) = match find_app(&context) {
        Ok(found) => found,
        Err(response) => return denied(&context, response, &AuditOutcome::default()),
    };
    let message = match context
        .body()
        .await
        .map_err(WeixinResponse::body_error)
        .and_then(|body| parse_message(&body))
    {
        Ok(message) => message,
        Err(response) => {
            let generation = Some(presented.get());
            let audit = AuditOutcome { appid: Some(app.appid()), generation, ..AuditOutcome::default() };
            return denied(&context, response, &audit);
        }
    };
    let send_context = SendContext {
        request: &context,
        app: &app,
        client: None,
        api: ApiSurface::Weixin,
        presented_generation: Some(presented),
    };
    WeixinResponse::sent(&send(&send_context, message).await).into_response()
}

fn denied(context: &RequestContext, response: WeixinResponse, audit: &AuditOutcome<'_>) -> Response {
    let audit = AuditOutcome { outcome: "denied", errcode: Some(response.errcode), ..audit.clone() };
    context.state.record_audit(ApiSurface::Weixin, Action::Send, &context.caller(None), &audit);
    response.into_response()
}

/// The app and the generation of the request's access token. The current token and the two before it are accepted.
fn find_app(context: &RequestContext) -> Result<(Arc<ManagedApp>, Generation), WeixinResponse> {
    let token =
        access_token_from_query(context.head.uri.query().unwrap_or_default()).map_err(
            |invalid| match invalid.rule() {
                ValidationErrorKind::Missing | ValidationErrorKind::Empty => {
                    WeixinResponse::new(ErrCode::MISSING_ACCESS_TOKEN, "access_token missing")
                }
                _ => unknown_token(),
            },
        )?;
    let known = |app: &Arc<ManagedApp>| Some((Arc::clone(app), app.generation_of(&token)?));
    context.snapshot.apps.values().find_map(known).ok_or_else(unknown_token)
}

fn unknown_token() -> WeixinResponse {
    WeixinResponse::new(
        ErrCode::INVALID_CREDENTIAL,
        "invalid credential, access_token is invalid or not latest",
    )
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
