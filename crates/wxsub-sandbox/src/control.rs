//! The control API: the controls of [`Sandbox`](crate::Sandbox) as JSON over HTTP.

mod apps;
mod consents;
mod faults;
mod json_reader;

use std::time::Duration;

use serde_json::{Value, json};
use wxsub_proto::OpenId;

use crate::exchange::Response;
use crate::query::Query;
use crate::request::Request;
use crate::state::SandboxState;
pub(crate) use json_reader::ControlError;
use json_reader::JsonReader;

/// The path prefix of the control API. No path of Weixin starts with it.
const ROOT: &str = "/_sandbox";

/// The maximum number of seconds that one control moves the clock: ten years.
const MAX_ADVANCE_S: u64 = 315_360_000;

type Handler = fn(&mut SandboxState, &Request<'_>) -> Result<Value, ControlError>;

const ROUTES: [(&str, &str, Handler); 8] = [
    ("POST", "/apps", apps::add),
    ("POST", "/consents", consents::add),
    ("GET", "/mailbox", mailbox),
    ("POST", "/clock/advance", advance),
    ("POST", "/tokens/invalidate", invalidate),
    ("POST", "/faults", faults::add),
    ("DELETE", "/faults", faults::clear),
    ("GET", "/events", events),
];

/// Handles a request to the control API. `None` if the path is not below [`ROOT`].
pub(crate) fn handle(state: &mut SandboxState, request: &Request<'_>) -> Option<Response> {
    let path = request.path.strip_prefix(ROOT)?;
    if !(path.is_empty() || path.starts_with('/')) {
        return None;
    }
    Some(match dispatch(state, path, request) {
        Ok(value) => Response::json(200, &value),
        Err(ControlError { status, error }) => Response::json(status, &json!({"error": error})),
    })
}

/// Runs the control at `path`, relative to [`ROOT`].
pub(crate) fn dispatch(
    state: &mut SandboxState,
    path: &str,
    request: &Request<'_>,
) -> Result<Value, ControlError> {
    find_handler(request.method, path).and_then(|handler| handler(state, request))
}

fn find_handler(method: &str, path: &str) -> Result<Handler, ControlError> {
    let mut matching = ROUTES.iter().filter(|(_, other, _)| *other == path).peekable();
    if matching.peek().is_none() {
        return Err(ControlError::new(
            404,
            "path: the sandbox has no such control; see the documentation of wxsub-sandbox",
        ));
    }
    match matching.find(|(other, ..)| *other == method) {
        Some((_, _, handler)) => Ok(*handler),
        None => Err(ControlError::new(
            405,
            "method: not allowed for this control; see the documentation of wxsub-sandbox",
        )),
    }
}

fn mailbox(state: &mut SandboxState, request: &Request<'_>) -> Result<Value, ControlError> {
    let query = Query::parse(request.query);
    let openid =
        query.get("openid").ok_or_else(|| ControlError::bad_request("openid: is missing; it is required"))?;
    let openid: OpenId = openid.parse()?;
    Ok(json!(state.mailboxes.messages(&openid)))
}

fn advance(state: &mut SandboxState, request: &Request<'_>) -> Result<Value, ControlError> {
    let mut reader = JsonReader::parse(request)?;
    let seconds = reader.required("seconds", |reader, name| reader.integer(name, 0..=MAX_ADVANCE_S))?;
    reader.finish()?;
    state.advance(request.now, Duration::from_secs(seconds));
    Ok(json!({}))
}

fn invalidate(state: &mut SandboxState, request: &Request<'_>) -> Result<Value, ControlError> {
    let mut reader = JsonReader::parse(request)?;
    let appid = reader.required("appid", JsonReader::text)?;
    reader.finish()?;
    state.invalidate_tokens(request.now, &appid)?;
    Ok(json!({}))
}

fn events(state: &mut SandboxState, _: &Request<'_>) -> Result<Value, ControlError> {
    Ok(json!(state.event_log))
}
