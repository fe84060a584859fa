//! `/mp/subscribemsg`: the consent page, modelled on Weixin's authorisation sheet.
//!
//! GET shows the page. POST records the decision and redirects to the app.

use std::fmt::Display;

use maud::{Markup, html};
use percent_encoding::{CONTROLS, utf8_percent_encode};
use wxsub_proto::{
    AppId, ConsentAction, ConsentCallback, ConsentRequest, HttpUrl, LocalizedText, OpenId, ValidationError,
};

use super::document::{Policy, page, zh};
use crate::exchange::Response;
use crate::request::{Query, Request};
use crate::state::{Effect, SandboxState};

/// Decides about one request: shows the page, or records the decision and redirects to the app.
pub(crate) fn decide_consent(
    state: &SandboxState,
    request: &Request<'_>,
    effects: &mut Vec<Effect>,
) -> Response {
    let query = Query::parse(request.query);
    try_decide(state, request, &query, effects)
        .unwrap_or_else(|error| invalid_consent_url(state, &query, &error))
}

/// The page or the redirect. The error names the invalid field of the URL or the form.
fn try_decide(
    state: &SandboxState,
    request: &Request<'_>,
    query: &Query,
    effects: &mut Vec<Effect>,
) -> Result<Response, String> {
    let (consent, redirect_url) = parse_consent_url(query).map_err(|invalid| invalid.to_string())?;
    state.check_request(&consent).map_err(|unknown| unknown.to_string())?;
    if request.method != "POST" {
        let openid = query.get("openid").map_or_else(|| default_openid(&consent.appid), str::to_owned);
        return Ok(consent_page(&consent, request.query, origin(&redirect_url), &openid));
    }
    let form = Query::parse(&String::from_utf8_lossy(request.body.unwrap_or_default()));
    let action = match form.get("action") {
        Some("confirm") => ConsentAction::Confirm {
            openid: resolve_openid(&form, query, &consent.appid).map_err(|invalid| invalid.to_string())?,
        },
        Some("cancel") => ConsentAction::Cancel,
        _ => return Err("action: must be confirm or cancel".to_owned()),
    };
    let ConsentRequest { appid, scene, template_id, reserved } = consent;
    let callback = ConsentCallback { action, template_id, scene, reserved };
    let response = Response::redirect(302, callback_url(&redirect_url, &callback));
    effects.push(Effect::RecordConsent { appid, callback });
    Ok(response)
}

/// Parses the documented parameters of a consent URL.
fn parse_consent_url(query: &Query) -> Result<(ConsentRequest, HttpUrl), ValidationError> {
    let required = |name| query.get(name).ok_or_else(|| ValidationError::missing(name));
    if required("action")? != "get_confirm" {
        let expected = LocalizedText::new("get_confirm", "是 get_confirm");
        return Err(ValidationError::invalid_format("action", expected));
    }
    let (appid, scene) = (required("appid")?.parse()?, required("scene")?.parse()?);
    let template_id = required("template_id")?.parse()?;
    if query.get("redirect_url").is_none() && query.get("redirect_uri").is_some() {
        let expected = LocalizedText::new(
            "given under this name, not as redirect_uri",
            "使用这个名称，而不是 redirect_uri",
        );
        return Err(ValidationError::invalid_format("redirect_url", expected));
    }
    let redirect_url: HttpUrl = required("redirect_url")?
        .parse()
        .map_err(|invalid: ValidationError| invalid.with_field("redirect_url"))?;
    // Weixin's own clients send the text `null` for an unset one.
    let reserved = query.get("reserved").filter(|text| *text != "null").map(str::parse).transpose()?;
    Ok((ConsentRequest { appid, scene, template_id, reserved }, redirect_url))
}

/// The openid from the form, or from the consent URL, or the default.
fn resolve_openid(form: &Query, query: &Query, appid: &AppId) -> Result<OpenId, ValidationError> {
    let openid = form.get("openid").or_else(|| query.get("openid"));
    openid.map_or_else(|| default_openid(appid), str::to_owned).parse()
}

/// The default user of the consent page. It is always the same for one app.
fn default_openid(appid: &AppId) -> String {
    let appid: String = appid.as_str().chars().take(100).collect();
    format!("oSandbox-{appid}")
}

/// The scheme and host of a URL.
fn origin(url: &HttpUrl) -> &str {
    let url = url.as_str();
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url
        .char_indices()
        .skip_while(|(at, _)| *at < host)
        .find(|(_, c)| matches!(c, '/' | '?' | '#' | '\\'))
        .map_or(url.len(), |(at, _)| at);
    url.get(..end).unwrap_or(url)
}

/// The redirect URL with the callback in its query.
///
/// The callback follows an existing query and precedes the fragment. Characters outside ASCII are percent-encoded, as a
/// header requires.
pub(super) fn callback_url(redirect_url: &HttpUrl, callback: &ConsentCallback) -> String {
    let url = redirect_url.as_str();
    let (url, fragment) = url.split_at(url.find('#').unwrap_or(url.len()));
    let separator = match url.find('?') {
        None => "?",
        Some(_) if url.ends_with(['?', '&']) => "",
        Some(_) => "&",
    };
    let with_callback = format!("{url}{separator}{}{fragment}", callback.to_query());
    utf8_percent_encode(&with_callback, CONTROLS).to_string()
}

