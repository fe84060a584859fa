//! `/mp/subscribemsg`: asks the user, then sends them back with the answer. GET shows the page, POST is the decision.

use wxsub_proto::{Action, AppId, ConsentRequest, HttpUrl, Invalid, OpenId, Rule};

use super::redirect::with_answer;
use crate::call::Call;
use crate::handled::Reply;
use crate::page;
use crate::query::Query;
use crate::world::World;

pub(super) fn answer(world: &mut World, call: &Call<'_>) -> Reply {
    let query = Query::read(call.query);
    asked(world, call, &query).unwrap_or_else(|why| page::wrong_parameters(world, &query, &why))
}

/// The page or the redirect; the error says what is wrong with the link or the form.
fn asked(world: &mut World, call: &Call<'_>, query: &Query) -> Result<Reply, String> {
    let (request, redirect_url) = link(query).map_err(|invalid| invalid.to_string())?;
    world.knows(&request).map_err(|unknown| unknown.to_string())?;
    if call.method != "POST" {
        let openid = query.get("openid").map_or_else(|| default_openid(&request.appid), str::to_owned);
        return Ok(page::consent(&request, call.query, site(&redirect_url), &openid));
    }
    let form = Query::read(&String::from_utf8_lossy(call.body.unwrap_or_default()));
    let action = match form.get("action") {
        Some("confirm") => Action::Confirm {
            openid: openid(&form, query, &request.appid).map_err(|invalid| invalid.to_string())?,
        },
        Some("cancel") => Action::Cancel,
        _ => return Err("action: must be confirm or cancel".to_owned()),
    };
    let answer = world.consent(call.now, request, action).map_err(|unknown| unknown.to_string())?;
    Ok(Reply::redirect(302, with_answer(&redirect_url, &answer)))
}

/// The documented parameters of the link.
fn link(query: &Query) -> Result<(ConsentRequest, HttpUrl), Invalid> {
    let required = |name| query.get(name).ok_or_else(|| Invalid::new(name, Rule::Missing));
    if required("action")? != "get_confirm" {
        return Err(Invalid::new("action", Rule::Form { expected: "get_confirm" }));
    }
    let (appid, scene) = (required("appid")?.parse()?, required("scene")?.parse()?);
    let mut request = ConsentRequest::new(appid, required("template_id")?.parse()?, scene);
    let redirect_url: HttpUrl =
        required("redirect_url")?.parse().map_err(|invalid: Invalid| invalid.in_field("redirect_url"))?;
    // Weixin's own clients write an unset one as the text null.
    if let Some(reserved) = query.get("reserved").filter(|text| *text != "null") {
        request = request.reserved(reserved.parse()?);
    }
    Ok((request, redirect_url))
}

/// Who the user is: as the form says, or the link, or the default.
fn openid(form: &Query, query: &Query, appid: &AppId) -> Result<OpenId, Invalid> {
    let given = form.get("openid").or_else(|| query.get("openid"));
    given.map_or_else(|| default_openid(appid), str::to_owned).parse()
}

/// The user of the consent page, unless it is told another: the same for one app at all times.
fn default_openid(appid: &AppId) -> String {
    let appid: String = appid.as_str().chars().take(100).collect();
    format!("oSandbox-{appid}")
}

/// Scheme and host of a URL.
fn site(url: &HttpUrl) -> &str {
    let url = url.as_str();
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url
        .char_indices()
        .skip_while(|(at, _)| *at < host)
        .find(|(_, c)| matches!(c, '/' | '?' | '#' | '\\'))
        .map_or(url.len(), |(at, _)| at);
    url.get(..end).unwrap_or(url)
}
