//! `POST /cgi-bin/message/template/subscribe`: sends one message and uses up one grant.

use serde_json::{Value, json};
use wxsub_proto::endpoint::subscribe::PATH;
use wxsub_proto::{ErrCode, Grant};

use super::message::SubscribeBody;
use super::{access_token, non_empty_body, require_post};
use crate::api_error::ApiError;
use crate::event_log::Trace;
use crate::request::Request;
use crate::state::SandboxState;

pub(super) fn handle(
    state: &mut SandboxState,
    request: &Request<'_>,
    trace: &mut Trace,
) -> Result<Value, ApiError> {
    require_post(request)?;
    let appid = access_token::authenticate(state, request, trace)?;
    let app = state.apps.get_mut(&appid).ok_or(ErrCode::INVALID_APPID)?;
    let (per_minute, per_day) = (app.settings.minute_limit, app.settings.send_quota);
    app.check_quota(PATH, request.now, per_minute, per_day)?;
    let message = SubscribeBody::parse(non_empty_body(request)?, app)?;
    let grant = Grant::assume_verified(message.touser.clone(), message.template_id, message.scene);
    // The grant is used up last, after all other checks have passed.
    if !state.grants.remove(&(appid.clone(), grant)) {
        return Err(ErrCode::USER_REFUSED.into());
    }
    state.mailboxes.deliver(message.touser, appid, request.now.as_secs(), message.body);
    Ok(json!({"errcode": 0, "errmsg": "ok"}))
}
