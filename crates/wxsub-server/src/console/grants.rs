//! The grants of one user.

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{Html, Response};
use serde::Deserialize;
use wxsub_console::GrantsView;
use wxsub_outbox::id::GrantId;
use wxsub_outbox::view::GrantView;
use wxsub_proto::{LocalizedText, OpenId};

use super::ledger::{LedgerSession, OperatorForm};
use super::request::encode;

/// Whose grants are listed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListQuery {
    app: String,
    openid: String,
}

/// `GET /grants`.
pub(super) async fn list(
    session: LedgerSession,
    Query(query): Query<ListQuery>,
) -> Result<Html<String>, Response> {
    let app = session.app(&query.app)?;
    let grants = match query.openid.trim().parse::<OpenId>() {
        Ok(openid) => {
            let grants = session.done(session.outbox.ledger().grants(&app, &openid).await)?;
            Some(grants.iter().map(GrantView::from).collect())
        }
        Err(_) => None,
    };
    let view = GrantsView { apps: session.apps(), app, openid: query.openid, grants };
    Ok(Html(wxsub_console::grants(&session.session.frame(), &view)))
}

/// `POST /grants/{id}/void`.
pub(super) async fn void(
    Path(id): Path<String>,
    OperatorForm { session, fields }: OperatorForm,
) -> Result<Response, Response> {
    let app = session.app(fields.get("app"))?;
    let outbox = session.outbox_of(&app)?;
    let voided = match id.parse::<GrantId>() {
        Ok(grant) => session.done(outbox.void_grant(grant).await)?,
        Err(_) => None,
    };
    if voided.is_none() {
        let text = LocalizedText::new(
            "The grant is not open, or a message has it",
            "该授权不是可用状态，或已被消息占用",
        );
        return Err(session.session.notice(StatusCode::CONFLICT, text));
    }
    let (app, openid) = (encode(app.as_str()), encode(fields.get("openid")));
    Ok(session.session.visit.redirect(&format!("/grants?app={app}&openid={openid}")))
}
