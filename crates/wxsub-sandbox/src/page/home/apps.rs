//! The apps, and what a user or a stranger can do with them.

use maud::{Markup, html};
use wxsub_proto::consent::WebLink;
use wxsub_proto::{AppId, BaseUrl, ConsentRequest, HttpUrl, Invalid, Scene, TemplateId};

use super::super::when::span;
use super::super::{RESERVED, zh};
use super::told;
use crate::AppSettings;
use crate::app::App;
use crate::call::Call;
use crate::ui::{BACK, Done};
use crate::world::World;

/// The scene of the ready-made links: that of Weixin's own example.
pub(super) const SCENE: u16 = 1000;

pub(super) fn section(world: &World, call: &Call<'_>, done: Done) -> Markup {
    html! {
        section #apps {
            h2 { "Apps" (zh("应用")) }
            (told(done, "apps"))
            @if world.apps.is_empty() {
                p.empty { "No app yet. Add one below." }
            }
            @for (appid, app) in world.apps_in_order() { (article(appid, app, call.base)) }
            (add_form(world.apps.is_empty()))
        }
    }
}

fn article(appid: &AppId, app: &App, base: &str) -> Markup {
    html! {
        article {
            h3 { code { (appid) } }
            @for template in app.templates() { (template_row(appid, template, base)) }
            @if app.templates().next().is_none() { p.empty { "It has no template, so it cannot ask for a consent." } }
            details {
                summary { "Settings" }
                (settings(&app.settings))
            }
            form.inline method="post" action="/_sandbox/ui/strangers" {
                input type="hidden" name="appid" value=(appid);
                button { "A stranger fetched a token" }
                span.quiet { "ends every token of this app at once" }
            }
        }
    }
}

fn template_row(appid: &AppId, template: &TemplateId, base: &str) -> Markup {
    let back = format!("{base}{BACK}");
    html! {
        div.template {
            div { span.quiet { "Template" } code { (template) } }
            @if let Ok(link) = consent_link(appid, template, base, &back) {
                a.button.primary href=(link) { "Open consent page" }
                details {
                    summary { "The link, and other scenes and users" }
                    pre { code { (link) } }
                    (other_form(appid, template, &back))
                }
            }
        }
    }
}

fn consent_link(appid: &AppId, template: &TemplateId, base: &str, back: &str) -> Result<String, Invalid> {
    let request = ConsentRequest::new(appid.clone(), template.clone(), Scene::new(SCENE)?);
    let (request, base) = (request.reserved(RESERVED.parse()?), BaseUrl::allowing_http(base)?);
    Ok(request.web_link(&HttpUrl::new(back)?).on(&base).to_string())
}

/// A form that leads to the consent page with a scene and a user of choice.
fn other_form(appid: &AppId, template: &TemplateId, back: &str) -> Markup {
    html! {
        form.fields action=(WebLink::PATH) {
            input type="hidden" name="action" value="get_confirm";
            input type="hidden" name="appid" value=(appid);
            label { "Scene" input type="number" name="scene" value=(SCENE) min="0" max="10000" required; }
            label { "Openid of the user" input name="openid" maxlength="128" pattern="[A-Za-z0-9_\\-]+"
                placeholder="the usual one" autocomplete="off" autocapitalize="off" spellcheck="false"; }
            input type="hidden" name="template_id" value=(template);
            input type="hidden" name="redirect_url" value=(back);
            input type="hidden" name="reserved" value=(RESERVED);
            button { "Open" }
        }
    }
}

fn settings(settings: &AppSettings) -> Markup {
    let AppSettings {
        token_life,
        overlap,
        token_length,
        allowed_ips,
        frozen,
        token_quota,
        send_quota,
        minute_limit,
    } = settings;
    html! {
        dl {
            dt { "Secret" } dd { span aria-label="hidden" { "••••••••" } @if *frozen { " frozen" } }
            dt { "Token" } dd { "lives " (span(token_life.as_secs())) ", " (token_length) " characters" }
            dt { "Old token" } dd { "stays good for " (span(overlap.as_secs())) }
            dt { "Allowed addresses" }
            dd {
                @match allowed_ips {
                    None => "any",
                    Some(ips) if ips.is_empty() => "none",
                    Some(ips) => @for ip in ips { (ip.to_string()) " " },
                }
            }
            dt { "A day" } dd { (token_quota) " classic tokens, " (send_quota) " sends" }
            dt { "A minute" }
            dd { @match minute_limit { None => "no limit of its own", Some(limit) => { (limit) " calls per endpoint" } } }
        }
    }
}

fn add_form(open: bool) -> Markup {
    html! {
        details.card open[open] {
            summary { "Add an app, or give one another secret and other templates" }
            form.fields method="post" action="/_sandbox/ui/apps" {
                label { "AppID" input name="appid" required autocomplete="off" autocapitalize="off" spellcheck="false"; }
                label { "Secret (play money)" input name="secret" required autocomplete="off" autocapitalize="off"
                    spellcheck="false"; }
                label.whole { "Templates, with spaces between them" input name="templates" required autocomplete="off"
                    autocapitalize="off" spellcheck="false"; }
                button { "Add app" }
            }
        }
    }
}
