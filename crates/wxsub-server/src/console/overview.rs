//! The overview page.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::response::Html;
use wxsub_console::{AppOverview, OverviewView};
use wxsub_outbox::view::AppView;

use super::request::Session;

/// How long the page waits for the ledger. What it does not tell by then is left out.
const LEDGER_TIMEOUT: Duration = Duration::from_secs(2);

/// `GET /`.
pub(super) async fn show(session: Session) -> Html<String> {
    let (state, snapshot, now) = (&session.visit.console.state, &session.visit.snapshot, session.visit.now());
    let outbox = state.outbox_status(now.mono + LEDGER_TIMEOUT).await;
    let is_ledger_up = outbox.as_ref().map(|outbox| outbox.is_ledger_up);
    let mut outboxes: BTreeMap<_, _> = outbox.into_iter().flat_map(|outbox| outbox.apps).collect();
    let apps = state.app_statuses(snapshot).map(|status| {
        let token = snapshot.apps.get(&status.appid).map(|app| app.token_cache.status());
        let outbox = outboxes.remove(&status.appid);
        AppOverview {
            requested_at: token.as_ref().and_then(|token| Some(token.usable(now)?.requested_at())),
            next_attempt_at: token.and_then(|token| token.next_attempt_at).map(|at| at.wall),
            outbox: outbox.map(|outbox| AppView::new(status.appid.clone(), &outbox, now.wall)),
            status,
        }
    });
    let view = OverviewView { problems: state.problems(), apps: apps.collect(), is_ledger_up };
    Html(wxsub_console::overview(&session.frame(), &view))
}
