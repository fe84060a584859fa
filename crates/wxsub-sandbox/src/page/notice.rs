//! Pages that only say something.

use std::fmt::Display;

use maud::{DOCTYPE, Markup, html};

use super::document::{Policy, page};
use super::zh;
use crate::fault::PORTAL;
use crate::handled::Reply;
use crate::query::Query;
use crate::world::World;

/// The parameters of a consent link, as documented.
const PARAMETERS: [&str; 6] = ["action", "appid", "scene", "template_id", "redirect_url", "reserved"];

/// Says why the user is not asked: what came, which part of it is wrong, and what to do.
pub(crate) fn wrong_parameters(world: &World, query: &Query, why: &str) -> Reply {
    let wrong = why.split([':', '.']).next().unwrap_or_default();
    let body = sheet(
        "This link cannot be opened",
        "链接无法打开",
        &html! {
            p.warning #why { (why) }
            h2 { "What came with it" }
            dl.came {
                @for name in PARAMETERS {
                    dt.wrong[name == wrong] { (name) }
                    dd.wrong[name == wrong] {
                        @match query.get(name) {
                            Some(value) => (value),
                            None if name == "reserved" => span.quiet { "absent, which is allowed" },
                            None => span.quiet { "missing" },
                        }
                    }
                }
            }
            h2 { "What to do" }
            p #remedy { (remedy(world, query, wrong)) }
            p { a.button href="/" { "Home, with ready-made links" } }
        },
    );
    page(400, "sheet", "This link cannot be opened", Policy::Still, &body)
}

/// What to do about this parameter.
fn remedy(world: &World, query: &Query, wrong: &str) -> Markup {
    html! {
        @match wrong {
            "appid" => {
                "Use an AppID that this sandbox knows" (known(world.apps_in_order().iter().map(|(appid, _)| *appid)))
                ", or add the app on the home page."
            }
            "template_id" => @match world.apps_in_order().iter().find(|(appid, _)| query.get("appid") == Some(appid.as_str())) {
                Some((_, app)) => {
                    "Use a template of this app" (known(app.templates())) ", or add the app once more with this one."
                }
                None => "Use a template of this app.",
            },
            "redirect_url" => {
                "Give the address of your app that the user returns to. It begins with http:// or https://, and is \
                 percent-encoded once within the link; " code { "wxsub link" } " does that."
            }
            "scene" => "Give the scene as a number from 0 to 10000, in digits.",
            "reserved" => "Give at most 128 letters and digits, or leave it out.",
            "openid" => "Go back, and give the user an openid of letters, digits, - and _.",
            _ => { "Let " code { "wxsub link" } " make the link, or your app by " code { "ConsentRequest::web_link" } "." }
        }
    }
}

fn known<T: Display>(all: impl Iterator<Item = T>) -> Markup {
    html! { @for (index, one) in all.enumerate() { @if index == 0 { ": " } @else { ", " } code { (one) } } }
}

/// Says why a form of ours did nothing.
pub(crate) fn refused(status: u16, why: &str) -> Reply {
    let body = sheet(
        "Nothing was done",
        "未执行",
        &html! {
            p { (why) }
            p { a.button href="/" { "Back to the home page" } }
        },
    );
    page(status, "sheet", "Nothing was done", Policy::Still, &body)
}

/// Nothing is here.
pub(crate) fn not_found() -> Reply {
    let body = sheet(
        "Not found",
        "未找到",
        &html! {
            p { "The sandbox has nothing here." }
            p { a.button href="/" { "Home" } }
        },
    );
    page(404, "sheet", "Not found", Policy::Still, &body)
}

fn sheet(title: &str, chinese: &str, body: &Markup) -> Markup {
    html! {
        main {
            h1 { (title) (zh(chinese)) }
            (body)
            footer { "This is a sandbox, not Weixin." }
        }
    }
}

/// What a proxy or load balancer in trouble says; a 3xx leads to the portal.
pub(crate) fn intermediary(status: u16) -> Reply {
    match status {
        300..400 => Reply::redirect(status, PORTAL.to_owned()),
        _ => foreign(status, "Gateway", &html! { h1 { (status) } p { "The server could not be reached." } }),
    }
}

/// What the hotel's network says instead of Weixin.
pub(crate) fn captive_portal() -> Reply {
    foreign(200, "Welcome", &html! { h1 { "Welcome" } p { "Sign in to use this network." } })
}

/// A page that somebody else put in the way: none of ours, so it looks like none.
fn foreign(status: u16, title: &str, body: &Markup) -> Reply {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { (title) } }
            body { (body) }
        }
    };
    Reply::html(status, page.into_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let query = Query::read("action=%3Cscript%3E%26&appid=%3Cscript%3E%26");
        for reply in [wrong_parameters(&World::default(), &query, "<script>&"), refused(400, "<script>&")] {
            let page = String::from_utf8(reply.body).unwrap();
            assert!(page.contains(">&lt;script&gt;&amp;</") && !page.contains("<script"), "{page}");
        }
    }
}
