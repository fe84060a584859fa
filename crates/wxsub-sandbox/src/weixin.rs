//! Weixin's endpoints, one file each, and the checks that they share.

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
use wxsub_proto::consent::ConsentUrl;
use wxsub_proto::endpoint;

use crate::api_error::ApiError;
use crate::event_log::Trace;
use crate::exchange::Response;
use crate::page;
use crate::request::Request;
use crate::state::SandboxState;

/// Handles one API request. Returns the response body, or the error.
type Endpoint = fn(&mut SandboxState, &Request<'_>, &mut Trace) -> Result<Value, ApiError>;

/// Handles one request to Weixin and applies its effect.
pub(crate) fn handle(state: &mut SandboxState, request: &Request<'_>, trace: &mut Trace) -> Response {
    let endpoint: Endpoint = match request.path {
        endpoint::token::PATH => token::handle,
        endpoint::stable_token::PATH => stable_token::handle,
        endpoint::subscribe::PATH => subscribe::handle,
        endpoint::domain_ip::PATH => domain_ip::handle,
        endpoint::quota::PATH => quota::handle,
        path if path.starts_with("/cgi-bin/") => |_, _, _| Err(ErrCode::INVALID_URL.into()),
        ConsentUrl::PATH => return consent_page::handle(state, request),
        _ => return page::not_found(),
    };
    let result = endpoint(state, request, trace);
    trace.errcode = Some(result.as_ref().map_or_else(|error| error.code, |_| ErrCode::OK));
    // The API returns status 200 for errors too.
    match result {
        Ok(value) => Response::weixin(&value),
        Err(error) => Response::weixin(&error.to_json(request.now)),
    }
}

/// Rejects every method but POST.
fn require_post(request: &Request<'_>) -> Result<(), ApiError> {
    match request.method {
        "POST" => Ok(()),
        _ => Err(ErrCode::REQUIRE_POST.into()),
    }
}

/// The request body. An empty body is an error.
fn non_empty_body<'a>(request: &Request<'a>) -> Result<&'a [u8], ApiError> {
    match request.body {
        Some(b"") => Err(ErrCode::EMPTY_POST_DATA.into()),
        Some(body) => Ok(body),
        // The body exceeds the sandbox's limit. Weixin does not document its error for that.
        None => Err(ErrCode::DATA_FORMAT.into()),
    }
}
