//! What operators did.

use maud::html;
use wxsub_outbox::audit::{AuditEntry, StoredAudit};
use wxsub_outbox::state::{AuditAction, AuditOutcome};

use crate::frame::{Frame, Section};
use crate::text::{bdi, timestamp};
use crate::webhooks;

/// What the page of the audit shows.
#[derive(Debug, Clone)]
pub struct AuditView {
    /// One page of lines, newest first.
    pub lines: Vec<StoredAudit>,
    /// The path of the next page.
    pub next: Option<String>,
}

/// The page of the audit.
#[must_use]
pub fn audit(frame: &Frame<'_>, view: &AuditView) -> String {
    let title = frame.text("Audit", "操作记录");
    let columns = [
        frame.text("Time", "时间"),
        frame.text("Who", "操作员"),
        frame.text("Action", "操作"),
        frame.text("Subject", "对象"),
    ];
    let row = |StoredAudit { at, entry, outcome, .. }: &StoredAudit| {
        vec![
            timestamp(*at),
            html! { (bdi(&entry.actor)) " " span.quiet { (bdi(&entry.address)) } },
            html! {
                (frame.action(entry.action)) " " code { (bdi(&entry.detail)) }
                @if *outcome == AuditOutcome::NotDone { " " span.badge.bad { (frame.text("not done", "未执行")) } }
            },
            html! {
                @if let Some(appid) = &entry.appid { code { (appid.as_str()) } " " }
                @match page_of(entry) {
                    Some(page) => { a.id href=(frame.link(&page)) { (bdi(&entry.subject)) } }
                    None => { span.id { (bdi(&entry.subject)) } }
                }
            },
        ]
    };
    let body = html! {
        h1 { (title) }
        (frame.table(&columns, view.lines.iter().map(row)))
        @if let Some(next) = &view.next {
            p { a.button href=(frame.link(next)) { (frame.text("Older", "更早")) } }
        }
    };
    frame.page(Section::Audit, title, &body)
}

/// The page of what an action is about, if it has one.
fn page_of(entry: &AuditEntry) -> Option<String> {
    match entry.action {
        AuditAction::Redeliver => Some(webhooks::page_of(&entry.subject)),
        AuditAction::Reveal | AuditAction::Decide | AuditAction::Cancel => {
            Some(format!("/outbox/{}", entry.subject))
        }
        AuditAction::Login
        | AuditAction::Logout
        | AuditAction::Pause
        | AuditAction::Resume
        | AuditAction::VoidGrant
        | AuditAction::Denied => None,
    }
}
