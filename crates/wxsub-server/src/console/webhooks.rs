//! The endpoints of webhooks, and redelivery.

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::{Html, Response};
use serde::Deserialize;
use wxsub_console::{EndpointView, WebhooksView};
use wxsub_outbox::{Ledger, LedgerError};
use wxsub_proto::LocalizedText;

use super::ledger::{LedgerSession, OperatorForm};
use crate::apps;
use crate::config::AppAccess;

/// Maximum number of failed webhooks of an endpoint on the page.
const MAX_LISTED: usize = 50;

/// What the page is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct PageQuery {
    /// Failed webhooks were made due just now.
    redelivered: Option<String>,
}

/// All endpoints, each with at most so many of its failed deliveries.
pub(super) async fn endpoints(ledger: &dyn Ledger, limit: usize) -> Result<Vec<EndpointView>, LedgerError> {
    let mut endpoints = Vec::new();
    for status in ledger.webhook_endpoints().await? {
        let failed = ledger.failed_deliveries(&status.endpoint.name, None, limit).await?;
        endpoints.push(EndpointView { status, failed });
    }
    Ok(endpoints)
}

/// `GET /webhooks`.
pub(super) async fn list(
    session: LedgerSession,
    Query(query): Query<PageQuery>,
) -> Result<Html<String>, Response> {
    let endpoints = session.done(endpoints(&**session.outbox.ledger(), MAX_LISTED).await)?;
    let view = WebhooksView { endpoints, is_redelivered: query.redelivered.is_some() };
    Ok(Html(wxsub_console::webhooks(&session.session.frame(), &view)))
}

/// `POST /webhooks/redeliver`.
pub(super) async fn redeliver(OperatorForm { session, fields }: OperatorForm) -> Result<Response, Response> {
    let redelivering = apps::redeliver(&session.outbox, fields.get("endpoint"), &AppAccess(None));
    if session.done(redelivering.await)?.is_err() {
        let text = LocalizedText::new("There is no such endpoint", "没有这个 endpoint");
        return Err(session.session.notice(StatusCode::NOT_FOUND, text));
    }
    Ok(session.session.visit.redirect("/webhooks?redelivered"))
}