/// Renders the consent page.
///
/// The form posts to the address of the page, without the fragment. The browser would otherwise pass the fragment on to
/// the app.
fn consent_page(request: &ConsentRequest, query: &str, origin: &str, openid: &str) -> Response {
    let body = html! {
        main {
            header.app {
                svg viewBox="0 0 32 32" aria-hidden="true" {
                    rect width="32" height="32" rx="7" {}
                    path d="M16 8c5 0 9 3.2 9 7.3s-4 7.3-9 7.3c-1 0-1.9-.1-2.8-.4l-3.7 2 .8-3.3c-2-1.3-3.3-3.3-3.3-5.6 0-4.1 4-7.3 9-7.3z" {}
                }
                div { strong { "Sandbox app" } code { (request.appid) } }
            }
            h1 { "Allow one message?" (zh("申请向你发送一条消息")) }
            p.quiet { "The message appears in your Service Notifications. One consent allows one message. You need not follow \
                the account." }
            dl {
                dt { "Template" (zh("模板")) }
                dd { (request.template_id) }
                dt { "Scene" (zh("场景值")) }
                dd { (request.scene) }
                dt { "Redirects to" (zh("授权后跳转")) }
                dd { (origin) }
            }
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

/// The documented parameters of a consent URL.
const PARAMETERS: [&str; 6] = ["action", "appid", "scene", "template_id", "redirect_url", "reserved"];

/// The page for an invalid consent URL: the error, the parameters with the invalid one marked, and the remedy.
fn invalid_consent_url(state: &SandboxState, query: &Query, error: &str) -> Response {
    let parameter = error.split([':', '.']).next().unwrap_or_default();
    let body = html! {
        main {
            h1 { "Invalid consent URL" (zh("授权链接无效")) }
            p.warning #error { (error) }
            h2 { "Parameters" }
            dl.came {
                @for name in PARAMETERS {
                    dt.wrong[name == parameter] { (name) }
                    dd.wrong[name == parameter] {
                        @match query.get(name) {
                            Some(value) => (value),
                            None if name == "reserved" => span.quiet { "absent (optional)" },
                            None => span.quiet { "missing" },
                        }
                    }
                }
            }
            h2 { "What to do" }
            p #remedy { (remedy(state, query, parameter)) }
            p { a.button href="/" { "Home page with ready-made consent URLs" } }
            footer { "This is a sandbox, not Weixin." }
        }
    };
    page(400, "sheet", "Invalid consent URL", Policy::Static, &body)
}

/// How to correct this parameter.
fn remedy(state: &SandboxState, query: &Query, parameter: &str) -> Markup {
    html! {
        @match parameter {
            "appid" => {
                "Use the AppID of an app in this sandbox" (list(state.sorted_apps().iter().map(|(appid, _)| *appid)))
                ", or add the app on the home page."
            }
            "template_id" => @match state.sorted_apps().iter().find(|(appid, _)| query.get("appid") == Some(appid.as_str())) {
                Some((_, app)) => {
                    "Use a template of this app" (list(app.templates.iter())) ", or add the app again with this template."
                }
                None => "Use a template of this app.",
            },
            "redirect_url" if query.get("redirect_url").is_none() && query.get("redirect_uri").is_some() => {
                "Rename " code { "redirect_uri" } " to " code { "redirect_url" } ". " code { "redirect_uri" }
                " belongs to web sign-in (OAuth)."
            }
            "redirect_url" => {
                "Set it to the callback URL of your app. It starts with http:// or https:// and is percent-encoded once in \
                 the consent URL. " code { "wxsub consent url" } " does that."
            }
            "scene" => "Set it to a number from 0 to 10000, in digits.",
            "reserved" => "Use at most 128 letters and digits, or omit it.",
            "openid" => "Go back and enter an openid of letters, digits, - and _.",
            _ => { "Create the consent URL with " code { "wxsub consent url" } ", or in your app with " code { "ConsentRequest::consent_url" } "." }
        }
    }
}

fn list<T: Display>(all: impl Iterator<Item = T>) -> Markup {
    html! { @for (index, one) in all.enumerate() { @if index == 0 { ": " } @else { ", " } code { (one) } } }
}

#[cfg(test)]
mod tests {
    use wxsub_proto::ConsentCallback;

    use super::callback_url;

    #[test]
    fn existing_query_and_fragment_keep_their_place() {
        let callback: ConsentCallback = "template_id=T&action=cancel&scene=7".parse().unwrap();
        for (url, expected) in [
            ("https://a.example", "https://a.example?template_id=T&action=cancel&scene=7"),
            ("https://a.example/b?x=1", "https://a.example/b?x=1&template_id=T&action=cancel&scene=7"),
            (
                "https://a.example/b?x=1&#/route?y=2",
                "https://a.example/b?x=1&template_id=T&action=cancel&scene=7#/route?y=2",
            ),
            ("https://a.example/b?#end", "https://a.example/b?template_id=T&action=cancel&scene=7#end"),
            ("https://a.example/路#", "https://a.example/%E8%B7%AF?template_id=T&action=cancel&scene=7#"),
        ] {
            assert_eq!(callback_url(&url.parse().unwrap(), &callback), expected);
        }
    }
}
