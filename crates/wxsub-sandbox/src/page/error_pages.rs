//! Error pages, and the pages of simulated intermediaries.

use std::fmt::Display;

use maud::{DOCTYPE, Markup, html};

use super::document::{Policy, page};
use super::zh;
use crate::exchange::Response;
use crate::fault::CAPTIVE_PORTAL_PATH;
use crate::query::Query;
use crate::state::SandboxState;

/// The documented parameters of a consent URL.
const PARAMETERS: [&str; 6] = ["action", "appid", "scene", "template_id", "redirect_url", "reserved"];

/// The page for an invalid consent URL: the error, the parameters with the invalid one marked, and the remedy.
pub(crate) fn invalid_consent_url(state: &SandboxState, query: &Query, error: &str) -> Response {
    let parameter = error.split([':', '.']).next().unwrap_or_default();
    let body = message_page(
        "Invalid consent URL",
        "授权链接无效",
        &html! {
            p.warning #error { (error) }
            h2 { "Parameters" }
            dl.came {
                @for name in PARAMETERS {
                    dt.wrong[name == parameter] { (name) }
                    dd.wrong[name == parameter] {
                        @match query.get(name) {
                            Some(value) => (value),
                            None if name == "reserved" => span.quiet { "absent (optional)" },
                            None => span.quiet { "missing" },
                        }
                    }
                }
            }
            h2 { "What to do" }
            p #remedy { (remedy(state, query, parameter)) }
            p { a.button href="/" { "Home page with ready-made consent URLs" } }
        },
    );
    page(400, "sheet", "Invalid consent URL", Policy::Static, &body)
}

/// How to correct this parameter.
fn remedy(state: &SandboxState, query: &Query, parameter: &str) -> Markup {
    html! {
        @match parameter {
            "appid" => {
                "Use the AppID of an app in this sandbox" (list(state.sorted_apps().iter().map(|(appid, _)| *appid)))
                ", or add the app on the home page."
            }
            "template_id" => @match state.sorted_apps().iter().find(|(appid, _)| query.get("appid") == Some(appid.as_str())) {
                Some((_, app)) => {
                    "Use a template of this app" (list(app.templates())) ", or add the app again with this template."
                }
                None => "Use a template of this app.",
            },
            "redirect_url" if query.get("redirect_url").is_none() && query.get("redirect_uri").is_some() => {
                "Rename " code { "redirect_uri" } " to " code { "redirect_url" } ". " code { "redirect_uri" }
                " belongs to web sign-in (OAuth)."
            }
            "redirect_url" => {
                "Set it to the callback URL of your app. It starts with http:// or https:// and is percent-encoded once in \
                 the consent URL. " code { "wxsub consent url" } " does that."
            }
            "scene" => "Set it to a number from 0 to 10000, in digits.",
            "reserved" => "Use at most 128 letters and digits, or omit it.",
            "openid" => "Go back and enter an openid of letters, digits, - and _.",
            _ => { "Create the consent URL with " code { "wxsub consent url" } ", or in your app with " code { "ConsentRequest::consent_url" } "." }
        }
    }
}

fn list<T: Display>(all: impl Iterator<Item = T>) -> Markup {
    html! { @for (index, one) in all.enumerate() { @if index == 0 { ": " } @else { ", " } code { (one) } } }
}

/// The page for a form that was rejected.
pub(crate) fn form_error(status: u16, error: &str) -> Response {
    let body = message_page(
        "Request rejected",
        "操作未执行",
        &html! {
            p { (error) }
            p { a.button href="/" { "Back to the home page" } }
        },
    );
    page(status, "sheet", "Request rejected", Policy::Static, &body)
}

/// The page for an unknown path.
pub(crate) fn not_found() -> Response {
    let body = message_page(
        "Not found",
        "页面不存在",
        &html! {
            p { "The sandbox has no page at this address." }
            p { a.button href="/" { "Home page" } }
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

/// The response of a failing proxy or load balancer. A 3xx redirects to the captive portal.
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

/// The response of a captive portal.
pub(crate) fn captive_portal() -> Response {
    third_party_page(200, "Welcome", &html! { h1 { "Welcome" } p { "Sign in to use this network." } })
}

/// A page of a simulated intermediary. It does not look like a page of the sandbox.
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
    fn error_pages_escape_text() {
        let query = Query::parse("action=%3Cscript%3E%26&appid=%3Cscript%3E%26");
        for response in
            [invalid_consent_url(&SandboxState::default(), &query, "<script>&"), form_error(400, "<script>&")]
        {
            let page = String::from_utf8(response.body).unwrap();
            assert!(page.contains(">&lt;script&gt;&amp;</") && !page.contains("<script"), "{page}");
        }
    }
}
