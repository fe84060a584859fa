//! `GET /cgi-bin/get_api_domain_ip`: the addresses of Weixin's API. The cheapest way to check a token.

use serde_json::{Value, json};

use super::checks::authenticate;
use crate::api_error::ApiError;
use crate::event_log::Trace;
use crate::request::Request;
use crate::state::{Effect, SandboxState};

pub(super) fn decide(
    state: &SandboxState,
    request: &Request<'_>,
    trace: &mut Trace,
    _: &mut Vec<Effect>,
) -> Result<Value, ApiError> {
    authenticate(state, request, trace)?;
    Ok(json!({"ip_list": ["127.0.0.1"]}))
}
