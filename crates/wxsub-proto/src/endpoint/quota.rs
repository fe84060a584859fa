//! `POST /cgi-bin/openapi/quota/get`: how often an endpoint may still be called today. Asking takes nothing from it.
//!
//! <https://developers.weixin.qq.com/doc/service/api/apimanage/api_getapiquota>

use serde_json::json;

use crate::AccessToken;
use crate::codec::{DecodeError, QueryPair, Reply, Request, parse_envelope, parse_lenient_int};

/// The path of the endpoint.
pub const PATH: &str = "/cgi-bin/openapi/quota/get";

/// As the caller writes it: the token in the query, in the body the path asked about, such as
/// [`subscribe::PATH`](super::subscribe::PATH).
#[must_use]
pub fn encode<'a>(access_token: &'a AccessToken, path: &str) -> Request<'a> {
    let body = json!({ "cgi_path": path }).to_string().into_bytes();
    Request::post(PATH, vec![QueryPair::secret("access_token", access_token.expose_secret())], body)
}

/// The calls of one endpoint in one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quota {
    /// How many a day there may be.
    pub daily_limit: u64,
    /// How many of them are left today.
    pub remain: u64,
}

impl Quota {
    /// As the caller reads the reply.
    ///
    /// # Errors
    /// [`DecodeError`] if the reply is not Weixin's word; success must have `quota` with `daily_limit` and `remain`.
    pub fn read(status: u16, body: &[u8]) -> Result<Reply<Self>, DecodeError> {
        let object = match parse_envelope(status, body)? {
            Reply::Done(object) => object,
            Reply::Refused(refusal) => return Ok(Reply::Refused(refusal)),
        };
        let quota = object.get("quota").ok_or(DecodeError::MissingField("quota"))?;
        let count = |name| {
            let value = quota.get(name).ok_or(DecodeError::MissingField(name))?;
            let count = parse_lenient_int(value).ok().flatten().and_then(|count| u64::try_from(count).ok());
            count.ok_or(DecodeError::InvalidField(name))
        };
        Ok(Reply::Done(Self { daily_limit: count("daily_limit")?, remain: count("remain")? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BaseUrl;
    use crate::endpoint::subscribe;

    #[test]
    fn the_path_asked_about_is_in_the_body() {
        let token = AccessToken::new("PLANTED").unwrap();
        let request = encode(&token, subscribe::PATH);
        let url = request.url(&BaseUrl::new(BaseUrl::API).unwrap());
        assert!(url.ends_with("/cgi-bin/openapi/quota/get?access_token=PLANTED"));
        assert_eq!(request.body(), br#"{"cgi_path":"/cgi-bin/message/template/subscribe"}"#);
        assert!(!format!("{request:?}").contains("PLANTED"));
    }

    #[test]
    fn what_is_left_is_read() {
        let read = |body: &str| Quota::read(200, body.as_bytes());
        let full =
            r#"{"errcode":0,"errmsg":"ok","quota":{"daily_limit":100,"used":1,"remain":99},"rate_limit":{}}"#;
        assert_eq!(read(full), Ok(Reply::Done(Quota { daily_limit: 100, remain: 99 })));
        assert_eq!(read("{}"), Err(DecodeError::MissingField("quota")));
        assert_eq!(read(r#"{"quota":{"remain":1}}"#), Err(DecodeError::MissingField("daily_limit")));
        assert_eq!(
            read(r#"{"quota":{"daily_limit":1,"remain":-1}}"#),
            Err(DecodeError::InvalidField("remain"))
        );
        assert!(matches!(read(r#"{"errcode":76021,"errmsg":"x"}"#), Ok(Reply::Refused(_))));
    }
}
