//! `POST /cgi-bin/openapi/quota/get`: what is left of today's calls. Asking takes nothing from them.

use serde_json::{Value, json};
use wxsub_proto::ErrCode;
use wxsub_proto::endpoint::{subscribe, token};

use super::{bearer, must_post, posted};
use crate::call::Call;
use crate::journal::Trace;
use crate::refused::Refused;
use crate::world::World;

/// `cgi_path not found`, in Weixin's page about this endpoint.
const PATH_NOT_FOUND: ErrCode = ErrCode::new(76021);

pub(super) fn answer(world: &mut World, call: &Call<'_>, trace: &mut Trace) -> Result<Value, Refused> {
    must_post(call)?;
    let appid = bearer::check(world, call, trace)?;
    let app = world.apps.get_mut(&appid).ok_or(ErrCode::INVALID_APPID)?;
    let body: Value = serde_json::from_slice(posted(call)?).map_err(|_| ErrCode::DATA_FORMAT)?;
    let (path, daily_limit) = match body.get("cgi_path").and_then(Value::as_str) {
        Some(subscribe::PATH) => (subscribe::PATH, app.settings.send_quota),
        Some(token::PATH) => (token::PATH, app.settings.token_quota),
        _ => return Err(PATH_NOT_FOUND.into()),
    };
    let used = app.used_today(path, call.now).min(daily_limit);
    let quota = json!({"daily_limit": daily_limit, "used": used, "remain": daily_limit - used});
    Ok(json!({"errcode": 0, "errmsg": "ok", "quota": quota}))
}
