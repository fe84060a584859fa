//! What operators did.

use axum::extract::Query;
use axum::response::{Html, Response};
use serde::Deserialize;
use wxsub_console::AuditView;

use super::ledger::LedgerSession;

/// Lines on a page.
const PAGE: usize = 50;

/// Which lines are listed.
#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    before: Option<u64>,
}

/// `GET /audit`.
pub(super) async fn list(
    session: LedgerSession,
    Query(query): Query<ListQuery>,
) -> Result<Html<String>, Response> {
    let lines = session.done(session.outbox.ledger().audit(query.before, PAGE).await)?;
    let next = lines.last().filter(|_| lines.len() == PAGE).map(|last| format!("/audit?before={}", last.seq));
    Ok(Html(wxsub_console::audit(&session.session.frame(), &AuditView { lines, next })))
}
