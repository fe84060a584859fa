//! The token of an app: the response that carries it, and the report that it no longer works.
//!
//! The token is a secret type on both sides. Only serialization exposes it.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use wxsub_proto::AccessToken;

/// The current token of an app.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Token))]
pub struct TokenResponse<'a> {
    /// The token.
    #[serde(serialize_with = "expose", deserialize_with = "read")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub access_token: Cow<'a, AccessToken>,
    /// Seconds for which a client may cache the token.
    pub expires_in: u64,
    /// The number of the token. It only grows.
    pub generation: u64,
}

/// The body of a report: the token that Weixin rejected. The server ignores other members, so that it may be the response of a read.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReportRequest<'a> {
    /// The rejected token.
    #[serde(serialize_with = "expose")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub access_token: Cow<'a, AccessToken>,
}

fn expose<S: Serializer>(token: &AccessToken, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.expose_secret())
}

/// An error never shows the text.
fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'static, AccessToken>, D::Error> {
    let token = AccessToken::new(String::deserialize(deserializer)?);
    token.map(Cow::Owned).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_round_trips_and_stays_secret() {
        let text = r#"{"access_token":"PLANTED","expires_in":7200,"generation":3}"#;
        let response: TokenResponse<'_> = serde_json::from_str(text).unwrap();
        assert_eq!((response.access_token.expose_secret(), response.generation), ("PLANTED", 3));
        assert_eq!(serde_json::to_string(&response).unwrap(), text);
        assert!(!format!("{response:?}").contains("PLANTED"));
        let report = ReportRequest { access_token: Cow::Borrowed(&*response.access_token) };
        assert_eq!(serde_json::to_string(&report).unwrap(), r#"{"access_token":"PLANTED"}"#);
    }

    #[test]
    fn invalid_token_is_an_error_that_does_not_show_it() {
        for bad in [r#""PLANTED x""#, r#""""#, "1", "null"] {
            let text = format!(r#"{{"access_token":{bad},"expires_in":7200,"generation":3}}"#);
            let error = serde_json::from_str::<TokenResponse<'_>>(&text).unwrap_err().to_string();
            assert!(!error.contains("PLANTED"), "{error}");
        }
    }
}
