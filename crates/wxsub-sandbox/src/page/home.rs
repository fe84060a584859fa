//! The home page: the state of the sandbox, and forms for its controls.

use std::time::Duration;

use maud::{Markup, html};
use serde_json::Value;
use wxsub_proto::consent::ConsentUrl;
use wxsub_proto::endpoint::{stable_token, subscribe, token};
use wxsub_proto::{AppId, BaseUrl, Color, ConsentRequest, HttpUrl, Scene, TemplateId, ValidationError};

use super::commands::{RESERVED, consent_url_command, send_command, variables, verify_command};
use super::document::{CALLBACK_PATH, ICON_PATH, Policy, format_duration, page, time_of_day, timestamp, zh};
use crate::app::{App, AppSettings};
use crate::exchange::Response;
use crate::fault::{Fault, PendingFault};
use crate::mailbox::ReceivedMessage;
use crate::request::Request;
use crate::state::SandboxState;

/// Renders the home page. The script refreshes each element with `data-live`; each of them has an id.
pub(crate) fn home(state: &SandboxState, request: &Request<'_>, result: Option<FormResult>) -> Response {
    let pending = state.faults.pending();
    let body = html! {
        header.top {
            img src=(ICON_PATH) alt="" width="36" height="36";
            div { h1 { "wxsub sandbox" } p { "A local Weixin for development and tests" span.zh lang="zh-CN" { "本机微信沙箱" } } }
            p.live #live-state hidden { "live" }
        }
        nav aria-label="On this page" {
            @for (id, name) in [
                ("mailboxes", "Mailboxes"), ("apps", "Apps"), ("clock", "Clock"), ("faults", "Faults"), ("events", "Events"),
                ("try", "Try it"),
            ] { a href={ "#" (id) } { (name) } }
        }
        div #alerts data-live {
            @if let Some(first) = pending.first() {
                a.alert href="#faults" {
                    "Fault pending: " (fault_name(first.fault)) (requests(first))
                    @if pending.len() > 1 { ", and " (pending.len() - 1) " more" }
                }
            }
        }
        main {
            div.column {
                (apps_section(state, request, result))
                (clock_section(state, request.now, result))
                (faults_section(state, result))
                (try_it_section(state, request.base_url))
            }
            div.column {
                (mailboxes_section(state))
                (events_section(state))
            }
        }
        footer { "This is a sandbox, not Weixin: no message leaves it. Its data is lost when it stops." }
    };
    page(200, "home", "wxsub sandbox", Policy::Interactive, &body)
}

/// The result of a form, and the section of the home page that shows it.
#[derive(Clone, Copy)]
pub(crate) struct FormResult {
    pub(crate) section: &'static str,
    pub(crate) message: &'static str,
}

/// The result message, if it belongs to this section.
fn form_result(result: Option<FormResult>, section: &str) -> Markup {
    let result = result.filter(|result| result.section == section);
    html! { @if let Some(result) = result { p.done role="status" { (result.message) } } }
}

/// The number of mailboxes shown, and of messages shown in each.
const MAX_SHOWN: usize = 20;

