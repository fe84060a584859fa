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
use crate::state::{Effect, SandboxState};

/// Decides about one API request. Returns the response body, or the error, and adds the effects of the request.
type Endpoint = fn(&SandboxState, &Request<'_>, &mut Trace, &mut Vec<Effect>) -> Result<Value, ApiError>;

/// The endpoints: path, name in the journal, function.
const ENDPOINTS: [(&str, &str, Endpoint); 5] = [
    (endpoint::token::PATH, "token", token::decide),
    (endpoint::stable_token::PATH, "stable_token", stable_token::decide),
    (endpoint::subscribe::PATH, "send", subscribe::decide),
    (endpoint::domain_ip::PATH, "domain_ip", domain_ip::decide),
    (endpoint::quota::PATH, "quota", quota::decide),
];

/// The name of the operation at this path.
pub(crate) fn operation(path: &str) -> Option<&'static str> {
    ENDPOINTS.iter().find(|(other, ..)| *other == path).map(|(_, name, _)| *name)
}

/// Decides about one API request, without changing anything. `None` if the path is not below `/cgi-bin/`.
pub(crate) fn decide(
    state: &SandboxState,
    request: &Request<'_>,
    trace: &mut Trace,
    effects: &mut Vec<Effect>,
) -> Option<Response> {
    if !request.path.starts_with("/cgi-bin/") {
        return None;
    }
    let endpoint = ENDPOINTS.iter().find(|(path, ..)| *path == request.path);
    let result = match endpoint {
        Some((_, _, decide)) => decide(state, request, trace, effects),
        None => Err(ErrCode::INVALID_URL.into()),
    };
    trace.errcode = Some(result.as_ref().map_or_else(|error| error.code, |_| ErrCode::OK));
    // The API returns status 200 for errors too.
    Some(match result {
        Ok(value) => Response::weixin(&value),
        Err(error) => Response::weixin(&error.to_json(request.now)),
    })
}
