//! The home page: everything the sandbox has, and every handle on it.

mod apps;
mod clock;
mod faults;
mod journal;
mod mailboxes;
mod try_it;

pub(super) use try_it::send_command;

use maud::{Markup, html};

use super::document::{Policy, page};
use crate::call::Call;
use crate::handled::Reply;
use crate::ui::Done;
use crate::world::World;

/// The home page. What the script keeps fresh is marked with `data-live`, and each such part has an id.
pub(crate) fn home(world: &World, call: &Call<'_>) -> Reply {
    let done = Done::read(call.query);
    let body = html! {
        header.top {
            img src="/favicon.ico" alt="" width="36" height="36";
            div { h1 { "wxsub sandbox" } p { "A Weixin on your laptop" span.zh lang="zh-CN" { "本机微信沙箱" } } }
            p.live #live-state hidden { "live" }
        }
        nav aria-label="On this page" {
            @for (id, name) in [
                ("mailboxes", "Mailboxes"), ("apps", "Apps"), ("clock", "Clock"), ("faults", "Faults"), ("journal", "Journal"),
                ("try", "Try it"),
            ] { a href={ "#" (id) } { (name) } }
        }
        div #alerts data-live { (faults::alert(world)) }
        main {
            div.column {
                (apps::section(world, call, done))
                (clock::section(world, call.now, done))
                (faults::section(world, done))
                (try_it::section(world, call.base))
            }
            div.column {
                (mailboxes::section(world))
                (journal::section(world))
            }
        }
        footer { "This is a sandbox, not Weixin: no message leaves it. What it knows is gone when it ends." }
    };
    page(200, "home", "wxsub sandbox", Policy::Lively, &body)
}

/// What a form did, where it was posted from.
fn told(done: Done, place: &str) -> Markup {
    html! { @if let Some(told) = done.at(place) { p.done role="status" { (told) } } }
}
