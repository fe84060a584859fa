//! Workers and apps: pause and resume.

use axum::response::{Html, Response};
use wxsub_console::WorkersView;

use super::ledger::{LedgerSession, OperatorForm};

/// `GET /workers`.
pub(super) async fn list(session: LedgerSession) -> Result<Html<String>, Response> {
    let mut workers = session.done(session.outbox.ledger().workers().await)?;
    workers.sort_by_key(|worker| (worker.gone_at.is_some(), std::cmp::Reverse(worker.beat_at)));
    let mut apps = Vec::new();
    for appid in session.apps() {
        apps.push(session.app_view(&appid).await?);
    }
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
