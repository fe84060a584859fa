//! `/mp/subscribemsg`: the consent page. GET shows the page; POST records the decision and redirects to the app.

use wxsub_proto::{
    AppId, ConsentAction, ConsentRequest, HttpUrl, OpenId, ValidationError, ValidationErrorKind,
};

use super::callback_url::callback_url;
use crate::exchange::Response;
use crate::page;
use crate::query::Query;
use crate::request::Request;
use crate::state::SandboxState;

pub(super) fn handle(state: &mut SandboxState, request: &Request<'_>) -> Response {
    let query = Query::parse(request.query);
    try_handle(state, request, &query)
        .unwrap_or_else(|error| page::invalid_consent_url(state, &query, &error))
}

/// The page or the redirect. The error names the invalid field of the URL or the form.
fn try_handle(state: &mut SandboxState, request: &Request<'_>, query: &Query) -> Result<Response, String> {
    let (consent, redirect_url) = parse_consent_url(query).map_err(|invalid| invalid.to_string())?;
    state.check_request(&consent).map_err(|unknown| unknown.to_string())?;
    if request.method != "POST" {
        let openid = query.get("openid").map_or_else(|| default_openid(&consent.appid), str::to_owned);
        return Ok(page::consent(&consent, request.query, origin(&redirect_url), &openid));
    }
    let form = Query::parse(&String::from_utf8_lossy(request.body.unwrap_or_default()));
    let action = match form.get("action") {
        Some("confirm") => ConsentAction::Confirm {
            openid: resolve_openid(&form, query, &consent.appid).map_err(|invalid| invalid.to_string())?,
        },
        Some("cancel") => ConsentAction::Cancel,
        _ => return Err("action: must be confirm or cancel".to_owned()),
    };
    let callback = state.consent(request.now, consent, action).map_err(|unknown| unknown.to_string())?;
    Ok(Response::redirect(302, callback_url(&redirect_url, &callback)))
}

/// Parses the documented parameters of a consent URL.
fn parse_consent_url(query: &Query) -> Result<(ConsentRequest, HttpUrl), ValidationError> {
    let required =
        |name| query.get(name).ok_or_else(|| ValidationError::new(name, ValidationErrorKind::Missing));
    if required("action")? != "get_confirm" {
        return Err(ValidationError::new(
            "action",
            ValidationErrorKind::InvalidFormat { expected: "get_confirm" },
        ));
    }
    let (appid, scene) = (required("appid")?.parse()?, required("scene")?.parse()?);
    let mut request = ConsentRequest::new(appid, required("template_id")?.parse()?, scene);
    if query.get("redirect_url").is_none() && query.get("redirect_uri").is_some() {
        return Err(ValidationError::new(
            "redirect_url",
            ValidationErrorKind::InvalidFormat { expected: "given under this name, not as redirect_uri" },
        ));
    }
    let redirect_url: HttpUrl = required("redirect_url")?
        .parse()
        .map_err(|invalid: ValidationError| invalid.with_field("redirect_url"))?;
    // Weixin's own clients send the text `null` for an unset one.
    if let Some(reserved) = query.get("reserved").filter(|text| *text != "null") {
        request = request.reserved(reserved.parse()?);
    }
    Ok((request, redirect_url))
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
