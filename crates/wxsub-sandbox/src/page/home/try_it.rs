//! Commands to try, ready to copy.

use std::fmt::Display;

use maud::{Markup, html};
use wxsub_proto::{BaseUrl, TemplateId};

use super::super::shell_quote::quote;
use super::super::{CALLBACK_PATH, RESERVED, zh};
use super::apps::SCENE;
use crate::state::SandboxState;

pub(super) fn section(state: &SandboxState, base: &str) -> Markup {
    let app = state.sorted_apps().into_iter().next();
    let template = app.and_then(|(_, app)| app.templates().next());
    html! {
        section #try {
            h2 { "Try it" (zh("使用方法")) }
            div.card {
                details {
                    summary { "Variables that point " code { "wxsub" } " to this sandbox (includes the test secret)" }
                    pre { code { (variables(state, base)) } }
                }
                @match template {
                    Some(template) => (steps(template, base)),
                    None => p.quiet { "Add an app with a template first." },
                }
            }
        }
    }
}

fn steps(template: &TemplateId, base: &str) -> Markup {
    let consent_url = format!(
        "wxsub consent url --template={} --scene {SCENE} \\\n  --redirect {} \\\n  --reserved {RESERVED}",
        quote(template.as_str()),
        quote(&format!("{base}{CALLBACK_PATH}"))
    );
    let verify = format!("wxsub consent verify 'CALLBACK_URL' \\\n  --expect-reserved {RESERVED}");
    html! {
        ol.steps {
            li { "Create a consent URL, or use one above. Open it and click Allow." pre { code { (consent_url) } } }
            li { "Check the callback. The callback page shows this command with its URL." pre { code { (verify) } } }
            li { "Send the message. It appears on this page." pre { code { (send_command("OPENID", template, SCENE)) } } }
            li { "Send it again. The result is 43101, because one consent allows one message. Or inject a fault first." }
        }
    }
}

/// The command that sends a message.
pub(in crate::page) fn send_command(openid: &str, template: &TemplateId, scene: impl Display) -> String {
    format!(
        "wxsub send --to={} \\\n  --template={} --scene {scene} \\\n  --title Parcel --content 'It is here.' \\\n  --color '#07C160'",
        quote(openid),
        quote(template.as_str())
    )
}

fn variables(state: &SandboxState, base: &str) -> String {
    let mut lines = vec![
        format!("export WXSUB_API_BASE={}", quote(base)),
        format!("export WXSUB_MP_BASE={}", quote(base)),
    ];
    // `wxsub` accepts plain HTTP to another machine only with this variable.
    if BaseUrl::new(base).is_err() {
        lines.push("export WXSUB_ALLOW_HTTP=1".to_owned());
    }
    for (index, (appid, app)) in state.sorted_apps().into_iter().enumerate() {
        // The variables select one app. The others are comments.
        let beside = if index == 0 { "" } else { "# or: " };
        let (appid, secret) = (quote(appid.as_str()), quote(app.secret().expose_secret()).into_owned());
        lines.push(format!("{beside}export WXSUB_APPID={appid} WXSUB_SECRET={secret}"));
    }
    lines.join("\n")
}
