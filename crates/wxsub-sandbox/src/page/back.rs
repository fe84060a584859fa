//! Where an answer can come back to: shows it, and what to do with it.

use maud::{Markup, html};
use wxsub_proto::{Action, Answer, Invalid};

use super::document::{Policy, page};
use super::shell::word;
use super::{RESERVED, zh};
use crate::call::Call;
use crate::handled::Reply;
use crate::ui::BACK;
use crate::world::World;

/// Plays the app that gets the answer.
pub(crate) fn back(_: &World, call: &Call<'_>) -> Reply {
    let answer: Result<Answer, Invalid> = call.query.parse();
    let body = html! {
        main {
            @match &answer {
                Ok(answer) => (shown(answer, call)),
                Err(invalid) => {
                    h1 { "This is no answer" (zh("无法识别的回复")) }
                    p #answer { (invalid) }
                    p.quiet { "The consent page sends users to this address with what they decided." }
                }
            }
            p { a.button href="/" { "Back to the home page" } }
            footer { "This page plays your app, as the place the user returns to." }
        }
    };
    page(200, "sheet wide", "The answer", Policy::Still, &body)
}

fn shown(answer: &Answer, call: &Call<'_>) -> Markup {
    let (action, openid) = match answer.action() {
        Action::Confirm { openid } => ("confirm", Some(openid)),
        Action::Cancel => ("cancel", None),
    };
    let reserved = answer.reserved().map(|reserved| reserved.as_str());
    let read = format!(
        "wxsub answer {} \\\n  --expect-reserved {RESERVED}",
        word(&format!("{}{BACK}?{}", call.base, call.query))
    );
    html! {
        @match openid {
            Some(_) => h1 { "The user allowed one message" (zh("用户已允许")) },
            None => h1 { "The user cancelled" (zh("用户已取消")) },
        }
        dl #answer {
            dt { "action" } dd { (action) }
            @if let Some(openid) = openid { dt { "openid" } dd { (openid) } }
            dt { "template_id" } dd { (answer.template_id()) }
            dt { "scene" } dd { (answer.scene()) }
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
        pre { code { (read) } }
        @if let Some(openid) = openid {
            p.quiet { "Then send the one message, with the variables of the home page set." }
            pre { code { (send(answer, openid.as_str())) } }
        }
    }
}

fn send(answer: &Answer, openid: &str) -> String {
    super::home::send_command(openid, answer.template_id(), answer.scene())
}
