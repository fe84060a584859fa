//! `GET /cgi-bin/token`: issues a new token. The previous one becomes invalid after the overlap.

use serde_json::{Value, json};
use wxsub_proto::ErrCode;
use wxsub_proto::endpoint::token::PATH;

use super::call::Call;
use crate::api_error::ApiError;
use crate::app::{CallLimits, Token, TokenKind};
use crate::request::Query;
use crate::state::Effect;

/// `require GET method`, from Weixin's global list of error codes.
const REQUIRE_GET: ErrCode = ErrCode::new(43001);

/// The message of 45009 at this endpoint.
const DAILY_QUOTA_MESSAGE: &str = "reach max api daily quota limit, could get access_token by getStableAccessToken, more \
                                details at https://mmbizurl.cn/s/JtxxFh33r";

pub(super) fn decide(call: &mut Call<'_>) -> Result<Value, ApiError> {
    if call.request.method != "GET" {
        return Err(REQUIRE_GET.into());
    }
    let query = Query::parse(call.request.query);
    let (appid, app) = call.authenticate_with(|name| query.get(name))?;
    let limits = CallLimits { per_minute: app.settings.minute_limit, per_day: app.settings.token_quota };
    call.check_quota(appid, app, PATH, limits).map_err(|code| match code {
        ErrCode::DAILY_QUOTA => ApiError::new(code, DAILY_QUOTA_MESSAGE),
        code => code.into(),
    })?;
    let token = Token::new(&call.state.token_generator, call.request.now, &app.settings);
    call.trace.token = Some(token.number);
    let response = json!({"access_token": token.text, "expires_in": token.expires_in(call.request.now)});
    call.effects.push(Effect::IssueToken { appid: appid.clone(), token, kind: TokenKind::Classic });
    Ok(response)
}
