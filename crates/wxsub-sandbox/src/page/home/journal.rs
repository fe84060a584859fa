//! What happened, latest first.

use maud::{Markup, html};

use super::super::when::time_of_day;
use super::super::zh;
use crate::journal::Event;
use crate::world::World;

/// How many events are shown.
const MOST: usize = 50;

pub(super) fn section(world: &World) -> Markup {
    let journal = &world.journal;
    html! {
        section #journal {
            h2 { "Journal" (zh("日志")) }
            div.card #journal-events data-live {
                @if !journal.requests.is_empty() {
                    ul.counts {
                        @for (path, count) in &journal.requests { li { code { (path) } b { (count) } } }
                    }
                }
                ol.events {
                    @for event in journal.events.iter().rev().take(MOST) { (row(event)) }
                }
                @if journal.events.len() > MOST {
                    p.quiet { "The last " (MOST) " of " (journal.events.len()) " events." }
                }
            }
            p.quiet { "All of it as JSON: " a href="/_sandbox/journal" { code { "/_sandbox/journal" } } }
        }
    }
}

fn row(event: &Event) -> Markup {
    html! {
        li {
            (time_of_day(event.at))
            span.what { (event.what) }
            span.end {
                @if let Some(code) = event.errcode {
                    span.tag.good[code.is_ok()].bad[!code.is_ok()] title=[code.name()] { (code) }
                }
            }
            @if event.appid.is_some() || event.token.is_some() || event.fault.is_some() {
                span.by {
                    @if let Some(appid) = &event.appid { code { (appid) } " " }
                    @if let Some(token) = event.token { span.tag { "token " (token) } " " }
                    @if let Some(fault) = event.fault { span.tag.odd { "fault: " (fault.replace('_', " ")) } }
                }
            }
        }
    }
}
