//! `POST /cgi-bin/stable_token`: returns the same token to every caller until five minutes before it expires.

use serde_json::{Map, Value, json};
use wxsub_proto::ErrCode;
use wxsub_proto::endpoint::stable_token::PATH;

use super::call::Call;
use crate::api_error::ApiError;
use crate::app::CallLimits;
use crate::state::Effect;

const MAX_CALLS_PER_MINUTE: u64 = 10_000;
const MAX_CALLS_PER_DAY: u64 = 500_000;

pub(super) fn decide(call: &mut Call<'_>) -> Result<Value, ApiError> {
    call.require_post()?;
    let body: Map<String, Value> = serde_json::from_slice(call.body()?).map_err(|_| ErrCode::DATA_FORMAT)?;
    let text = |name| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (appid, app) = call.authenticate_with(text)?;
    let force = match body.get("force_refresh") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(force)) => *force,
        Some(_) => return Err(ErrCode::DATA_FORMAT.into()),
    };
    let per_minute = app.settings.minute_limit.or(Some(MAX_CALLS_PER_MINUTE));
    let limits = CallLimits { per_minute, per_day: MAX_CALLS_PER_DAY };
    call.check_quota(appid, app, PATH, limits)?;
    let (now, generator) = (call.request.now, &call.state.token_generator);
    let (token, issued) = app.stable.current_or_new(generator, now, &app.settings, force)?;
    call.trace.token = Some(token.number);
    let response = json!({"access_token": token.text, "expires_in": token.expires_in(now)});
    if let Some(kind) = issued {
        call.effects.push(Effect::IssueToken { appid: appid.clone(), token, kind });
    }
    Ok(response)
}
