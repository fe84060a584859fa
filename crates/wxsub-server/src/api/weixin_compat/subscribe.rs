//! `POST /cgi-bin/message/template/subscribe`: sent on from here. The token is the right to do so, as it is with Weixin.

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

pub(super) async fn send_one(call: RequestContext) -> Response {
    let (app, shown) = match app(&call) {
        Ok(found) => found,
        Err(answer) => return denied(&call, answer, &AuditOutcome::default()),
    };
    let message = match call.body().await.map_err(WeixinResponse::no_body).and_then(|body| message(&body)) {
        Ok(message) => message,
        Err(answer) => {
            let generation = Some(shown.get());
            let told = AuditOutcome { appid: Some(app.appid()), generation, ..AuditOutcome::default() };
            return denied(&call, answer, &told);
        }
    };
    let sending = SendContext {
        call: &call,
        app: &app,
        client: None,
        api: ApiSurface::Weixin,
        presented_generation: Some(shown),
    };
    WeixinResponse::sent(&send(&sending, message).await).into_response()
}

fn denied(call: &RequestContext, answer: WeixinResponse, told: &AuditOutcome<'_>) -> Response {
    let told = AuditOutcome { outcome: "denied", errcode: Some(answer.errcode), ..told.clone() };
    call.house.record_audit(ApiSurface::Weixin, Action::Send, &call.caller(None), &told);
    answer.into_response()
}

/// The app whose token this is, the current one or one of the two before it; and which of them.
fn app(call: &RequestContext) -> Result<(Arc<ManagedApp>, Generation), WeixinResponse> {
    let token =
        access_token_from_query(call.head.uri.query().unwrap_or_default()).map_err(
            |invalid| match invalid.rule() {
                ValidationErrorKind::Missing | ValidationErrorKind::Empty => {
                    WeixinResponse::new(ErrCode::MISSING_ACCESS_TOKEN, "access_token missing")
                }
                _ => unknown_token(),
            },
        )?;
    let known = |app: &Arc<ManagedApp>| Some((Arc::clone(app), app.generation_of(&token)?));
    call.snapshot.apps.values().find_map(known).ok_or_else(unknown_token)
}

fn unknown_token() -> WeixinResponse {
    WeixinResponse::new(
        ErrCode::INVALID_CREDENTIAL,
        "invalid credential, access_token is invalid or not latest",
    )
}

fn message(body: &[u8]) -> Result<Message, WeixinResponse> {
    if body.is_empty() {
        return Err(WeixinResponse::new(ErrCode::EMPTY_POST_DATA, "empty post data"));
    }
    let draft = MessageDraft::from_json(body).map_err(|invalid| {
        WeixinResponse::new(ErrCode::DATA_FORMAT, format!("data format error: {invalid}"))
    })?;
    draft.check_ignoring_unknown().map_err(|problems| {
        WeixinResponse::new(ErrCode::ARGUMENT_INVALID, format!("argument invalid! {problems}"))
    })
}
