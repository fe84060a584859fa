//! The checks that several endpoints share: method, body, credentials, access_token and quota.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use wxsub_proto::endpoint::token::GRANT_TYPE;
use wxsub_proto::{AppId, ErrCode};

use crate::api_error::ApiError;
use crate::app::{App, CallLimits, TokenValidity};
use crate::event_log::Trace;
use crate::request::{Query, Request};
use crate::state::{Effect, SandboxState};

/// Rejects every method but POST.
pub(super) fn require_post(request: &Request<'_>) -> Result<(), ApiError> {
    match request.method {
        "POST" => Ok(()),
        _ => Err(ErrCode::REQUIRE_POST.into()),
    }
}

/// The request body. An empty body is an error.
pub(super) fn non_empty_body<'a>(request: &Request<'a>) -> Result<&'a [u8], ApiError> {
    match request.body {
        Some(b"") => Err(ErrCode::EMPTY_POST_DATA.into()),
        Some(body) => Ok(body),
        // The body exceeds the sandbox's limit. Weixin does not document its error for that.
        None => Err(ErrCode::DATA_FORMAT.into()),
    }
}

/// The credentials in a token request.
pub(super) struct Credentials<'a> {
    pub(super) appid: Option<&'a str>,
    pub(super) grant_type: Option<&'a str>,
    pub(super) secret: Option<&'a str>,
}

impl Credentials<'_> {
    /// Returns the app if the credentials are valid. Like Weixin, it checks the AppID first.
    pub(super) fn authenticate<'s>(
        &self,
        apps: &'s HashMap<AppId, App>,
        client_ip: IpAddr,
    ) -> Result<(&'s AppId, &'s App), ApiError> {
        let appid = self.appid.ok_or(ErrCode::MISSING_APPID)?;
        let appid = AppId::new(appid).map_err(|_| ErrCode::INVALID_APPID)?;
        let (appid, app) = apps.get_key_value(&appid).ok_or(ErrCode::INVALID_APPID)?;
        if self.grant_type != Some(GRANT_TYPE) {
            return Err(ErrCode::INVALID_GRANT_TYPE.into());
        }
        app.check_secret(self.secret.ok_or(ErrCode::MISSING_SECRET)?)?;
        app.check_ip(client_ip)?;
        Ok((appid, app))
    }
}

/// Returns the app of the request's token, if the token is valid and the address is allowed.
pub(super) fn authenticate<'s>(
    state: &'s SandboxState,
    request: &Request<'_>,
    trace: &mut Trace,
) -> Result<(&'s AppId, &'s App), ApiError> {
    let query = Query::parse(request.query);
    let text = query.get("access_token").ok_or(ErrCode::MISSING_ACCESS_TOKEN)?;
    let (appid, app, token) = state.find_token(text).ok_or(ErrCode::INVALID_ACCESS_TOKEN)?;
    trace.token = Some(token.number);
    match token.validity(request.now) {
        TokenValidity::Valid => {}
        TokenValidity::Expired => return Err(ErrCode::ACCESS_TOKEN_EXPIRED.into()),
        TokenValidity::Superseded => return Err(ErrCode::INVALID_CREDENTIAL.into()),
    }
    app.check_ip(request.client_ip)?;
    Ok((appid, app))
}

/// Checks the limits of an endpoint. The call counts, whether the limits allow it or not.
pub(super) fn check_quota(
    appid: &AppId,
    app: &App,
    path: &'static str,
    now: Duration,
    limits: CallLimits,
    effects: &mut Vec<Effect>,
) -> Result<(), ErrCode> {
    effects.push(Effect::CountCall { appid: appid.clone(), path, limits });
    app.check_quota(path, now, limits)
}
