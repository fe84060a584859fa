//! Checks AppID and AppSecret, for both token endpoints.

use std::collections::HashMap;
use std::net::IpAddr;

use wxsub_proto::endpoint::token::GRANT_TYPE;
use wxsub_proto::{AppId, ErrCode};

use crate::api_error::ApiError;
use crate::app::App;
use crate::event_log::Trace;

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
