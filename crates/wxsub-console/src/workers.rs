//! The workers that send, and the apps with their pauses.

use maud::{Markup, html};
use wxsub_outbox::ledger::StoredWorker;
use wxsub_outbox::view::AppView;

use crate::frame::{Frame, Section};
use crate::outbox::counts;
use crate::text::bdi;

/// What the page of workers and apps shows.
#[derive(Debug, Clone)]
pub struct WorkersView {
    /// The workers.
    pub workers: Vec<StoredWorker>,
    /// The apps.
    pub apps: Vec<AppView>,
}

/// The page of workers and apps.
#[must_use]
pub fn workers(frame: &Frame<'_>, view: &WorkersView) -> String {
    let title = frame.text("Workers and apps", "worker 与应用");
    let body = html! {
        h1 { (title) }
        h2 { (frame.text("Apps", "应用")) }
        @for app in &view.apps { (app_card(frame, app)) }
        h2 { (frame.text("Workers", "worker")) }
        @if view.workers.iter().all(|worker| worker.gone_at.is_some()) {
            p.bad { (frame.text("No worker is alive: queued messages wait.", "没有存活的 worker：排队的消息不会发送。")) }
        }
        (worker_table(frame, &view.workers))
    };
    frame.page(Section::Workers, title, &body)
}

fn app_card(frame: &Frame<'_>, app: &AppView) -> Markup {
    let name = app.appid.as_str();
    html! {
        section.card {
            h3 { code { (name) } }
            p { (counts(frame, app)) }
            @if let Some(waiting_for) = app.waiting_for {
                p { span.badge.warn { (frame.waiting_for(waiting_for)) }
                    @if let Some(by) = &app.paused_by { " " (bdi(by)) }
                    @if let Some(note) = &app.note { ": " (bdi(note)) } }
            }
            @if frame.is_operator() {
                @if app.paused_by.is_none() { (pause_form(frame, name)) }
                @if app.waiting_for.is_some() { (resume_form(frame, name)) }
            }
        }
    }
}

fn pause_form(frame: &Frame<'_>, app: &str) -> Markup {
    let fields = html! {
        input type="hidden" name="app" value=(app);
        div {
            label for={ "note-" (app) } { (frame.text("Note", "备注")) }
            input id={ "note-" (app) } name="note" maxlength="300" autocomplete="off";
        }
        button.danger { (frame.text("Pause", "暂停")) }
    };
    frame.form("/workers/pause", "row", &fields)
}

fn resume_form(frame: &Frame<'_>, app: &str) -> Markup {
    let fields = html! {
        input type="hidden" name="app" value=(app);
        button { (frame.text("Resume: lift every pause", "恢复：解除所有暂停")) }
    };
    frame.form("/workers/resume", "row", &fields)
}

fn worker_table(frame: &Frame<'_>, workers: &[StoredWorker]) -> Markup {
    let columns = [
        frame.text("Worker", "worker"),
        frame.text("State", "状态"),
        frame.text("Last heartbeat", "最近心跳"),
    ];
    let row = |worker: &StoredWorker| {
        let state = match worker.gone_at {
            None => html! { span.badge.good { (frame.text("alive", "存活")) } },
            Some(_) => html! { span.badge.quiet { (frame.text("gone", "已失联")) } },
        };
        vec![html! { span.id { (worker.id) } }, state, frame.relative(worker.beat_at)]
    };
    frame.table(&columns, workers.iter().map(row))
}
