//! What to type.

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
            h2 { "How to try it" (zh("如何使用")) }
            div.card {
                details {
                    summary { "The variables that point " code { "wxsub" } " here, with the secret, which is play money" }
                    pre { code { (variables(state, base)) } }
                }
                @match template {
                    Some(template) => (steps(template, base)),
                    None => p.quiet { "First add an app with a template, above." },
                }
            }
        }
    }
}

fn steps(template: &TemplateId, base: &str) -> Markup {
    let consent_url = format!(
        "wxsub link --template={} --scene {SCENE} \\\n  --redirect {} \\\n  --reserved {RESERVED}",
        quote(template.as_str()),
        quote(&format!("{base}{CALLBACK_PATH}"))
    );
    let verify = format!("wxsub answer 'THE ADDRESS YOU CAME BACK TO' \\\n  --expect-reserved {RESERVED}");
    html! {
        ol.steps {
            li { "Ask for a consent, or use a link above; open it and press Allow." pre { code { (consent_url) } } }
            li { "Check the answer. The page you come back to has this line ready." pre { code { (verify) } } }
            li { "Send the message, and see it arrive here." pre { code { (send_command("OPENID", template, SCENE)) } } }
            li { "Send it again: 43101, because one consent is good for one message. Or switch on a fault first." }
        }
    }
}

/// The line that sends a message.
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
    // What is not on this machine speaks no plain HTTP unless told to.
    if BaseUrl::new(base).is_err() {
        lines.push("export WXSUB_ALLOW_HTTP=1".to_owned());
    }
    for (index, (appid, app)) in state.sorted_apps().into_iter().enumerate() {
        // Only one can be pointed at.
        let beside = if index == 0 { "" } else { "# or: " };
        let (appid, secret) = (quote(appid.as_str()), quote(app.secret().expose()).into_owned());
        lines.push(format!("{beside}export WXSUB_APPID={appid} WXSUB_SECRET={secret}"));
    }
    lines.join("\n")
}
