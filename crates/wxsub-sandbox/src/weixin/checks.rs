//! The checks that several endpoints share: method, body, credentials and access_token.

use std::collections::HashMap;
use std::net::IpAddr;

use wxsub_proto::endpoint::token::GRANT_TYPE;
use wxsub_proto::{AppId, ErrCode};

use crate::api_error::ApiError;
use crate::app::{App, TokenValidity};
use crate::event_log::Trace;
use crate::request::{Query, Request};
use crate::state::SandboxState;

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
    pub(super) fn authenticate<'w>(
        &self,
        apps: &'w mut HashMap<AppId, App>,
        client_ip: IpAddr,
        trace: &mut Trace,
    ) -> Result<&'w mut App, ApiError> {
        let appid = self.appid.ok_or(ErrCode::MISSING_APPID)?;
        let appid = AppId::new(appid).map_err(|_| ErrCode::INVALID_APPID)?;
        let app = apps.get_mut(&appid).ok_or(ErrCode::INVALID_APPID)?;
        trace.appid = Some(appid);
        if self.grant_type != Some(GRANT_TYPE) {
            return Err(ErrCode::INVALID_GRANT_TYPE.into());
        }
        app.check_secret(self.secret.ok_or(ErrCode::MISSING_SECRET)?)?;
        app.check_ip(client_ip)?;
        Ok(app)
    }
}

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
