//! The access token in the query, as every endpoint but the token endpoints checks it.

use wxsub_proto::{AppId, ErrCode};

use crate::app::Standing;
use crate::call::Call;
use crate::journal::Trace;
use crate::query::Query;
use crate::refused::Refused;
use crate::world::World;

/// The app whose token this call carries, if the token is good and the app may call from there.
pub(super) fn check(world: &World, call: &Call<'_>, trace: &mut Trace) -> Result<AppId, Refused> {
    let query = Query::read(call.query);
    let text = query.get("access_token").ok_or(ErrCode::MISSING_ACCESS_TOKEN)?;
    let mut apps = world.apps.iter();
    let found = apps.find_map(|(appid, app)| Some((appid, app, app.find(text)?)));
    let (appid, app, token) = found.ok_or(ErrCode::INVALID_ACCESS_TOKEN)?;
    trace.appid = Some(appid.clone());
    trace.token = Some(token.number);
    match token.standing(call.now) {
        Standing::Good => {}
        Standing::Expired => return Err(ErrCode::ACCESS_TOKEN_EXPIRED.into()),
        Standing::NotLatest => return Err(ErrCode::INVALID_CREDENTIAL.into()),
    }
    app.check_ip(call.caller)?;
    Ok(appid.clone())
}
