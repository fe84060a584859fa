//! Weixin's API: the endpoints, one file each, and the checks that they share.

mod call;
mod domain_ip;
mod quota;
mod stable_token;
mod subscribe;
mod token;

use serde_json::{Map, Value};
use wxsub_proto::{AppId, ErrCode, endpoint};

use self::call::Call;
use crate::api_error::ApiError;
use crate::event_log::Trace;
use crate::exchange::Response;
use crate::request::{Query, Request};
use crate::state::{Effect, SandboxState};

/// Decides about one API request. Returns the response body, or the error, and adds the effects of the request.
type Endpoint = fn(&mut Call<'_>) -> Result<Value, ApiError>;

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

/// The app of a request: the one that got its `access_token`, valid or not. Without a token, the one of its `appid`, in the
/// query or in the JSON body.
pub(crate) fn find_app<'s>(state: &'s SandboxState, request: &Request<'_>) -> Option<&'s AppId> {
    let query = Query::parse(request.query);
    if let Some(token) = query.get("access_token") {
        return state.find_token(token).map(|(appid, ..)| appid);
    }
    let body: Map<String, Value>;
    let appid = match query.get("appid") {
        Some(appid) => appid,
        None => {
            body = serde_json::from_slice(request.body?).ok()?;
            body.get("appid")?.as_str()?
        }
    };
    let (appid, _) = state.apps.get_key_value(&AppId::new(appid).ok()?)?;
    Some(appid)
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
        Some((_, _, decide)) => decide(&mut Call { state, request, trace: &mut *trace, effects }),
        None => Err(ErrCode::INVALID_URL.into()),
    };
    trace.errcode = Some(result.as_ref().map_or_else(|error| error.code, |_| ErrCode::OK));
    // The API returns status 200 for errors too.
    Some(match result {
        Ok(value) => Response::weixin(&value),
        Err(error) => Response::weixin(&error.to_json(request.now)),
    })
}
