//! The consent page, modelled on Weixin's authorisation sheet.

use maud::{Markup, html};
use wxsub_proto::ConsentRequest;

use super::document::{Policy, page};
use super::zh;
use crate::exchange::Response;

/// Renders the consent page.
///
/// The form posts to the address of the page, without the fragment. The browser would otherwise pass the fragment on to
/// the app.
pub(crate) fn consent(request: &ConsentRequest, query: &str, origin: &str, openid: &str) -> Response {
    let body = html! {
        main {
            header.app {
                (app_icon())
                div { strong { "Sandbox app" } code { (request.appid) } }
            }
            h1 { "Allow one message?" (zh("申请向你发送一条消息")) }
            p.quiet { "The message appears in your Service Notifications. One consent allows one message. You need not follow \
                the account." }
            (summary(request, origin))
            form method="post" action={ "?" (query) } {
                label for="openid" { "Decide as the user with this openid" (zh("当前用户的 openid")) }
                input #openid name="openid" value=(openid) maxlength="128" pattern="[A-Za-z0-9_\\-]+" required
                    autocomplete="off" autocapitalize="off" spellcheck="false";
                button.primary name="action" value="confirm" { span { "Allow" } (zh("允许")) }
                button name="action" value="cancel" formnovalidate { span { "Cancel" } (zh("取消")) }
            }
            footer { "This is a sandbox, not Weixin. No message leaves it." (zh("沙箱环境，消息不会发送给真实用户")) }
        }
    };
    page(200, "sheet", "Allow one message?", Policy::ExternalForm, &body)
}

/// Template, scene and redirect target of the consent URL.
fn summary(request: &ConsentRequest, origin: &str) -> Markup {
    html! {
        dl {
            dt { "Template" (zh("模板")) }
            dd { (request.template_id) }
            dt { "Scene" (zh("场景值")) }
            dd { (request.scene) }
            dt { "Redirects to" (zh("授权后跳转")) }
            dd { (origin) }
        }
    }
}

/// The placeholder icon of an app.
fn app_icon() -> Markup {
    html! {
        svg viewBox="0 0 32 32" aria-hidden="true" {
            rect width="32" height="32" rx="7" {}
            path d="M16 8c5 0 9 3.2 9 7.3s-4 7.3-9 7.3c-1 0-1.9-.1-2.8-.4l-3.7 2 .8-3.3c-2-1.3-3.3-3.3-3.3-5.6 0-4.1 4-7.3 9-7.3z" {}
        }
    }
}
