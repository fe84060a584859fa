//! Weixin's side: one file per endpoint, and what several of them share.

mod bearer;
mod consent_page;
mod credentials;
mod domain_ip;
mod letter;
mod quota;
mod redirect;
mod stable_token;
mod subscribe;
mod token;

use serde_json::Value;
use wxsub_proto::ErrCode;
use wxsub_proto::consent::WebLink;
use wxsub_proto::endpoint;

use crate::call::Call;
use crate::handled::Reply;
use crate::journal::Trace;
use crate::page;
use crate::refused::Refused;
use crate::world::World;

/// Answers one request to the API: what it gives, or why not.
type Endpoint = fn(&mut World, &Call<'_>, &mut Trace) -> Result<Value, Refused>;

/// Answers one request, and has its effect.
pub(crate) fn answer(world: &mut World, call: &Call<'_>, trace: &mut Trace) -> Reply {
    let endpoint: Endpoint = match call.path {
        endpoint::token::PATH => token::answer,
        endpoint::stable_token::PATH => stable_token::answer,
        endpoint::subscribe::PATH => subscribe::answer,
        endpoint::domain_ip::PATH => domain_ip::answer,
        endpoint::quota::PATH => quota::answer,
        path if path.starts_with("/cgi-bin/") => |_, _, _| Err(ErrCode::INVALID_URL.into()),
        WebLink::PATH => return consent_page::answer(world, call),
        _ => return page::not_found(),
    };
    let answered = endpoint(world, call, trace);
    trace.errcode = Some(answered.as_ref().map_or_else(|refused| refused.code, |_| ErrCode::OK));
    // Whatever it says, the API says it with status 200.
    match answered {
        Ok(value) => Reply::weixin(&value),
        Err(refused) => Reply::weixin(&refused.to_json(call.now)),
    }
}

/// Some endpoints take a POST only.
fn must_post(call: &Call<'_>) -> Result<(), Refused> {
    match call.method {
        "POST" => Ok(()),
        _ => Err(ErrCode::REQUIRE_POST.into()),
    }
}

/// The body of a POST, which must not be empty.
fn posted<'a>(call: &Call<'a>) -> Result<&'a [u8], Refused> {
    match call.body {
        Some(b"") => Err(ErrCode::EMPTY_POST_DATA.into()),
        Some(body) => Ok(body),
        // Longer than is read here; what Weixin says then is not documented.
        None => Err(ErrCode::DATA_FORMAT.into()),
    }
}
