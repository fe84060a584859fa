//! `POST /cgi-bin/openapi/quota/get`: the remaining daily calls of an endpoint. This call does not count towards them.
//!
//! <https://developers.weixin.qq.com/doc/service/api/apimanage/api_getapiquota>

use serde_json::json;

use crate::codec::{DecodeError, QueryPair, Request, parse_envelope, parse_lenient_int};
use crate::{AccessToken, ApiError};

/// The path of the endpoint.
pub const PATH: &str = "/cgi-bin/openapi/quota/get";

/// The request: the token in the query, and in the body the path of the endpoint in question, such as
/// [`subscribe::PATH`](super::subscribe::PATH).
pub fn request<'a>(access_token: &'a AccessToken, path: &str) -> Request<'a> {
    let body = json!({ "cgi_path": path }).to_string().into_bytes();
    Request::post(PATH, vec![QueryPair::secret("access_token", access_token.expose_secret())], body)
}

/// The daily quota of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quota {
    /// The calls allowed per day.
    pub daily_limit: u64,
    /// The calls left today.
    pub remain: u64,
}

impl Quota {
    /// Decodes the response.
    ///
    /// # Errors
    /// [`DecodeError`] if the response does not come from Weixin. A success must have `quota` with `daily_limit` and `remain`.
    pub fn parse_response(status: u16, body: &[u8]) -> Result<Result<Self, ApiError>, DecodeError> {
        parse_envelope(status, body, |object| {
            let quota = object.get("quota").ok_or(DecodeError::MissingField("quota"))?;
            let count = |name| {
                let value = quota.get(name).ok_or(DecodeError::MissingField(name))?;
                let count =
                    parse_lenient_int(value).ok().flatten().and_then(|count| u64::try_from(count).ok());
                count.ok_or(DecodeError::InvalidField(name))
            };
            Ok(Self { daily_limit: count("daily_limit")?, remain: count("remain")? })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BaseUrl;
    use crate::endpoint::subscribe;

    #[test]
    fn path_of_the_endpoint_is_in_the_body() {
        let token = AccessToken::new("PLANTED").unwrap();
        let request = request(&token, subscribe::PATH);
        let url = request.url(&BaseUrl::new(BaseUrl::API).unwrap());
        assert!(url.ends_with("/cgi-bin/openapi/quota/get?access_token=PLANTED"));
        assert_eq!(request.body(), br#"{"cgi_path":"/cgi-bin/message/template/subscribe"}"#);
        assert!(!format!("{request:?}").contains("PLANTED"));
    }

    #[test]
    fn remaining_quota_is_parsed() {
        let read = |body: &str| Quota::parse_response(200, body.as_bytes());
        let full =
            r#"{"errcode":0,"errmsg":"ok","quota":{"daily_limit":100,"used":1,"remain":99},"rate_limit":{}}"#;
        assert_eq!(read(full), Ok(Ok(Quota { daily_limit: 100, remain: 99 })));
        assert_eq!(read("{}"), Err(DecodeError::MissingField("quota")));
        assert_eq!(read(r#"{"quota":{"remain":1}}"#), Err(DecodeError::MissingField("daily_limit")));
        assert_eq!(
            read(r#"{"quota":{"daily_limit":1,"remain":-1}}"#),
            Err(DecodeError::InvalidField("remain"))
        );
        assert!(matches!(read(r#"{"errcode":76021,"errmsg":"x"}"#), Ok(Err(_))));
    }
}
