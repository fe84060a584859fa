//! Weixin's side: one file per endpoint, and what several of them share.

mod access_token;
mod callback_url;
mod consent_page;
mod credentials;
mod domain_ip;
mod message;
mod quota;
mod stable_token;
mod subscribe;
mod token;

use serde_json::Value;
use wxsub_proto::ErrCode;
use wxsub_proto::consent::WebLink;
use wxsub_proto::endpoint;

use crate::api_error::ApiError;
use crate::event_log::Trace;
use crate::exchange::Response;
use crate::page;
use crate::request::Request;
use crate::state::SandboxState;

/// Answers one request to the API: what it gives, or why not.
type Endpoint = fn(&mut SandboxState, &Request<'_>, &mut Trace) -> Result<Value, ApiError>;

/// Answers one request, and has its effect.
pub(crate) fn handle(state: &mut SandboxState, request: &Request<'_>, trace: &mut Trace) -> Response {
    let endpoint: Endpoint = match request.path {
        endpoint::token::PATH => token::handle,
        endpoint::stable_token::PATH => stable_token::handle,
        endpoint::subscribe::PATH => subscribe::handle,
        endpoint::domain_ip::PATH => domain_ip::handle,
        endpoint::quota::PATH => quota::handle,
        path if path.starts_with("/cgi-bin/") => |_, _, _| Err(ErrCode::INVALID_URL.into()),
        WebLink::PATH => return consent_page::handle(state, request),
        _ => return page::not_found(),
    };
    let result = endpoint(state, request, trace);
    trace.errcode = Some(result.as_ref().map_or_else(|refused| refused.code, |_| ErrCode::OK));
    // Whatever it says, the API says it with status 200.
    match result {
        Ok(value) => Response::weixin(&value),
        Err(refused) => Response::weixin(&refused.to_json(request.now)),
    }
}

/// Some endpoints take a POST only.
fn require_post(request: &Request<'_>) -> Result<(), ApiError> {
    match request.method {
        "POST" => Ok(()),
        _ => Err(ErrCode::REQUIRE_POST.into()),
    }
}

/// The body of a POST, which must not be empty.
fn non_empty_body<'a>(request: &Request<'a>) -> Result<&'a [u8], ApiError> {
    match request.body {
        Some(b"") => Err(ErrCode::EMPTY_POST_DATA.into()),
        Some(body) => Ok(body),
        // Longer than is read here; what Weixin says then is not documented.
        None => Err(ErrCode::DATA_FORMAT.into()),
    }
}
