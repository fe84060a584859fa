//! The latest events, newest first.

use maud::{Markup, html};

use super::super::format_time::time_of_day;
use super::super::zh;
use crate::event_log::Event;
use crate::state::SandboxState;

/// The number of events shown.
const MAX_SHOWN_EVENTS: usize = 50;

pub(super) fn section(state: &SandboxState) -> Markup {
    let log = &state.event_log;
    html! {
        section #events {
            h2 { "Events" (zh("事件")) }
            div.card #event-list data-live {
                @if !log.requests.is_empty() {
                    ul.counts {
                        @for (path, count) in &log.requests { li { code { (path) } b { (count) } } }
                    }
                }
                ol.events {
                    @for event in log.events.iter().rev().take(MAX_SHOWN_EVENTS) { (row(event)) }
                }
                @if log.events.len() > MAX_SHOWN_EVENTS {
                    p.quiet { "The last " (MAX_SHOWN_EVENTS) " of " (log.events.len()) " events." }
                }
            }
            p.quiet { "All events as JSON: " a href="/_sandbox/events" { code { "/_sandbox/events" } } }
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
