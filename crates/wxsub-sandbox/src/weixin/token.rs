//! `GET /cgi-bin/token`: a new token, and the end of the one before it.

use serde_json::{Value, json};
use wxsub_proto::ErrCode;
use wxsub_proto::endpoint::token::PATH;

use super::credentials::Credentials;
use crate::call::Call;
use crate::journal::Trace;
use crate::query::Query;
use crate::refused::Refused;
use crate::world::World;

/// `require GET method`, in Weixin's global list of codes.
const REQUIRE_GET: ErrCode = ErrCode::new(43001);

/// The text that 45009 has here.
const QUOTA_AND_ADVICE: &str = "reach max api daily quota limit, could get access_token by getStableAccessToken, more \
                                details at https://mmbizurl.cn/s/JtxxFh33r";

pub(super) fn answer(world: &mut World, call: &Call<'_>, trace: &mut Trace) -> Result<Value, Refused> {
    if call.method != "GET" {
        return Err(REQUIRE_GET.into());
    }
    let query = Query::read(call.query);
    let credentials = Credentials {
        appid: query.get("appid"),
        grant_type: query.get("grant_type"),
        secret: query.get("secret"),
    };
    let app = credentials.check(&mut world.apps, call.caller, trace)?;
    let (a_minute, a_day) = (app.settings.minute_limit, app.settings.token_quota);
    app.admit(PATH, call.now, a_minute, a_day).map_err(|code| match code {
        ErrCode::DAILY_QUOTA => Refused::new(code, QUOTA_AND_ADVICE),
        code => code.into(),
    })?;
    let token = app.fetch(&mut world.mint, call.now);
    trace.token = Some(token.number);
    Ok(json!({"access_token": token.text, "expires_in": token.expires_in(call.now)}))
}
