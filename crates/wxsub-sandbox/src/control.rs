//! The control API: the controls of [`Sandbox`](crate::Sandbox) as JSON over HTTP.

mod input;

use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use wxsub_proto::endpoint::token::MAX_LIFETIME;
use wxsub_proto::{
    AccessToken, AppId, AppSecret, ConsentAction, ConsentRequest, OpenId, Reserved, Scene, TemplateId,
};

use crate::app::AppSettings;
use crate::exchange::Response;
use crate::fault::PendingFault;
use crate::request::{Query, Request};
use crate::state::SandboxState;
pub(crate) use input::ControlError;
use input::{FaultInput, WholeNumber, parse, required};

/// The path prefix of the control API. No path of Weixin starts with it.
const ROOT: &str = "/_sandbox";

/// The maximum number of seconds that one control moves the clock: ten years.
const MAX_ADVANCE_S: u64 = 315_360_000;

type Handler = fn(&mut SandboxState, &Request<'_>) -> Result<Value, ControlError>;

const ROUTES: [(&str, &str, Handler); 8] = [
    ("POST", "/apps", add_app),
    ("POST", "/consents", add_consent),
    ("GET", "/mailbox", list_messages),
    ("POST", "/clock/advance", advance_clock),
    ("POST", "/tokens/invalidate", invalidate_tokens),
    ("POST", "/faults", add_fault),
    ("DELETE", "/faults", clear_faults),
    ("GET", "/events", list_events),
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
    let known: Vec<_> = ROUTES.iter().filter(|(_, known, _)| *known == path).collect();
    let (status, problem) = match known.iter().find(|(method, ..)| *method == request.method) {
        Some((.., handler)) => return handler(state, request),
        None if known.is_empty() => (404, "path: the sandbox has no such control"),
        None => (405, "method: not allowed for this control"),
    };
    Err(ControlError::new(status, format!("{problem}; see the documentation of wxsub-sandbox")))
}

/// The maximum value of a limit: the largest integer that every JSON parser represents exactly.
const MAX_LIMIT: u64 = 1 << 53;
type Limit = WholeNumber<0, MAX_LIMIT>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AppInput {
    appid: Option<AppId>,
    #[serde(default, deserialize_with = "input::text")]
    secret: Option<AppSecret>,
    templates: Option<Vec<TemplateId>>,
    token_lifetime_s: Option<WholeNumber<1, { MAX_LIFETIME.as_secs() }>>,
    overlap_s: Option<WholeNumber<0, { MAX_LIFETIME.as_secs() }>>,
    token_length: Option<WholeNumber<32, { AccessToken::MAX_LENGTH as u64 }>>,
    allowed_ips: Option<Vec<IpAddr>>,
    frozen: Option<bool>,
    token_quota: Option<Limit>,
    send_quota: Option<Limit>,
    minute_limit: Option<Limit>,
}

fn add_app(state: &mut SandboxState, request: &Request<'_>) -> Result<Value, ControlError> {
    let input: AppInput = parse(request)?;
    let (appid, secret) = (required("appid", input.appid)?, required("secret", input.secret)?);
    let default = AppSettings::default();
    let token_length = input.token_length.and_then(|length| length.0.try_into().ok());
    let settings = AppSettings {
        token_lifetime: input.token_lifetime_s.map_or(default.token_lifetime, |s| Duration::from_secs(s.0)),
        overlap: input.overlap_s.map_or(default.overlap, |s| Duration::from_secs(s.0)),
        token_length: token_length.unwrap_or(default.token_length),
        allowed_ips: input.allowed_ips,
        frozen: input.frozen.unwrap_or(default.frozen),
        token_quota: input.token_quota.map_or(default.token_quota, |limit| limit.0),
        send_quota: input.send_quota.map_or(default.send_quota, |limit| limit.0),
        minute_limit: input.minute_limit.map(|limit| limit.0),
    };
    let templates = input.templates.into_iter().flatten().collect();
    state.add_app(request.now, appid, secret, templates, settings);
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsentInput {
    appid: Option<AppId>,
    openid: Option<OpenId>,
    template_id: Option<TemplateId>,
    scene: Option<Scene>,
    reserved: Option<Reserved>,
    action: Option<ActionInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActionInput {
    Confirm,
    Cancel,
}

fn add_consent(state: &mut SandboxState, request: &Request<'_>) -> Result<Value, ControlError> {
    let input: ConsentInput = parse(request)?;
    let consent = ConsentRequest {
        appid: required("appid", input.appid)?,
        template_id: required("template_id", input.template_id)?,
        scene: required("scene", input.scene)?,
        reserved: input.reserved,
    };
    let action = match required("action", input.action)? {
        ActionInput::Confirm => ConsentAction::Confirm {
            openid: input.openid.ok_or_else(|| {
                ControlError::bad_request("openid: is missing; it is required when action is confirm")
            })?,
        },
        ActionInput::Cancel => ConsentAction::Cancel,
    };
    Ok(json!(state.consent(request.now, consent, action)?))
}

fn list_messages(state: &mut SandboxState, request: &Request<'_>) -> Result<Value, ControlError> {
    let query = Query::parse(request.query);
    let openid: OpenId = required("openid", query.get("openid"))?.parse()?;
    Ok(json!(state.mailboxes.messages(&openid)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdvanceInput {
    seconds: Option<WholeNumber<0, MAX_ADVANCE_S>>,
}

fn advance_clock(state: &mut SandboxState, request: &Request<'_>) -> Result<Value, ControlError> {
    let input: AdvanceInput = parse(request)?;
    state.advance(request.now, Duration::from_secs(required("seconds", input.seconds)?.0));
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InvalidateInput {
    appid: Option<AppId>,
}

fn invalidate_tokens(state: &mut SandboxState, request: &Request<'_>) -> Result<Value, ControlError> {
    let input: InvalidateInput = parse(request)?;
    state.invalidate_tokens(request.now, &required("appid", input.appid)?)?;
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AddFaultInput {
    appid: Option<AppId>,
    path: Option<String>,
    times: Option<WholeNumber<1, 1_000_000>>,
    fault: Option<FaultInput>,
}

fn add_fault(state: &mut SandboxState, request: &Request<'_>) -> Result<Value, ControlError> {
    let input: AddFaultInput = parse(request)?;
    let path = required("path", input.path)?;
    if !path.starts_with('/') || path.starts_with(ROOT) || path.contains(['?', '#']) {
        return Err(ControlError::bad_request("path: must be a path of Weixin's, without a query"));
    }
    let FaultInput(fault) = required("fault", input.fault)?;
    let times = input.times.map_or(1, |times| times.0);
    state.add_fault(PendingFault { path, appid: input.appid, times, fault })?;
    Ok(json!({}))
}

fn clear_faults(state: &mut SandboxState, _: &Request<'_>) -> Result<Value, ControlError> {
    state.faults.clear();
    Ok(json!({}))
}

fn list_events(state: &mut SandboxState, _: &Request<'_>) -> Result<Value, ControlError> {
    Ok(json!(state.event_log))
}
