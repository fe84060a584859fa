//! The callback page: shows the callback and the commands for it.

use maud::{Markup, html};
use wxsub_proto::{ConsentAction, ConsentCallback, ValidationError};

use super::commands::{RESERVED, quote, send_command, verify_command};
use super::document::{CALLBACK_PATH, Policy, page, zh};
use crate::exchange::Response;
use crate::request::Request;

/// The page that stands in for the app that receives the callback.
pub(crate) fn callback(request: &Request<'_>) -> Response {
    let callback: Result<ConsentCallback, ValidationError> = request.query.parse();
    let body = html! {
        main {
            @match &callback {
                Ok(callback) => (callback_details(callback, request)),
                Err(invalid) => {
                    h1 { "Invalid callback" (zh("无法识别的回调")) }
                    p #callback { (invalid) }
                    p.quiet { "The consent page redirects to this address, with the user's decision in the query." }
                }
            }
            p { a.button href="/" { "Back to the home page" } }
            footer { "This page stands in for the callback URL of your app." }
        }
    };
    page(200, "sheet wide", "Callback", Policy::Static, &body)
}

fn callback_details(callback: &ConsentCallback, request: &Request<'_>) -> Markup {
    let (action, openid) = match &callback.action {
        ConsentAction::Confirm { openid } => ("confirm", Some(openid)),
        ConsentAction::Cancel => ("cancel", None),
    };
    let reserved = callback.reserved.as_ref().map(|reserved| reserved.as_str());
    let url = format!("{}{CALLBACK_PATH}?{}", request.base_url, request.query);
    html! {
        @match openid {
            Some(_) => h1 { "The user allowed one message" (zh("用户已允许")) },
            None => h1 { "The user cancelled" (zh("用户已取消")) },
        }
        dl #callback {
            dt { "action" } dd { (action) }
            @if let Some(openid) = openid { dt { "openid" } dd { (openid) } }
            dt { "template_id" } dd { (callback.template_id) }
            dt { "scene" } dd { (callback.scene) }
            dt { "reserved" }
            dd { @match reserved { Some(reserved) => (reserved), None => span.quiet { "absent" } } }
        }
        @if reserved != Some(RESERVED) {
            p.warning { "Do not trust this callback: its reserved value is not " code { (RESERVED) } ", which the consent URLs of the \
                home page use." }
        }
        h2 { "Next steps of your app" }
        p.quiet { "Check the reserved value. The callback comes through the browser and is not signed, so only this value \
            proves that it belongs to a consent URL of your app." }
        pre { code { (verify_command(&quote(&url))) } }
        @if let Some(openid) = openid {
            p.quiet { "Set the variables from the home page. Then send the message." }
            pre { code { (send_command(openid.as_str(), &callback.template_id, callback.scene)) } }
        }
    }
}
