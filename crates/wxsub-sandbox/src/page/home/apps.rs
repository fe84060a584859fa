//! The apps: consent URLs, settings, and forms.

use maud::{Markup, html};
use wxsub_proto::consent::ConsentUrl;
use wxsub_proto::{AppId, BaseUrl, ConsentRequest, HttpUrl, Scene, TemplateId, ValidationError};

use super::super::format_time::format_duration;
use super::super::{CALLBACK_PATH, RESERVED, zh};
use super::{FormResult, form_result};
use crate::app::App;
use crate::app::AppSettings;
use crate::request::Request;
use crate::state::SandboxState;

/// The scene of the ready-made consent URLs, as in Weixin's own example.
pub(super) const SCENE: u16 = 1000;

pub(super) fn section(state: &SandboxState, request: &Request<'_>, result: Option<FormResult>) -> Markup {
    html! {
        section #apps {
            h2 { "Apps" (zh("应用")) }
            (form_result(result, "apps"))
            @if state.apps.is_empty() {
                p.empty { "No app yet. Add one below." }
            }
            @for (appid, app) in state.sorted_apps() { (app_card(appid, app, request.base_url)) }
            (add_form(state.apps.is_empty()))
        }
    }
}

fn app_card(appid: &AppId, app: &App, base: &str) -> Markup {
    html! {
        article {
            h3 { code { (appid) } }
            @for template in app.templates() { (template_row(appid, template, base)) }
            @if app.templates().next().is_none() { p.empty { "No template. Add the app again with a template to create consent URLs." } }
            details {
                summary { "Settings" }
                (settings(&app.settings))
            }
            form.inline method="post" action="/_sandbox/ui/tokens/invalidate" {
                input type="hidden" name="appid" value=(appid);
                button { "Invalidate all tokens" }
                span.quiet { "as if another client had fetched a token" }
            }
        }
    }
}

fn template_row(appid: &AppId, template: &TemplateId, base: &str) -> Markup {
    let redirect_url = format!("{base}{CALLBACK_PATH}");
    html! {
        div.template {
            div { span.quiet { "Template" } code { (template) } }
            @if let Ok(url) = consent_url(appid, template, base, &redirect_url) {
                a.button.primary href=(url) { "Open consent page" }
                details {
                    summary { "Consent URL, other scenes and users" }
                    pre { code { (url) } }
                    (custom_form(appid, template, &redirect_url))
                }
            }
        }
    }
}

fn consent_url(
    appid: &AppId,
    template: &TemplateId,
    base: &str,
    redirect_url: &str,
) -> Result<String, ValidationError> {
    let request = ConsentRequest::new(appid.clone(), template.clone(), Scene::new(SCENE)?);
    let (request, base) = (request.reserved(RESERVED.parse()?), BaseUrl::insecure(base)?);
    Ok(request.consent_url(&HttpUrl::new(redirect_url)?)?.with_base_url(&base).to_string())
}

/// A form that opens the consent page with another scene or user.
fn custom_form(appid: &AppId, template: &TemplateId, redirect_url: &str) -> Markup {
    html! {
        form.fields action=(ConsentUrl::PATH) {
            input type="hidden" name="action" value="get_confirm";
            input type="hidden" name="appid" value=(appid);
            label { "Scene" input type="number" name="scene" value=(SCENE) min="0" max="10000" required; }
            label { "Openid of the user" input name="openid" maxlength="128" pattern="[A-Za-z0-9_\\-]+"
                placeholder="default user" autocomplete="off" autocapitalize="off" spellcheck="false"; }
            input type="hidden" name="template_id" value=(template);
            input type="hidden" name="redirect_url" value=(redirect_url);
            input type="hidden" name="reserved" value=(RESERVED);
            button { "Open" }
        }
    }
}

fn settings(settings: &AppSettings) -> Markup {
    let AppSettings {
        token_lifetime,
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
            dt { "Token" } dd { "valid for " (format_duration(token_lifetime.as_secs())) ", " (token_length) " characters" }
            dt { "Previous token" } dd { "valid for another " (format_duration(overlap.as_secs())) }
            dt { "Allowed addresses" }
            dd {
                @match allowed_ips {
                    None => "any",
                    Some(ips) if ips.is_empty() => "none",
                    Some(ips) => @for ip in ips { (ip.to_string()) " " },
                }
            }
            dt { "Per day" } dd { (token_quota) " classic tokens, " (send_quota) " sends" }
            dt { "Per minute" }
            dd { @match minute_limit { None => "default limits", Some(limit) => { (limit) " calls per endpoint" } } }
        }
    }
}

fn add_form(open: bool) -> Markup {
    html! {
        details.card open[open] {
            summary { "Add an app, or replace its secret and templates" }
            form.fields method="post" action="/_sandbox/ui/apps" {
                label { "AppID" input name="appid" required autocomplete="off" autocapitalize="off" spellcheck="false"; }
                label { "Secret (for tests only)" input name="secret" required autocomplete="off" autocapitalize="off"
                    spellcheck="false"; }
                label.whole { "Templates, separated by spaces" input name="templates" required autocomplete="off"
                    autocapitalize="off" spellcheck="false"; }
                button { "Add app" }
            }
        }
    }
}
