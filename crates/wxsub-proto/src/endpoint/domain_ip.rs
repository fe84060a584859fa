//! `GET /cgi-bin/get_api_domain_ip`: the addresses of Weixin's API. It changes nothing. It is the cheapest check of an
//! access token.
//!
//! <https://developers.weixin.qq.com/doc/service/api/base/api_getapidomainip>

use crate::codec::{DecodeError, QueryPair, Request, parse_envelope};
use crate::{AccessToken, ApiError};

/// The path of the endpoint.
pub const PATH: &str = "/cgi-bin/get_api_domain_ip";

/// The request, with the token in the query.
pub fn request(access_token: &AccessToken) -> Request<'_> {
    Request::get(PATH, vec![QueryPair::secret("access_token", access_token.expose_secret())])
}

/// The request without a token. A response 41001 proves that Weixin answers, without showing a secret.
pub fn request_unauthenticated() -> Request<'static> {
    Request::get(PATH, Vec::new())
}

/// Decodes the response: the token works, or an API error.
///
/// # Errors
/// [`DecodeError`] if the response does not come from Weixin. A success must have an `ip_list`.
pub fn parse_response(status: u16, body: &[u8]) -> Result<Result<(), ApiError>, DecodeError> {
    parse_envelope(status, body, |object| match object.get("ip_list") {
        Some(list) if list.is_array() => Ok(()),
        Some(_) => Err(DecodeError::InvalidField("ip_list")),
        None => Err(DecodeError::MissingField("ip_list")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BaseUrl;

    #[test]
    fn the_token_is_in_the_url_and_not_in_debug() {
        let token = AccessToken::new("PLANTED/token").unwrap();
        let base = BaseUrl::new(BaseUrl::API).unwrap();
        let url = request(&token).url(&base);
        assert_eq!(url, "https://api.weixin.qq.com/cgi-bin/get_api_domain_ip?access_token=PLANTED%2Ftoken");
        assert!(!format!("{:?}", request(&token)).contains("PLANTED"));
        assert_eq!(request_unauthenticated().url(&base), format!("{base}{PATH}"));
    }

    #[test]
    fn only_a_list_of_addresses_is_success() {
        let read = |body: &str| parse_response(200, body.as_bytes());
        assert_eq!(read(r#"{"ip_list":["127.0.0.1"]}"#), Ok(Ok(())));
        let Ok(Err(refusal)) = read(r#"{"errcode":41001,"errmsg":"access_token missing"}"#) else {
            panic!("not refused")
        };
        assert_eq!(refusal.errcode().get(), 41001);
        assert_eq!(read("{}"), Err(DecodeError::MissingField("ip_list")));
        assert_eq!(read(r#"{"ip_list":"x"}"#), Err(DecodeError::InvalidField("ip_list")));
        assert_eq!(read("<html>"), Err(DecodeError::HtmlBody));
    }
}
