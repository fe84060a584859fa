//! The overview page.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::response::Html;
use wxsub_console::{AppOverview, OverviewView};
use wxsub_core::clock::timeout_at;
use wxsub_outbox::LedgerError;
use wxsub_outbox::view::AppView;

use super::request::Session;
use super::webhooks;

/// How long the page waits for the ledger. What it does not tell by then is left out.
const LEDGER_TIMEOUT: Duration = Duration::from_secs(2);

/// `GET /`.
pub(super) async fn show(session: Session) -> Html<String> {
    let (state, snapshot, now) = (&session.visit.console.state, &session.visit.snapshot, session.visit.now());
    let outbox = state.outbox_status(now.mono + LEDGER_TIMEOUT).await;
    let is_ledger_up = outbox.as_ref().map(|outbox| outbox.is_ledger_up);
    let apps = outbox.into_iter().flat_map(|outbox| outbox.apps);
    let mut outboxes: BTreeMap<_, _> =
        apps.map(|(appid, app, first_due_at)| (appid, (app, first_due_at))).collect();
    let apps = state.app_statuses(snapshot).map(|status| {
        let token = snapshot.apps.get(&status.appid).map(|app| app.token_cache.status());
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
    let (mut live_workers, mut endpoints) = (None, Vec::new());
    if let Some(outbox) = &snapshot.outbox {
        let ledger = outbox.outbox().ledger();
        let reading = async {
            let workers = ledger.workers().await?;
            live_workers = Some(workers.iter().filter(|worker| worker.gone_at.is_none()).count());
            endpoints = webhooks::endpoints(&**ledger, 1).await?;
            Ok::<_, LedgerError>(())
        };
        // A ledger that does not tell is the first problem of the page.
        let _ = timeout_at(&**state.clock(), now.mono + LEDGER_TIMEOUT, reading).await;
    }
    let (problems, day) = (state.problems(), state.metrics().hourly.day());
    let view = OverviewView { problems, apps, is_ledger_up, live_workers, endpoints, day };
    Html(wxsub_console::overview(&session.frame(), &view))
}
