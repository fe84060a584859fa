//! `POST /cgi-bin/openapi/quota/get`: today's quota of an endpoint. This call does not count against it.

use serde_json::{Value, json};
use wxsub_proto::ErrCode;
use wxsub_proto::endpoint::{subscribe, token};

use super::call::Call;
use crate::api_error::ApiError;

/// `cgi_path not found`, from Weixin's page about this endpoint.
const PATH_NOT_FOUND: ErrCode = ErrCode::new(76021);

pub(super) fn decide(call: &mut Call<'_>) -> Result<Value, ApiError> {
    call.require_post()?;
    let (_, app) = call.authenticate()?;
    let body: Value = serde_json::from_slice(call.body()?).map_err(|_| ErrCode::DATA_FORMAT)?;
    let (path, daily_limit) = match body.get("cgi_path").and_then(Value::as_str) {
        Some(subscribe::PATH) => (subscribe::PATH, app.settings.send_quota),
        Some(token::PATH) => (token::PATH, app.settings.token_quota),
        _ => return Err(PATH_NOT_FOUND.into()),
    };
    let used = app.used_today(path, call.request.now).min(daily_limit);
    let quota = json!({"daily_limit": daily_limit, "used": used, "remain": daily_limit - used});
    Ok(json!({"errcode": 0, "errmsg": "ok", "quota": quota}))
}
