//! `GET /cgi-bin/token`: fetches an access token and invalidates the previous one, which works for about five more minutes.
//!
//! <https://developers.weixin.qq.com/doc/oplatform/developers/dev/AccessToken.html>

use std::time::Duration;

use serde_json::json;

use crate::codec::{DecodeError, QueryPair, Request, decode_query, parse_envelope, parse_lenient_int};
use crate::{AccessToken, ApiError, AppId, AppSecret, LocalizedText, ValidationError};

/// The path of the endpoint.
pub const PATH: &str = "/cgi-bin/token";

/// The only `grant_type`.
pub const GRANT_TYPE: &str = "client_credential";

/// The maximum lifetime of a token. A longer one in a response counts as this.
pub const MAX_LIFETIME: Duration = Duration::from_secs(7200);

/// Fetches a new token.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TokenRequest {
    /// The app of the token.
    pub appid: AppId,
    /// The AppSecret, sent in the query.
    pub secret: AppSecret,
}

impl TokenRequest {
    /// A request for this app.
    pub fn new(appid: AppId, secret: AppSecret) -> Self {
        Self { appid, secret }
    }

    /// The request of a client.
    pub fn encode(&self) -> Request<'_> {
        let query = vec![
            QueryPair::public("grant_type", GRANT_TYPE),
            QueryPair::public("appid", self.appid.as_str()),
            QueryPair::secret("secret", self.secret.expose_secret()),
        ];
        Request::get(PATH, query)
    }

    /// Parses the request on the server side.
    ///
    /// # Errors
    /// [`ValidationError`] names `appid`, `grant_type` or `secret`, in the order in which Weixin checks them.
    pub fn decode(query: &str) -> Result<Self, ValidationError> {
        let pairs = decode_query(query)?;
        let text = |field| {
            let value = pairs.iter().find(|(name, _)| name == field).map(|(_, value)| value.as_str());
            value.ok_or_else(|| ValidationError::missing(field))
        };
        let appid = text("appid")?.parse()?;
        check_grant_type(text("grant_type")?)?;
        Ok(Self { appid, secret: text("secret")?.parse()? })
    }
}

pub(super) fn check_grant_type(text: &str) -> Result<(), ValidationError> {
    match text {
        GRANT_TYPE => Ok(()),
        _ => Err(ValidationError::invalid_format(
            "grant_type",
            LocalizedText::new(GRANT_TYPE, "是 client_credential"),
        )),
    }
}

/// A token and its lifetime, counted from the request. The response of both token endpoints.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TokenResponse {
    /// The token.
    pub access_token: AccessToken,
    /// The lifetime: whole seconds, 1 to [`MAX_LIFETIME`].
    pub expires_in: Duration,
}

impl TokenResponse {
    /// A response with this token and lifetime (at most [`MAX_LIFETIME`]).
    pub fn new(access_token: AccessToken, expires_in: Duration) -> Self {
        Self { access_token, expires_in: expires_in.min(MAX_LIFETIME) }
    }

    /// Decodes the response. `expires_in` may be a number or text. More than two hours count as two hours.
    ///
    /// # Errors
    /// [`DecodeError`] for a status other than 200, a body that is not one JSON object, a token that is absent, empty,
    /// longer than [`AccessToken::MAX_LENGTH`] or not visible ASCII, or a lifetime that is absent, zero or negative.
    pub fn parse(status: u16, body: &[u8]) -> Result<Result<Self, ApiError>, DecodeError> {
        parse_envelope(status, body, |object| {
            let text = object.get("access_token").ok_or(DecodeError::MissingField("access_token"))?;
            let access_token = text.as_str().and_then(|text| AccessToken::new(text).ok());
            let access_token = access_token.ok_or(DecodeError::InvalidField("access_token"))?;
            let lifetime = object.get("expires_in").map(parse_lenient_int).transpose();
            let lifetime = lifetime.map_err(|_| DecodeError::InvalidField("expires_in"))?;
            match u64::try_from(lifetime.flatten().ok_or(DecodeError::MissingField("expires_in"))?) {
                Ok(seconds) if seconds > 0 => Ok(Self::new(access_token, Duration::from_secs(seconds))),
                _ => Err(DecodeError::InvalidField("expires_in")),
            }
        })
    }

    /// Writes the response on the server side. The bytes contain the token.
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
        match TokenResponse::parse(200, body.as_bytes()) {
            Ok(Ok(response)) => Ok(response.expires_in.as_secs()),
            Ok(Err(refusal)) => Err(refusal.errcode().to_string()),
            Err(error) => Err(error.to_string()),
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
    fn encoded_form_decodes_to_itself() {
        let request = TokenRequest::new("wx1".parse().unwrap(), AppSecret::new("s%/&=+").unwrap());
        let url = request.encode().url(&BaseUrl::new(BaseUrl::API).unwrap());
        let decoded = TokenRequest::decode(url.split_once('?').unwrap().1).unwrap();
        assert_eq!((decoded.appid, decoded.secret.expose_secret()), (request.appid, "s%/&=+"));
        let response = TokenResponse::new(AccessToken::new("T").unwrap(), Duration::from_secs(7200));
        assert_eq!(read(&String::from_utf8(response.to_json()).unwrap()), Ok(7200));
    }

    #[test]
    fn server_side_error_names_the_field() {
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
    fn odd_lifetimes_and_tokens() {
        let of = |lifetime: &str| read(&format!(r#"{{"access_token":"T","expires_in":{lifetime}}}"#));
        for (lifetime, seconds) in [
            ("7200", 7200),
            ("\"7200\"", 7200),
            ("7200.0", 7200),
            ("1", 1),
            ("1e12", 7200),
            ("18446744073709551615", 7200),
        ] {
            assert_eq!(of(lifetime), Ok(seconds), "{lifetime}");
        }
        for lifetime in ["0", "-1", "null", "\"soon\"", "1.5", "true", "[]", "\"\"", "-1e300"] {
            assert!(of(lifetime).is_err(), "{lifetime}");
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
        fn lifetime_is_always_within_bounds(body in ".*", lifetime: i64) {
            let _result = TokenResponse::parse(200, body.as_bytes());
            if let Ok(seconds) = read(&format!(r#"{{"access_token":"T","expires_in":{lifetime}}}"#)) {
                assert!((1..=7200).contains(&seconds));
            }
        }
    }
}
