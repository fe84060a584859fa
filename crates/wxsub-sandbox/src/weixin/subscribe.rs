//! `POST /cgi-bin/message/template/subscribe`: one message, against one grant.

use serde_json::{Value, json};
use wxsub_proto::endpoint::subscribe::PATH;
use wxsub_proto::{ErrCode, Grant};

use super::letter::Letter;
use super::{bearer, must_post, posted};
use crate::call::Call;
use crate::journal::Trace;
use crate::refused::Refused;
use crate::world::World;

pub(super) fn answer(world: &mut World, call: &Call<'_>, trace: &mut Trace) -> Result<Value, Refused> {
    must_post(call)?;
    let appid = bearer::check(world, call, trace)?;
    let app = world.apps.get_mut(&appid).ok_or(ErrCode::INVALID_APPID)?;
    let (a_minute, a_day) = (app.settings.minute_limit, app.settings.send_quota);
    app.admit(PATH, call.now, a_minute, a_day)?;
    let letter = Letter::read(posted(call)?, app)?;
    let grant = Grant::trusted(letter.touser.clone(), letter.template_id, letter.scene);
    // Only here, after everything else was found right, is the grant used up.
    if !world.grants.remove(&(appid.clone(), grant)) {
        return Err(ErrCode::USER_REFUSED.into());
    }
    world.mail.deliver(letter.touser, appid, call.now.as_secs(), letter.body);
    Ok(json!({"errcode": 0, "errmsg": "ok"}))
}