/// The messages of each user, and the open grants.
fn mailboxes_section(state: &SandboxState) -> Markup {
    let all = state.mailboxes.sorted();
    let mut grants: Vec<_> = state.grants.iter().collect();
    grants.sort_by_key(|(appid, grant)| (appid, grant.openid(), grant.template_id(), grant.scene()));
    html! {
        section #mailboxes {
            h2 { "Mailboxes" (zh("服务通知")) }
            div #mailboxes-now data-live aria-live="polite" {
                @if all.is_empty() {
                    p.empty { "No messages. Open a consent page, click Allow, then send a message." }
                }
                @for (openid, received) in all.iter().take(MAX_SHOWN) {
                    article.chat {
                        h3 { code { (openid) } }
                        @if received.len() > MAX_SHOWN { p.day { (received.len() - MAX_SHOWN) " earlier messages" } }
                        @for one in received.iter().skip(received.len().saturating_sub(MAX_SHOWN)) { (message(one)) }
                    }
                }
                @if all.len() > MAX_SHOWN { p.quiet { "and " (all.len() - MAX_SHOWN) " more mailboxes" } }
                @if !grants.is_empty() {
                    div.grants {
                        div.card {
                            h3 { "Open grants, one message each" (zh("待使用的授权")) }
                            ul.plain {
                                @for (_, grant) in grants.iter().take(MAX_SHOWN) {
                                    li { code { (grant.openid()) } span.quiet { " · scene " (grant.scene()) " · " }
                                        code { (grant.template_id()) } }
                                }
                                @if grants.len() > MAX_SHOWN { li.quiet { "and " (grants.len() - MAX_SHOWN) " more" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn message(received: &ReceivedMessage) -> Markup {
    let text = |place: &str| {
        let mut names = place.split('.');
        let first = received.body.get(names.next()?);
        names.fold(first, |value, name| value?.get(name)).and_then(Value::as_str)
    };
    let content = text("data.content.value").unwrap_or_default();
    let color: Option<Color> = text("data.content.color").and_then(|text| text.parse().ok());
    let scene =
        received.body.get("scene").map(|scene| scene.as_str().map_or(scene.to_string(), str::to_owned));
    html! {
        p.day { (timestamp(received.received_at)) }
        div.message {
            h4 { (text("title").unwrap_or_default()) }
            // The content security policy forbids inline styles. The `font` element needs none.
            p.content { @match &color { Some(color) => font color=(color.as_str()) { (content) }, None => (content) } }
            (tap_target(text("url"), text("miniprogram.appid").zip(text("miniprogram.pagepath"))))
        }
        p.from { "from " code { (received.appid) } @if let Some(scene) = scene { ", scene " (scene) } }
    }
}

/// The tap target. A mini program takes precedence over a URL.
fn tap_target(url: Option<&str>, mini_program: Option<(&str, &str)>) -> Markup {
    let url = url.and_then(|url| HttpUrl::new(url).ok());
    html! {
        @match (mini_program, url) {
            (Some((appid, page)), _) => p.tap { span { "Mini program" (zh("小程序")) } code { (appid) " " (page) } },
            (None, Some(url)) => a.tap href=(url) rel="noreferrer noopener" target="_blank" {
                span { "Details" (zh("详情")) } code { (url) }
            },
            (None, None) => p.tap.quiet { span { "No tap target" } },
        }
    }
}

/// The scene of the ready-made consent URLs, as in Weixin's own example.
const SCENE: u16 = 1000;

fn apps_section(state: &SandboxState, request: &Request<'_>, result: Option<FormResult>) -> Markup {
    html! {
        section #apps {
            h2 { "Apps" (zh("应用")) }
            (form_result(result, "apps"))
            @if state.apps.is_empty() {
                p.empty { "No app yet. Add one below." }
            }
            @for (appid, app) in state.sorted_apps() { (app_card(appid, app, request.base_url)) }
            details.card open[state.apps.is_empty()] {
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
}

fn app_card(appid: &AppId, app: &App, base: &str) -> Markup {
    html! {
        article {
            h3 { code { (appid) } }
            @for template in &app.templates { (template_row(appid, template, base)) }
            @if app.templates.is_empty() { p.empty { "No template. Add the app again with a template to create consent URLs." } }
            details {
                summary { "Settings" }
                (app_settings(&app.settings))
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
        }
    }
}

fn consent_url(
    appid: &AppId,
    template: &TemplateId,
    base: &str,
    redirect_url: &str,
) -> Result<String, ValidationError> {
    let (template_id, scene, base) = (template.clone(), Scene::new(SCENE)?, BaseUrl::insecure(base)?);
    let reserved = Some(RESERVED.parse()?);
    let request = ConsentRequest { appid: appid.clone(), scene, template_id, reserved };
    Ok(request.consent_url(&HttpUrl::new(redirect_url)?)?.with_base_url(&base).to_string())
}

fn app_settings(settings: &AppSettings) -> Markup {
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

fn clock_section(state: &SandboxState, now: Duration, result: Option<FormResult>) -> Markup {
    html! {
        section #clock {
            h2 { "Clock" (zh("时钟")) }
            (form_result(result, "clock"))
            div.card {
                div #clock-now data-live {
                    p.now { (timestamp(now.as_secs())) span.quiet { " UTC" } }
                    p.quiet {
                        @match state.clock_offset.as_secs() {
                            0 => "Not moved.",
                            ahead => { "Moved forward by " (format_duration(ahead)) "." }
                        }
                    }
                }
                form.inline method="post" action="/_sandbox/ui/clock" {
                    @for (name, seconds) in [("+1 min", 60), ("+1 h", 3600), ("+2 h", 7200)] {
                        button name="seconds" value=(seconds) { (name) }
                    }
                }
                form.inline method="post" action="/_sandbox/ui/clock" {
                    label { "Seconds" input type="number" name="seconds" min="1" max="315360000" required; }
                    button { "Move" }
                }
            }
        }
    }
}

/// The faults that the form offers: value and label.
const FAULTS: [(&str, &str); 8] = [
    ("errcode", "Error code from Weixin"),
    ("status", "HTTP status from an intermediary"),
    ("delay_ms", "Delayed response, in milliseconds"),
    ("reset_before_apply", "Reset before the request takes effect"),
    ("reset_after_apply", "Reset after the request took effect"),
    ("truncate", "Truncated response body"),
    ("html", "Page of a captive portal"),
    ("hang", "No response"),
];

fn faults_section(state: &SandboxState, result: Option<FormResult>) -> Markup {
    let pending = state.faults.pending();
    html! {
        section #faults {
            h2 { "Faults" (zh("故障注入")) }
            (form_result(result, "faults"))
            div.card {
                div #faults-pending data-live {
                    @if pending.is_empty() {
                        p.quiet { "No fault pending." }
                    } @else {
                        ul.plain {
                            @for one in &pending { li { span.tag.bad { (fault_name(one.fault)) } (requests(one)) } }
                        }
                        form method="post" action="/_sandbox/ui/faults/clear" { button { "Remove all faults" } }
                    }
                }
                form.fields method="post" action="/_sandbox/ui/faults" {
                    label.whole { "Path" input name="path" list="paths" value=(token::PATH) required; }
                    datalist #paths {
                        @for path in [token::PATH, stable_token::PATH, subscribe::PATH] { option value=(path) {} }
                    }
                    label.whole { "Fault"
                        select name="fault" { @for (value, name) in FAULTS { option value=(value) { (name) } } }
                    }
                    label.whole { "App"
                        select name="appid" {
                            option value="" { "every app" }
                            @for (appid, _) in state.sorted_apps() { option { (appid) } }
                        }
                    }
                    label { "Errcode, status or ms" input type="number" name="number" value="-1"; }
                    label { "Times" input type="number" name="times" value="1" min="1" max="1000000" required; }
                    button { "Add fault" }
                }
            }
        }
    }
}

/// Which requests the fault applies to.
fn requests(pending: &PendingFault) -> Markup {
    html! {
        " × " (pending.times) " on " code { (pending.path) }
        @if let Some(appid) = &pending.appid { " of " code { (appid) } }
    }
}

/// The name of the fault, with its number if it has one.
fn fault_name(fault: Fault) -> String {
    match fault {
        Fault::ErrCode(code) => format!("errcode {code}"),
        Fault::Status(status) => format!("status {status}"),
        Fault::Delay(delay) => format!("delay {} ms", delay.as_millis()),
        other => other.name().replace('_', " "),
    }
}

/// The number of events shown.
const MAX_SHOWN_EVENTS: usize = 50;

fn events_section(state: &SandboxState) -> Markup {
    let log = &state.event_log;
    html! {
        section #events {
            h2 { "Events" (zh("事件")) }
            div.card #event-list data-live {
                @if !log.requests.is_empty() {
                    ul.counts {
                        @for (path, count) in &log.requests { li { code { (path) } b { (count) } } }
                    }
                }
                ol.events {
                    @for event in log.events.iter().rev().take(MAX_SHOWN_EVENTS) {
                        li {
                            (time_of_day(event.at))
                            span.what { (event.what) }
                            span.end {
                                @if let Some(code) = event.errcode {
                                    span.tag.good[code.is_ok()].bad[!code.is_ok()] title=[code.name()] { (code) }
                                }
                            }
                            @if event.appid.is_some() || event.token.is_some() || event.fault.is_some() {
                                span.by {
                                    @if let Some(appid) = &event.appid { code { (appid) } " " }
                                    @if let Some(token) = event.token { span.tag { "token " (token) } " " }
                                    @if let Some(fault) = event.fault { span.tag.odd { "fault: " (fault.replace('_', " ")) } }
                                }
                            }
                        }
                    }
                }
                @if log.events.len() > MAX_SHOWN_EVENTS {
                    p.quiet { "The last " (MAX_SHOWN_EVENTS) " of " (log.events.len()) " events." }
                }
            }
            p.quiet { "All events as JSON: " a href="/_sandbox/events" { code { "/_sandbox/events" } } }
        }
    }
}

fn try_it_section(state: &SandboxState, base: &str) -> Markup {
    let app = state.sorted_apps().into_iter().next();
    let template = app.and_then(|(_, app)| app.templates.first());
    html! {
        section #try {
            h2 { "Try it" (zh("使用方法")) }
            div.card {
                details {
                    summary { "Variables that point " code { "wxsub" } " to this sandbox (includes the test secret)" }
                    pre { code { (variables(state, base)) } }
                }
                @match template {
                    Some(template) => ol.steps {
                        li { "Create a consent URL, or use one above. Open it and click Allow."
                            pre { code { (consent_url_command(template, SCENE, base)) } } }
                        li { "Check the callback. The callback page shows this command with its URL."
                            pre { code { (verify_command("'CALLBACK_URL'")) } } }
                        li { "Send the message. It appears on this page."
                            pre { code { (send_command("OPENID", template, SCENE)) } } }
                        li { "Send it again. The result is 43101, because one consent allows one message. Or inject a fault first." }
                    },
                    None => p.quiet { "Add an app with a template first." },
                }
            }
        }
    }
}
