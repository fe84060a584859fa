//! `GET /cgi-bin/token`: fetches an access token and so ends the one before it. Both work for about five minutes.
//!
//! <https://developers.weixin.qq.com/doc/oplatform/developers/dev/AccessToken.html>

use std::time::Duration;

use serde_json::json;

use crate::codec::{DecodeError, QueryPair, Reply, Request, decode_query, parse_envelope, parse_lenient_int};
use crate::{AccessToken, AppId, AppSecret, ValidationError, ValidationErrorKind};

/// The path of the endpoint.
pub const PATH: &str = "/cgi-bin/token";

/// The only `grant_type` there is.
pub const GRANT_TYPE: &str = "client_credential";

/// The longest life a token can have; a longer one in a reply counts as this.
pub const MAX_LIFETIME: Duration = Duration::from_secs(7200);

/// Asks for a new token.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TokenRequest {
    /// Whose token.
    pub appid: AppId,
    /// The proof of being that app; travels in the query.
    pub secret: AppSecret,
}

impl TokenRequest {
    /// For this app.
    #[must_use]
    pub fn new(appid: AppId, secret: AppSecret) -> Self {
        Self { appid, secret }
    }

    /// As the caller writes it.
    #[must_use]
    pub fn encode(&self) -> Request<'_> {
        let query = vec![
            QueryPair::public("grant_type", GRANT_TYPE),
            QueryPair::public("appid", self.appid.as_str()),
            QueryPair::secret("secret", self.secret.expose_secret()),
        ];
        Request::get(PATH, query)
    }

    /// As the called side reads it.
    ///
    /// # Errors
    /// [`ValidationError`] names `appid`, `grant_type` or `secret`, in the order in which Weixin checks them.
    pub fn decode(query: &str) -> Result<Self, ValidationError> {
        let form = ValidationErrorKind::InvalidFormat { expected: "percent-encoded UTF-8" };
        let pairs = decode_query(query).map_err(|_| ValidationError::new("query", form))?;
        let text = |field| {
            let value = pairs.iter().find(|(name, _)| name == field).map(|(_, value)| value.as_str());
            value.ok_or_else(|| ValidationError::new(field, ValidationErrorKind::Missing))
        };
        let appid = text("appid")?.parse()?;
        check_grant_type(text("grant_type")?)?;
        Ok(Self { appid, secret: text("secret")?.parse()? })
    }
}

pub(super) fn check_grant_type(text: &str) -> Result<(), ValidationError> {
    match text {
        GRANT_TYPE => Ok(()),
        _ => Err(ValidationError::new(
            "grant_type",
            ValidationErrorKind::InvalidFormat { expected: GRANT_TYPE },
        )),
    }
}

/// A token and how long it lives from the moment it was asked for. The reply of both token endpoints.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TokenResponse {
    /// The token.
    pub access_token: AccessToken,
    /// Its life: whole seconds, 1 to [`MAX_LIFETIME`].
    pub expires_in: Duration,
}

impl TokenResponse {
    /// This token, living for this long (at most [`MAX_LIFETIME`]).
    #[must_use]
    pub fn new(access_token: AccessToken, expires_in: Duration) -> Self {
        Self { access_token, expires_in: expires_in.min(MAX_LIFETIME) }
    }

    /// As the caller reads it. `expires_in` may be a number or text; more than two hours count as two hours.
    ///
    /// # Errors
    /// [`DecodeError`] for another status than 200, for what is not one JSON object, for a token that is absent, empty,
    /// longer than [`AccessToken::MAX_LENGTH`] or not visible ASCII, for a life that is absent, zero or negative.
    pub fn read(status: u16, body: &[u8]) -> Result<Reply<Self>, DecodeError> {
        let object = match parse_envelope(status, body)? {
            Reply::Done(object) => object,
            Reply::Refused(refusal) => return Ok(Reply::Refused(refusal)),
        };
        let text = object.get("access_token").ok_or(DecodeError::MissingField("access_token"))?;
        let access_token = text.as_str().and_then(|text| AccessToken::new(text).ok());
        let access_token = access_token.ok_or(DecodeError::InvalidField("access_token"))?;
        let life = object
            .get("expires_in")
            .map(parse_lenient_int)
            .transpose()
            .map_err(|_| DecodeError::InvalidField("expires_in"))?;
        let life = life.flatten().ok_or(DecodeError::MissingField("expires_in"))?;
        match u64::try_from(life) {
            Ok(seconds) if seconds > 0 => {
                Ok(Reply::Done(Self::new(access_token, Duration::from_secs(seconds))))
            }
            _ => Err(DecodeError::InvalidField("expires_in")),
        }
    }

