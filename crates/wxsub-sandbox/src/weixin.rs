//! Weixin's API: the endpoints, one file each, and the checks that they share.

mod checks;
mod domain_ip;
mod quota;
mod stable_token;
mod subscribe;
mod token;

use serde_json::Value;
use wxsub_proto::ErrCode;
use wxsub_proto::endpoint;

use crate::api_error::ApiError;
use crate::event_log::Trace;
use crate::exchange::Response;
use crate::request::Request;
use crate::state::SandboxState;

/// Handles one API request. Returns the response body, or the error.
type Endpoint = fn(&mut SandboxState, &Request<'_>, &mut Trace) -> Result<Value, ApiError>;

/// Handles one API request and applies its effect. `None` if the path is not below `/cgi-bin/`.
pub(crate) fn handle(state: &mut SandboxState, request: &Request<'_>, trace: &mut Trace) -> Option<Response> {
    let endpoint: Endpoint = match request.path {
        endpoint::token::PATH => token::handle,
        endpoint::stable_token::PATH => stable_token::handle,
        endpoint::subscribe::PATH => subscribe::handle,
        endpoint::domain_ip::PATH => domain_ip::handle,
        endpoint::quota::PATH => quota::handle,
        path if path.starts_with("/cgi-bin/") => |_, _, _| Err(ErrCode::INVALID_URL.into()),
        _ => return None,
    };
    let result = endpoint(state, request, trace);
    trace.errcode = Some(result.as_ref().map_or_else(|error| error.code, |_| ErrCode::OK));
    // The API returns status 200 for errors too.
    Some(match result {
        Ok(value) => Response::weixin(&value),
        Err(error) => Response::weixin(&error.to_json(request.now)),
    })
}
