//! The undecided messages, and their decisions.

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{Html, Response};
use serde::Deserialize;
use wxsub_console::{DecisionsView, UndecidedView};
use wxsub_outbox::LedgerError;
use wxsub_outbox::app::StoredApp;
use wxsub_outbox::evidence::Evidence;
use wxsub_outbox::ledger::MessageQuery;
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::view::{GrantList, MessageView};
use wxsub_proto::LocalizedText;

use super::ledger::{LedgerSession, OperatorForm};

/// Maximum number of messages on the page, which reads a few rows for each of them.
const MAX_MESSAGES: usize = 100;

/// Maximum number of messages of an app on the page.
const MAX_PER_APP: usize = 20;

/// What the page is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct PageQuery {
    /// A decision was made just now.
    decided: Option<String>,
}

/// `GET /decisions`.
pub(super) async fn list(
    session: LedgerSession,
    Query(query): Query<PageQuery>,
) -> Result<Html<String>, Response> {
    let ledger = session.outbox.ledger();
    let (mut messages, mut apps) = (Vec::new(), session.apps());
    let undecided_apps = session.done(ledger.undecided_apps().await)?;
    apps.retain(|appid| undecided_apps.contains(appid));
    let (mut has_more, share) = (apps.len() > MAX_MESSAGES, share_of_each(apps.len()));
    for appid in apps.into_iter().take(MAX_MESSAGES) {
        let all = MessageQuery::new(appid);
        let undecided = MessageQuery { undecided: true, limit: share + 1, ..all };
        let read = async {
            let found = ledger.messages(&undecided).await?;
            has_more |= found.len() > share;
            let app = ledger.app(&undecided.appid).await?;
            for message in found.iter().take(share) {
                messages.push(evidence(&session, &app, message).await?);
            }
            Ok::<_, LedgerError>(())
        };
        session.done(read.await)?;
    }
    let view = DecisionsView { messages, has_more, is_decided: query.decided.is_some() };
    Ok(Html(wxsub_console::decisions(&session.session.frame(), &view)))
}

/// How many messages of each of so many apps are on the page.
fn share_of_each(apps: usize) -> usize {
    MAX_MESSAGES.checked_div(apps).map_or(0, |share| share.clamp(1, MAX_PER_APP))
}

async fn evidence(
    session: &LedgerSession,
    app: &StoredApp,
    message: &StoredMessage,
) -> Result<UndecidedView, LedgerError> {
    let ledger = session.outbox.ledger();
    let grants = match &message.touser {
        Some(openid) => ledger.grants(&message.appid, openid).await?,
        None => Vec::new(),
    };
    let now = session.now();
    let evidence = Evidence::new(MessageView::new(message, app, now), GrantList::new(&grants).grants);
    Ok(UndecidedView { evidence, decidable_at: message.decidable_at(now) })
}

/// `POST /decisions/{id}`.
pub(super) async fn decide(
    Path(id): Path<String>,
    OperatorForm { session, fields }: OperatorForm,
) -> Result<Response, Response> {
    let message = session.message(&id).await?;
    let (decision, version) = (fields.get("decision").parse(), fields.get("version").parse());
    let note = fields.get("note");
    session.check_note(note)?;
    let (Ok(decision), Ok(version)) = (decision, version) else {
        let text = LocalizedText::new("The form is incomplete; send it again", "表单不完整；请重新提交");
        return Err(session.session.notice(StatusCode::BAD_REQUEST, text));
    };
    let outbox = session.outbox_of(&message.appid)?;
    let name = &session.session.user.name;
    session.done(outbox.decide(message.id, decision, name, note, Some(version)).await)?;
    Ok(session.session.visit.redirect("/decisions?decided"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_share_the_page() {
        for (apps, share) in [(0, 0), (1, 20), (5, 20), (6, 16), (100, 1), (1_000, 1)] {
            assert_eq!(share_of_each(apps), share, "{apps}");
        }
    }
}
