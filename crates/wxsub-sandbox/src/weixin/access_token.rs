//! Checks the `access_token` in the query, for every endpoint but the token endpoints.

use wxsub_proto::{AppId, ErrCode};

use crate::api_error::ApiError;
use crate::app::TokenValidity;
use crate::event_log::Trace;
use crate::query::Query;
use crate::request::Request;
use crate::state::SandboxState;

/// Returns the app of the request's token, if the token is valid and the address is allowed.
pub(super) fn authenticate(
    state: &SandboxState,
    request: &Request<'_>,
    trace: &mut Trace,
) -> Result<AppId, ApiError> {
    let query = Query::parse(request.query);
    let text = query.get("access_token").ok_or(ErrCode::MISSING_ACCESS_TOKEN)?;
    let mut apps = state.apps.iter();
    let found = apps.find_map(|(appid, app)| Some((appid, app, app.find_token(text)?)));
    let (appid, app, token) = found.ok_or(ErrCode::INVALID_ACCESS_TOKEN)?;
    trace.appid = Some(appid.clone());
    trace.token = Some(token.number);
    match token.validity(request.now) {
        TokenValidity::Valid => {}
        TokenValidity::Expired => return Err(ErrCode::ACCESS_TOKEN_EXPIRED.into()),
        TokenValidity::Superseded => return Err(ErrCode::INVALID_CREDENTIAL.into()),
    }
    app.check_ip(request.client_ip)?;
    Ok(appid.clone())
}
