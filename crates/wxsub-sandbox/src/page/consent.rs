//! The page that asks the user: Weixin's authorisation sheet.

use maud::{Markup, html};
use wxsub_proto::ConsentRequest;

use super::document::{Policy, page};
use super::zh;
use crate::exchange::Response;

/// Asks the user. The form posts back to the very address it was opened at, so nothing has to be carried over; the
/// fragment stays behind, or the browser would carry it on to the app.
pub(crate) fn consent(request: &ConsentRequest, query: &str, origin: &str, openid: &str) -> Response {
    let body = html! {
        main {
            header.app {
                (app_icon())
                div { strong { "Sandbox app" } code { (request.appid) } }
            }
            h1 { "May it send you one message?" (zh("申请向你发送一条消息")) }
            p.quiet { "It arrives in your Service Notifications. One consent is good for one message; nothing needs to be \
                followed." }
            (summary(request, origin))
            form method="post" action={ "?" (query) } {
                label for="openid" { "You are the user with this openid" (zh("你的身份")) }
                input #openid name="openid" value=(openid) maxlength="128" pattern="[A-Za-z0-9_\\-]+" required
                    autocomplete="off" autocapitalize="off" spellcheck="false";
                button.primary name="action" value="confirm" { span { "Allow" } (zh("允许")) }
                button name="action" value="cancel" formnovalidate { span { "Cancel" } (zh("取消")) }
            }
            footer { "This is a sandbox, not Weixin. No message leaves it." (zh("沙箱环境，消息不会真正发出")) }
        }
    };
    page(200, "sheet", "May it send you one message?", Policy::ExternalForm, &body)
}

/// What is being asked for, in the words of the link.
fn summary(request: &ConsentRequest, origin: &str) -> Markup {
    html! {
        dl {
            dt { "Template" (zh("模板")) }
            dd { (request.template_id) }
            dt { "Scene" (zh("场景")) }
            dd { (request.scene) }
            dt { "Returns to" (zh("返回")) }
            dd { (origin) }
        }
    }
}

/// The sign of an app that has none.
fn app_icon() -> Markup {
    html! {
        svg viewBox="0 0 32 32" aria-hidden="true" {
            rect width="32" height="32" rx="7" {}
            path d="M16 8c5 0 9 3.2 9 7.3s-4 7.3-9 7.3c-1 0-1.9-.1-2.8-.4l-3.7 2 .8-3.3c-2-1.3-3.3-3.3-3.3-5.6 0-4.1 4-7.3 9-7.3z" {}
        }
    }
}
