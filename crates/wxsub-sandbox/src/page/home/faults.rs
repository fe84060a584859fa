//! Fault injection.

use maud::{Markup, html};
use wxsub_proto::endpoint::{stable_token, subscribe, token};

use super::super::zh;
use super::{FormResult, form_result};
use crate::fault::Fault;
use crate::state::SandboxState;

const CHOICES: [(&str, &str); 8] = [
    ("errcode", "Error code from Weixin"),
    ("status", "HTTP status from an intermediary"),
    ("delay_ms", "Delayed response, in milliseconds"),
    ("reset_before_apply", "Reset before the request takes effect"),
    ("reset_after_apply", "Reset after the request took effect"),
    ("truncate", "Truncated response body"),
    ("html", "Page of a captive portal"),
    ("hang", "No response"),
];

pub(super) fn section(state: &SandboxState, result: Option<FormResult>) -> Markup {
    html! {
        section #faults {
            h2 { "Faults" (zh("故障注入")) }
            (form_result(result, "faults"))
            div.card {
                div #faults-pending data-live { (pending(state)) }
                form.fields method="post" action="/_sandbox/ui/faults" {
                    label.whole { "Path" input name="path" list="paths" value=(token::PATH) required; }
                    datalist #paths {
                        @for path in [token::PATH, stable_token::PATH, subscribe::PATH] { option value=(path) {} }
                    }
                    label.whole { "Fault"
                        select name="fault" { @for (value, name) in CHOICES { option value=(value) { (name) } } }
                    }
                    label { "Errcode, status or ms" input type="number" name="number" value="-1"; }
                    label { "Times" input type="number" name="times" value="1" min="1" max="1000000" required; }
                    button { "Add fault" }
                }
            }
        }
    }
}

/// The alert at the top of the page, if a fault is pending.
pub(super) fn alert(state: &SandboxState) -> Markup {
    let pending = state.faults.pending();
    html! {
        @if let Some((path, times, fault)) = pending.first() {
            a.alert href="#faults" {
                "Fault pending: " (name(*fault)) " × " (times) " on " code { (path) }
                @if pending.len() > 1 { ", and " (pending.len() - 1) " more" }
            }
        }
    }
}

fn pending(state: &SandboxState) -> Markup {
    let pending = state.faults.pending();
    html! {
        @if pending.is_empty() {
            p.quiet { "No fault pending." }
        } @else {
            ul.plain {
                @for (path, times, fault) in &pending {
                    li { span.tag.bad { (name(*fault)) } " × " (times) " on " code { (path) } }
                }
            }
            form method="post" action="/_sandbox/ui/faults/clear" { button { "Remove all faults" } }
        }
    }
}

/// The name of the fault, with its number if it has one.
fn name(fault: Fault) -> String {
    match fault {
        Fault::ErrCode(code) => format!("errcode {code}"),
        Fault::Status(status) => format!("status {status}"),
        Fault::Delay(delay) => format!("delay {} ms", delay.as_millis()),
        other => other.name().replace('_', " "),
    }
}
