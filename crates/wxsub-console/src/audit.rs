//! What operators did.

use maud::html;
use wxsub_outbox::audit::{AuditEntry, StoredAudit};
use wxsub_outbox::state::{AuditAction, AuditOutcome};

use crate::frame::{Frame, Section};
use crate::text::{bdi, timestamp};
use crate::webhooks;

/// What the page of the audit shows.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "the server fills in all of it")]
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
    let names = [
        frame.text("Time", "时间"),
        frame.text("Who", "操作员"),
        frame.text("Action", "操作"),
        frame.text("Subject", "对象"),
    ];
    let [time, who, action, subject] = names;
    let body = html! {
        h1 { (title) }
        table.stack {
            thead { tr { @for name in names { th scope="col" { (name) } } } }
            tbody {
                @for StoredAudit { at, entry, outcome, .. } in &view.lines {
                    tr {
                        td data-label=(time) { (timestamp(*at)) }
                        td data-label=(who) { (bdi(&entry.actor)) " " span.quiet { (bdi(&entry.address)) } }
                        td data-label=(action) {
                            (frame.action(entry.action)) " " code { (bdi(&entry.detail)) }
                            @if *outcome == AuditOutcome::NotDone { " " span.badge.bad { (frame.text("not done", "未执行")) } }
                        }
                        td data-label=(subject) {
                            @if let Some(appid) = &entry.appid { code { (appid.as_str()) } " " }
                            @match page_of(entry) {
                                Some(page) => { a.id href=(frame.link(&page)) { (bdi(&entry.subject)) } }
                                None => { span.id { (bdi(&entry.subject)) } }
                            }
                        }
                    }
                }
            }
        }
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
