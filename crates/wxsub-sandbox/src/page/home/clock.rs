//! The clock of the sandbox.

use std::time::Duration;

use maud::{Markup, html};

use super::super::format_time::{format_duration, timestamp};
use super::super::zh;
use super::{FormResult, form_result};
use crate::state::SandboxState;

pub(super) fn section(state: &SandboxState, now: Duration, result: Option<FormResult>) -> Markup {
    html! {
        section #clock {
            h2 { "Clock" (zh("时钟")) }
            (form_result(result, "clock"))
            div.card {
                div #clock-now data-live {
                    p.now { (timestamp(now.as_secs())) span.quiet { " UTC" } }
                    p.quiet {
                        @match state.clock_offset.as_secs() {
                            0 => "Not moved.",
                            ahead => { "Moved forward by " (format_duration(ahead)) "." }
                        }
                    }
                }
                form.inline method="post" action="/_sandbox/ui/clock" {
                    @for (name, seconds) in [("+1 min", 60), ("+1 h", 3600), ("+2 h", 7200)] {
                        button name="seconds" value=(seconds) { (name) }
                    }
                }
                form.inline method="post" action="/_sandbox/ui/clock" {
                    label { "Seconds" input type="number" name="seconds" min="1" max="315360000" required; }
                    button { "Move" }
                }
            }
        }
    }
}
