//! The home page: the state of the sandbox, and forms for its controls.

mod apps;
mod clock;
mod events;
mod faults;
mod mailboxes;
mod try_it;

pub(super) use try_it::send_command;

use maud::{Markup, html};

use super::ICON_PATH;
use super::document::{Policy, page};
use crate::exchange::Response;
use crate::request::Request;
use crate::state::SandboxState;

/// Renders the home page. The script refreshes each element with `data-live`; each of them has an id.
pub(crate) fn home(state: &SandboxState, request: &Request<'_>, result: Option<FormResult>) -> Response {
    let body = html! {
        header.top {
            img src=(ICON_PATH) alt="" width="36" height="36";
            div { h1 { "wxsub sandbox" } p { "A local Weixin for development and tests" span.zh lang="zh-CN" { "本机微信沙箱" } } }
            p.live #live-state hidden { "live" }
        }
        nav aria-label="On this page" {
            @for (id, name) in [
                ("mailboxes", "Mailboxes"), ("apps", "Apps"), ("clock", "Clock"), ("faults", "Faults"), ("events", "Events"),
                ("try", "Try it"),
            ] { a href={ "#" (id) } { (name) } }
        }
        div #alerts data-live { (faults::alert(state)) }
        main {
            div.column {
                (apps::section(state, request, result))
                (clock::section(state, request.now, result))
                (faults::section(state, result))
                (try_it::section(state, request.base_url))
            }
            div.column {
                (mailboxes::section(state))
                (events::section(state))
            }
        }
        footer { "This is a sandbox, not Weixin: no message leaves it. Its data is lost when it stops." }
    };
    page(200, "home", "wxsub sandbox", Policy::Interactive, &body)
}

/// The result of a form, and the section of the home page that shows it.
#[derive(Clone, Copy)]
pub(crate) struct FormResult {
    pub(crate) section: &'static str,
    pub(crate) message: &'static str,
}

/// The result message, if it belongs to this section.
fn form_result(result: Option<FormResult>, section: &str) -> Markup {
    let result = result.filter(|result| result.section == section);
    html! { @if let Some(result) = result { p.done role="status" { (result.message) } } }
}
