//! Where an answer can come back to: shows it, and what to do with it.

use maud::{Markup, html};
use wxsub_proto::{Action, Answer, Invalid};

use super::document::{Policy, page};
use super::shell_quote::quote;
use super::{CALLBACK_PATH, RESERVED, zh};
use crate::exchange::Response;
use crate::request::Request;

/// Plays the app that gets the callback.
pub(crate) fn callback(request: &Request<'_>) -> Response {
    let callback: Result<Answer, Invalid> = request.query.parse();
    let body = html! {
        main {
            @match &callback {
                Ok(callback) => (callback_details(callback, request)),
                Err(invalid) => {
                    h1 { "This is no answer" (zh("无法识别的回复")) }
                    p #callback { (invalid) }
                    p.quiet { "The consent page sends users to this address with what they decided." }
                }
            }
            p { a.button href="/" { "Back to the home page" } }
            footer { "This page plays your app, as the place the user returns to." }
        }
    };
    page(200, "sheet wide", "The answer", Policy::Static, &body)
}

fn callback_details(callback: &Answer, request: &Request<'_>) -> Markup {
    let (action, openid) = match callback.action() {
        Action::Confirm { openid } => ("confirm", Some(openid)),
        Action::Cancel => ("cancel", None),
    };
    let reserved = callback.reserved().map(|reserved| reserved.as_str());
    let verify_command = format!(
        "wxsub answer {} \\\n  --expect-reserved {RESERVED}",
        quote(&format!("{}{CALLBACK_PATH}?{}", request.base_url, request.query))
    );
    html! {
        @match openid {
            Some(_) => h1 { "The user allowed one message" (zh("用户已允许")) },
            None => h1 { "The user cancelled" (zh("用户已取消")) },
        }
        dl #callback {
            dt { "action" } dd { (action) }
            @if let Some(openid) = openid { dt { "openid" } dd { (openid) } }
            dt { "template_id" } dd { (callback.template_id()) }
            dt { "scene" } dd { (callback.scene()) }
            dt { "reserved" }
            dd { @match reserved { Some(reserved) => (reserved), None => span.quiet { "absent" } } }
        }
        @if reserved != Some(RESERVED) {
            p.warning { "The links of the home page carry the reserved value " code { (RESERVED) } ". This answer does not: \
                whoever expects that value must not trust it." }
        }
        h2 { "What your app does next" }
        p.quiet { "Check that the answer belongs to a request of yours: it comes through the browser, unsigned, and its \
            reserved value is the proof." }
        pre { code { (verify_command) } }
        @if let Some(openid) = openid {
            p.quiet { "Then send the one message, with the variables of the home page set." }
            pre { code { (send(callback, openid.as_str())) } }
        }
    }
}

fn send(callback: &Answer, openid: &str) -> String {
    super::home::send_command(openid, callback.template_id(), callback.scene())
}