    /// As the called side writes it. The bytes hold the token.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        json!({"access_token": self.access_token.expose_secret(), "expires_in": self.expires_in.as_secs()})
            .to_string()
            .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BaseUrl, ErrCode};

    fn read(body: &str) -> Result<u64, String> {
        match TokenResponse::read(200, body.as_bytes()) {
            Ok(Reply::Done(reply)) => Ok(reply.expires_in.as_secs()),
            Ok(Reply::Refused(refusal)) => Err(refusal.errcode().to_string()),
            Err(unreadable) => Err(unreadable.to_string()),
        }
    }

    #[test]
    fn the_secret_is_in_the_url_and_nowhere_else() {
        let request = TokenRequest::new("wx1".parse().unwrap(), AppSecret::new("PLANTED+/=").unwrap());
        let base = BaseUrl::new(BaseUrl::API).unwrap();
        assert_eq!(
            request.encode().url(&base),
            "https://api.weixin.qq.com/cgi-bin/token?grant_type=client_credential&appid=wx1&secret=PLANTED%2B%2F%3D"
        );
        assert_eq!(
            format!("{:?}", request.encode()),
            "GET /cgi-bin/token?grant_type=client_credential&appid=wx1&secret=***"
        );
        assert!(!format!("{request:?}").contains("PLANTED"));
    }

    #[test]
    fn what_is_written_is_read() {
        let request = TokenRequest::new("wx1".parse().unwrap(), AppSecret::new("s%/&=+").unwrap());
        let url = request.encode().url(&BaseUrl::new(BaseUrl::API).unwrap());
        let decoded = TokenRequest::decode(url.split_once('?').unwrap().1).unwrap();
        assert_eq!((decoded.appid, decoded.secret.expose_secret()), (request.appid, "s%/&=+"));
        let reply = TokenResponse::new(AccessToken::new("T").unwrap(), Duration::from_secs(7200));
        assert_eq!(read(&String::from_utf8(reply.to_json()).unwrap()), Ok(7200));
    }

    #[test]
    fn the_called_side_names_what_is_wrong() {
        for (query, field) in [
            ("", "appid"),
            ("appid=wx%201&grant_type=client_credential&secret=s", "appid"),
            ("appid=wx1&secret=s", "grant_type"),
            ("appid=wx1&grant_type=password&secret=s", "grant_type"),
            ("appid=wx1&grant_type=client_credential", "secret"),
            ("appid=wx1&grant_type=client_credential&secret=", "secret"),
            ("appid=%ff", "query"),
        ] {
            assert_eq!(TokenRequest::decode(query).unwrap_err().field(), field, "{query}");
        }
    }

    #[test]
    fn odd_lives_and_tokens() {
        let of = |life: &str| read(&format!(r#"{{"access_token":"T","expires_in":{life}}}"#));
        for (life, seconds) in [
            ("7200", 7200),
            ("\"7200\"", 7200),
            ("7200.0", 7200),
            ("1", 1),
            ("1e12", 7200),
            ("18446744073709551615", 7200),
        ] {
            assert_eq!(of(life), Ok(seconds), "{life}");
        }
        for life in ["0", "-1", "null", "\"soon\"", "1.5", "true", "[]", "\"\"", "-1e300"] {
            assert!(of(life).is_err(), "{life}");
        }
        for token in ["\"\"", "null", "7", "\"a\\nb\"", &format!("\"{}\"", "t".repeat(4096))] {
            assert!(read(&format!(r#"{{"access_token":{token},"expires_in":7200}}"#)).is_err(), "{token}");
        }
        assert!(read(r#"{"access_token":"T"}"#).is_err());
        assert!(read(r#"{"expires_in":7200}"#).is_err());
        assert_eq!(
            read(r#"{"errcode":40013,"errmsg":"invalid appid"}"#),
            Err(ErrCode::INVALID_APPID.to_string())
        );
        assert_eq!(read(r#"{"errcode":0,"access_token":"T","expires_in":9}"#), Ok(9));
    }

    proptest::proptest! {
        #[test]
        fn a_life_is_always_within_bounds(body in ".*", life: i64) {
            let _reply = TokenResponse::read(200, body.as_bytes());
            if let Ok(seconds) = read(&format!(r#"{{"access_token":"T","expires_in":{life}}}"#)) {
                assert!((1..=7200).contains(&seconds));
            }
        }
    }
}
