//! A call of an endpoint, with the checks that several endpoints share: method, body, credentials, access_token and quota.

use wxsub_proto::endpoint::token::GRANT_TYPE;
use wxsub_proto::{AppId, ErrCode};

use crate::api_error::ApiError;
use crate::app::{App, CallLimits, TokenValidity};
use crate::event_log::Trace;
use crate::request::{Query, Request};
use crate::state::{Effect, SandboxState};

/// One call of an endpoint: what it reads, and what it records.
pub(super) struct Call<'a> {
    pub(super) state: &'a SandboxState,
    pub(super) request: &'a Request<'a>,
    pub(super) trace: &'a mut Trace,
    pub(super) effects: &'a mut Vec<Effect>,
}

impl<'a> Call<'a> {
    /// Rejects every method but POST.
    pub(super) fn require_post(&self) -> Result<(), ApiError> {
        match self.request.method {
            "POST" => Ok(()),
            _ => Err(ErrCode::REQUIRE_POST.into()),
        }
    }

    /// The request body. An empty body is an error.
    pub(super) fn body(&self) -> Result<&'a [u8], ApiError> {
        match self.request.body {
            Some(b"") => Err(ErrCode::EMPTY_POST_DATA.into()),
            Some(body) => Ok(body),
            // The body exceeds the sandbox's limit. Weixin does not document its error for that.
            None => Err(ErrCode::DATA_FORMAT.into()),
        }
    }

    /// Returns the app if these members of a token request are valid. Like Weixin, it checks the AppID first.
    pub(super) fn authenticate_with<'m>(
        &self,
        member: impl Fn(&'static str) -> Option<&'m str>,
    ) -> Result<(&'a AppId, &'a App), ApiError> {
        let appid = member("appid").ok_or(ErrCode::MISSING_APPID)?;
        let appid = AppId::new(appid).map_err(|_| ErrCode::INVALID_APPID)?;
        let (appid, app) = self.state.apps.get_key_value(&appid).ok_or(ErrCode::INVALID_APPID)?;
        if member("grant_type") != Some(GRANT_TYPE) {
            return Err(ErrCode::INVALID_GRANT_TYPE.into());
        }
        app.check_secret(member("secret").ok_or(ErrCode::MISSING_SECRET)?)?;
        app.check_ip(self.request.client_ip)?;
        Ok((appid, app))
    }

    /// Returns the app of the request's token, if the token is valid and the address is allowed.
    pub(super) fn authenticate(&mut self) -> Result<(&'a AppId, &'a App), ApiError> {
        let query = Query::parse(self.request.query);
        let text = query.get("access_token").ok_or(ErrCode::MISSING_ACCESS_TOKEN)?;
        let (appid, app, token) = self.state.find_token(text).ok_or(ErrCode::INVALID_ACCESS_TOKEN)?;
        self.trace.token = Some(token.number);
        match token.validity(self.request.now) {
            TokenValidity::Valid => {}
            TokenValidity::Expired => return Err(ErrCode::ACCESS_TOKEN_EXPIRED.into()),
            TokenValidity::Superseded => return Err(ErrCode::INVALID_CREDENTIAL.into()),
        }
        app.check_ip(self.request.client_ip)?;
        Ok((appid, app))
    }

    /// Checks the limits of an endpoint. The call counts unless it exceeds them.
    pub(super) fn check_quota(
        &mut self,
        appid: &AppId,
        app: &App,
        path: &'static str,
        limits: CallLimits,
    ) -> Result<(), ErrCode> {
        self.effects.push(Effect::CountCall { appid: appid.clone(), path, limits });
        app.check_quota(path, self.request.now, limits)
    }
}
