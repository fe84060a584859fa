//! The sandbox's time.

use std::time::Duration;

use maud::{Markup, html};

use super::super::when::{moment, span};
use super::super::zh;
use super::told;
use crate::ui::Done;
use crate::world::World;

pub(super) fn section(world: &World, now: Duration, done: Done) -> Markup {
    html! {
        section #clock {
            h2 { "Clock" (zh("时钟")) }
            (told(done, "clock"))
            div.card {
                div #clock-now data-live {
                    p.now { (moment(now.as_secs())) span.quiet { " UTC" } }
                    p.quiet {
                        @match world.ahead.as_secs() {
                            0 => "Not moved so far.",
                            ahead => { "Moved forward by " (span(ahead)) "." }
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
