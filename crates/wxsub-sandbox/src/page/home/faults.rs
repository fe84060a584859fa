//! What goes wrong on demand.

use maud::{Markup, html};
use wxsub_proto::endpoint::{stable_token, subscribe, token};

use super::super::zh;
use super::told;
use crate::Fault;
use crate::ui::Done;
use crate::world::World;

const CHOICES: [(&str, &str); 8] = [
    ("errcode", "Weixin refuses with an errcode"),
    ("status", "Something in between answers with an HTTP status"),
    ("delay_ms", "The reply comes late, in milliseconds"),
    ("reset_before_apply", "Reset before it has an effect"),
    ("reset_after_apply", "Reset after it has had its effect"),
    ("truncate", "The reply breaks off halfway"),
    ("html", "A captive portal answers"),
    ("hang", "No reply ever comes"),
];

pub(super) fn section(world: &World, done: Done) -> Markup {
    html! {
        section #faults {
            h2 { "Faults" (zh("故障注入")) }
            (told(done, "faults"))
            div.card {
                div #faults-waiting data-live { (waiting(world)) }
                form.fields method="post" action="/_sandbox/ui/faults" {
                    label.whole { "Path" input name="path" list="paths" value=(token::PATH) required; }
                    datalist #paths {
                        @for path in [token::PATH, stable_token::PATH, subscribe::PATH] { option value=(path) {} }
                    }
                    label.whole { "What goes wrong"
                        select name="fault" { @for (value, name) in CHOICES { option value=(value) { (name) } } }
                    }
                    label { "Errcode, status or ms" input type="number" name="number" value="-1"; }
                    label { "Times" input type="number" name="times" value="1" min="1" max="1000000" required; }
                    button { "Switch on" }
                }
            }
        }
    }
}

/// Says at the top of the page that something is about to go wrong.
pub(super) fn alert(world: &World) -> Markup {
    let waiting = world.faults.waiting();
    html! {
        @if let Some((path, times, fault)) = waiting.first() {
            a.alert href="#faults" {
                "Fault waiting: " (name(*fault)) " × " (times) " on " code { (path) }
                @if waiting.len() > 1 { ", and " (waiting.len() - 1) " more" }
            }
        }
    }
}

fn waiting(world: &World) -> Markup {
    let waiting = world.faults.waiting();
    html! {
        @if waiting.is_empty() {
            p.quiet { "None is switched on." }
        } @else {
            ul.plain {
                @for (path, times, fault) in &waiting {
                    li { span.tag.bad { (name(*fault)) } " × " (times) " on " code { (path) } }
                }
            }
            form method="post" action="/_sandbox/ui/faults/clear" { button { "Switch all off" } }
        }
    }
}

/// With its number, where it has one.
fn name(fault: Fault) -> String {
    match fault {
        Fault::ErrCode(code) => format!("errcode {code}"),
        Fault::Status(status) => format!("status {status}"),
        Fault::Delay(delay) => format!("late by {} ms", delay.as_millis()),
        other => other.name().replace('_', " "),
    }
}
