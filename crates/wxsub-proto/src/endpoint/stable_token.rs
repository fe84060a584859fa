//! `POST /cgi-bin/stable_token`: returns the same token until five minutes before it expires, so any number of callers
//! are safe. Its tokens and those of `/cgi-bin/token` do not affect each other.
//!
//! <https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken>

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::token::{GRANT_TYPE, check_grant_type};
use crate::codec::Request;
use crate::{AppId, AppSecret, LocalizedText, ValidationError};

pub use super::token::TokenResponse;

/// The path of the endpoint.
pub const PATH: &str = "/cgi-bin/stable_token";

/// Fetches the current token, or forces a new one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StableTokenRequest {
    /// The app of the token.
    pub appid: AppId,
    /// The AppSecret, sent in the body.
    pub secret: AppSecret,
    /// Invalidates the current token and issues another. Weixin allows 20 a day, and none within 30 s of the last.
    pub force_refresh: bool,
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    grant_type: Option<Cow<'a, str>>,
    appid: Option<Cow<'a, str>>,
    secret: Option<Cow<'a, str>>,
    force_refresh: Option<bool>,
}

impl StableTokenRequest {
    /// A request in normal mode: the same token until shortly before it expires.
    pub fn new(appid: AppId, secret: AppSecret) -> Self {
        Self { appid, secret, force_refresh: false }
    }

    /// Switches to force mode: a new token that invalidates the current one.
    #[must_use]
    pub fn force_refresh(self) -> Self {
        Self { force_refresh: true, ..self }
    }

    /// The request of a client.
    pub fn encode(&self) -> Request<'static> {
        let text = |text| Some(Cow::Borrowed(text));
        let (grant_type, appid) = (text(GRANT_TYPE), text(self.appid.as_str()));
        let (secret, force_refresh) = (text(self.secret.expose_secret()), Some(self.force_refresh));
        let body = Body { grant_type, appid, secret, force_refresh };
        // Plain text and a bool: writing them cannot fail.
        Request::post(PATH, Vec::new(), serde_json::to_vec(&body).unwrap_or_default())
    }

    /// Parses the request on the server side.
    ///
    /// # Errors
    /// [`ValidationError`] names `appid`, `grant_type` or `secret`, in the order in which Weixin checks them, or `body` if
    /// it is not a JSON object of the right kinds.
    pub fn decode(body: &[u8]) -> Result<Self, ValidationError> {
        let read: Body<'_> = serde_json::from_slice(body).map_err(|_| {
            let expected = LocalizedText::new(
                "a JSON object with grant_type, appid, secret and force_refresh",
                "是带有 grant_type、appid、secret 和 force_refresh 的 JSON 对象",
            );
            ValidationError::invalid_format("body", expected)
        })?;
        let required =
            |field, value: Option<Cow<'static, str>>| value.ok_or_else(|| ValidationError::missing(field));
        let appid = AppId::new(required("appid", read.appid)?)?;
        check_grant_type(&required("grant_type", read.grant_type)?)?;
        let secret = AppSecret::new(required("secret", read.secret)?)?;
        Ok(Self { appid, secret, force_refresh: read.force_refresh.unwrap_or(false) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> StableTokenRequest {
        StableTokenRequest::new("wx1".parse().unwrap(), AppSecret::new("PLANTED\"\\").unwrap())
    }

    #[test]
    fn encoded_form_decodes_to_itself() {
        for forced in [false, true] {
            let request = if forced { request().force_refresh() } else { request() };
            let decoded = StableTokenRequest::decode(request.encode().body()).unwrap();
            assert_eq!((decoded.appid, decoded.force_refresh), (request.appid, forced));
            assert_eq!(decoded.secret.expose_secret(), "PLANTED\"\\");
        }
    }

    #[test]
    fn the_secret_is_in_the_body_and_not_in_debug() {
        assert!(String::from_utf8_lossy(request().encode().body()).contains("PLANTED"));
        let shown = format!("{:?} {:?}", request(), request().encode());
        assert!(!shown.contains("PLANTED"), "{shown}");
    }

    #[test]
    fn server_side_error_names_the_field() {
        for (body, field) in [
            ("", "body"),
            ("[]", "body"),
            ("{}", "appid"),
            (r#"{"appid":"wx1"}"#, "grant_type"),
            (r#"{"appid":"wx1","grant_type":"x"}"#, "grant_type"),
            (r#"{"appid":"wx1","grant_type":"client_credential"}"#, "secret"),
            (r#"{"appid":7,"grant_type":"client_credential"}"#, "body"),
        ] {
            assert_eq!(StableTokenRequest::decode(body.as_bytes()).unwrap_err().field(), field, "{body}");
        }
    }
}
