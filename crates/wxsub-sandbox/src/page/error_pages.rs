//! Pages that only say something.

use std::fmt::Display;

use maud::{DOCTYPE, Markup, html};

use super::document::{Policy, page};
use super::zh;
use crate::exchange::Response;
use crate::fault::CAPTIVE_PORTAL_PATH;
use crate::query::Query;
use crate::state::SandboxState;

/// The parameters of a consent link, as documented.
const PARAMETERS: [&str; 6] = ["action", "appid", "scene", "template_id", "redirect_url", "reserved"];

/// Says why the user is not asked: what came, which part of it is wrong, and what to do.
pub(crate) fn invalid_consent_url(state: &SandboxState, query: &Query, error: &str) -> Response {
    let parameter = error.split([':', '.']).next().unwrap_or_default();
    let body = message_page(
        "This link cannot be opened",
        "链接无法打开",
        &html! {
            p.warning #error { (error) }
            h2 { "What came with it" }
            dl.came {
                @for name in PARAMETERS {
                    dt.wrong[name == parameter] { (name) }
                    dd.wrong[name == parameter] {
                        @match query.get(name) {
                            Some(value) => (value),
                            None if name == "reserved" => span.quiet { "absent, which is allowed" },
                            None => span.quiet { "missing" },
                        }
                    }
                }
            }
            h2 { "What to do" }
            p #remedy { (remedy(state, query, parameter)) }
            p { a.button href="/" { "Home, with ready-made links" } }
        },
    );
    page(400, "sheet", "This link cannot be opened", Policy::Static, &body)
}

/// What to do about this parameter.
fn remedy(state: &SandboxState, query: &Query, parameter: &str) -> Markup {
    html! {
        @match parameter {
            "appid" => {
                "Use an AppID that this sandbox knows" (list(state.sorted_apps().iter().map(|(appid, _)| *appid)))
                ", or add the app on the home page."
            }
            "template_id" => @match state.sorted_apps().iter().find(|(appid, _)| query.get("appid") == Some(appid.as_str())) {
                Some((_, app)) => {
                    "Use a template of this app" (list(app.templates())) ", or add the app once more with this one."
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

fn list<T: Display>(all: impl Iterator<Item = T>) -> Markup {
    html! { @for (index, one) in all.enumerate() { @if index == 0 { ": " } @else { ", " } code { (one) } } }
}

/// Says why a form of ours did nothing.
pub(crate) fn form_error(status: u16, error: &str) -> Response {
    let body = message_page(
        "Nothing was done",
        "未执行",
        &html! {
            p { (error) }
            p { a.button href="/" { "Back to the home page" } }
        },
    );
    page(status, "sheet", "Nothing was done", Policy::Static, &body)
}

/// Nothing is here.
pub(crate) fn not_found() -> Response {
    let body = message_page(
        "Not found",
        "未找到",
        &html! {
            p { "The sandbox has nothing here." }
            p { a.button href="/" { "Home" } }
        },
    );
    page(404, "sheet", "Not found", Policy::Static, &body)
}

fn message_page(title: &str, chinese: &str, body: &Markup) -> Markup {
    html! {
        main {
            h1 { (title) (zh(chinese)) }
            (body)
            footer { "This is a sandbox, not Weixin." }
        }
    }
}

/// What a proxy or load balancer in trouble says; a 3xx leads to the portal.
pub(crate) fn intermediary(status: u16) -> Response {
    match status {
        300..400 => Response::redirect(status, CAPTIVE_PORTAL_PATH.to_owned()),
        _ => third_party_page(
            status,
            "Gateway",
            &html! { h1 { (status) } p { "The server could not be reached." } },
        ),
    }
}

/// What the hotel's network says instead of Weixin.
pub(crate) fn captive_portal() -> Response {
    third_party_page(200, "Welcome", &html! { h1 { "Welcome" } p { "Sign in to use this network." } })
}

/// A page that somebody else put in the way: none of ours, so it looks like none.
fn third_party_page(status: u16, title: &str, body: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { (title) } }
            body { (body) }
        }
    };
    Response::html(status, page.into_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let query = Query::parse("action=%3Cscript%3E%26&appid=%3Cscript%3E%26");
        for response in
            [invalid_consent_url(&SandboxState::default(), &query, "<script>&"), form_error(400, "<script>&")]
        {
            let page = String::from_utf8(response.body).unwrap();
            assert!(page.contains(">&lt;script&gt;&amp;</") && !page.contains("<script"), "{page}");
        }
    }
}
