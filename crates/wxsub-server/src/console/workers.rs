//! Workers and apps: pause and resume.

use axum::response::{Html, Response};
use futures_util::{StreamExt, TryStreamExt, stream};
use wxsub_console::WorkersView;
use wxsub_proto::AppId;

use super::ledger::{LedgerSession, OperatorForm};
use crate::apps::MAX_APP_READS;

/// `GET /workers`.
pub(super) async fn list(session: LedgerSession) -> Result<Html<String>, Response> {
    let mut workers = session.done(session.outbox.ledger().workers().await)?;
    workers.sort_by_key(|worker| (worker.gone_at.is_some(), std::cmp::Reverse(worker.beat_at)));
    let read = async |appid: &AppId| session.app_view(appid).await;
    let appids = session.apps();
    let apps = stream::iter(&appids).map(read).buffered(MAX_APP_READS).try_collect().await?;
    Ok(Html(wxsub_console::workers(&session.session.frame(), &WorkersView { workers, apps })))
}

/// `POST /workers/pause`.
pub(super) async fn pause(OperatorForm { session, fields }: OperatorForm) -> Result<Response, Response> {
    let outbox = session.outbox_of(&session.app(fields.get("app"))?)?;
    let note = fields.get("note");
    session.check_note(note)?;
    session.done(outbox.pause(&session.session.user.name, note).await)?;
    Ok(session.session.visit.redirect("/workers"))
}

/// `POST /workers/resume`.
pub(super) async fn resume(OperatorForm { session, fields }: OperatorForm) -> Result<Response, Response> {
    let outbox = session.outbox_of(&session.app(fields.get("app"))?)?;
    session.done(outbox.resume().await)?;
    Ok(session.session.visit.redirect("/workers"))
}
