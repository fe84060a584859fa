//! The overview page.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::response::Html;
use wxsub_console::{AppOverview, LedgerOverview, LedgerState, OverviewView};
use wxsub_core::clock::timeout_at;
use wxsub_outbox::LedgerError;
use wxsub_outbox::view::AppView;

use super::request::Session;
use super::webhooks;

/// How long the page waits for the ledger.
const LEDGER_TIMEOUT: Duration = Duration::from_secs(2);

/// `GET /`.
pub(super) async fn show(session: Session) -> Html<String> {
    let (state, snapshot, now) = (&session.visit.console.state, &session.visit.snapshot, session.visit.now());
    let deadline = now.mono + LEDGER_TIMEOUT;
    let mut ledger = LedgerOverview::default();
    let reading = async {
        if let Some(outbox) = &snapshot.outbox {
            let stored = outbox.outbox().ledger();
            let workers = stored.workers().await?;
            ledger.live_workers = workers.iter().filter(|worker| worker.gone_at.is_none()).count();
            ledger.endpoints = webhooks::endpoints(&**stored, 1).await?;
        }
        Ok::<_, LedgerError>(())
    };
    let is_read = matches!(timeout_at(&**state.clock(), deadline, reading).await, Some(Ok(())));
    let outbox = state.outbox_status(deadline).await;
    let is_read = is_read && outbox.as_ref().is_none_or(|outbox| outbox.apps.len() == snapshot.apps.len());
    let ledger_state = outbox.as_ref().map(|_| match state.ledger_problem() {
        Some(problem) => LedgerState::Unavailable(problem),
        None if is_read => LedgerState::Read(ledger),
        None => LedgerState::Silent,
    });
    let apps = outbox.into_iter().flat_map(|outbox| outbox.apps);
    let mut outboxes: BTreeMap<_, _> =
        apps.map(|(appid, app, first_due_at)| (appid, (app, first_due_at))).collect();
    let apps = state.app_statuses(snapshot).map(|status| {
        let token = snapshot.apps.get(&status.appid).map(|app| app.token_cache().status());
        let (outbox, first_due_at) = outboxes.remove(&status.appid).unzip();
        AppOverview {
            requested_at: token.as_ref().and_then(|token| Some(token.usable(now)?.requested_at())),
            next_attempt_at: token.and_then(|token| token.next_attempt_at).map(|at| at.wall),
            first_due_at: first_due_at.flatten(),
            outbox: outbox.map(|outbox| AppView::new(status.appid.clone(), &outbox, now.wall)),
            status,
        }
    });
    let apps = apps.collect();
    let (problems, day) = (state.problems(), state.metrics().hourly.day());
    Html(wxsub_console::overview(
        &session.frame(),
        &OverviewView { problems, apps, ledger: ledger_state, day },
    ))
}
