//! `POST /cgi-bin/stable_token`: the same token for all who ask, until five minutes before its end.

use serde_json::{Map, Value, json};
use wxsub_proto::ErrCode;
use wxsub_proto::endpoint::stable_token::PATH;

use super::credentials::Credentials;
use super::{must_post, posted};
use crate::call::Call;
use crate::journal::Trace;
use crate::refused::Refused;
use crate::world::World;

const CALLS_A_MINUTE: u64 = 10_000;
const CALLS_A_DAY: u64 = 500_000;

pub(super) fn answer(world: &mut World, call: &Call<'_>, trace: &mut Trace) -> Result<Value, Refused> {
    must_post(call)?;
    let body: Map<String, Value> = serde_json::from_slice(posted(call)?).map_err(|_| ErrCode::DATA_FORMAT)?;
    let text = |name| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let credentials =
        Credentials { appid: text("appid"), grant_type: text("grant_type"), secret: text("secret") };
    let app = credentials.check(&mut world.apps, call.caller, trace)?;
    let force = match body.get("force_refresh") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(force)) => *force,
        Some(_) => return Err(ErrCode::DATA_FORMAT.into()),
    };
    let a_minute = app.settings.minute_limit.unwrap_or(CALLS_A_MINUTE);
    app.admit(PATH, call.now, Some(a_minute), CALLS_A_DAY)?;
    let token = app.stable(&mut world.mint, call.now, force)?;
    trace.token = Some(token.number);
    Ok(json!({"access_token": token.text, "expires_in": token.expires_in(call.now)}))
}
