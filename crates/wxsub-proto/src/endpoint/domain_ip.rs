//! `GET /cgi-bin/get_api_domain_ip`: the addresses of Weixin's API. It changes nothing, so it is the cheapest way to ask
//! whether an access token works.
//!
//! <https://developers.weixin.qq.com/doc/service/api/base/api_getapidomainip>

use crate::AccessToken;
use crate::codec::{DecodeError, QueryPair, Reply, Request, parse_envelope};

/// The path of the endpoint.
pub const PATH: &str = "/cgi-bin/get_api_domain_ip";

/// As the caller writes it: the token in the query.
#[must_use]
pub fn encode(access_token: &AccessToken) -> Request<'_> {
    Request::get(PATH, vec![QueryPair::secret("access_token", access_token.expose_secret())])
}

/// Without a token: whoever refuses this as Weixin does (41001) is Weixin, and no secret was needed to find out.
#[must_use]
pub fn request_unauthenticated() -> Request<'static> {
    Request::get(PATH, Vec::new())
}

/// As the caller reads the reply: the token works, or it was refused with a code.
///
/// # Errors
/// [`DecodeError`] if the reply is not Weixin's word; success must have an `ip_list`.
pub fn read(status: u16, body: &[u8]) -> Result<Reply<()>, DecodeError> {
    match parse_envelope(status, body)? {
        Reply::Refused(refusal) => Ok(Reply::Refused(refusal)),
        Reply::Done(object) => match object.get("ip_list") {
            Some(list) if list.is_array() => Ok(Reply::Done(())),
            Some(_) => Err(DecodeError::InvalidField("ip_list")),
            None => Err(DecodeError::MissingField("ip_list")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BaseUrl;

    #[test]
    fn the_token_is_in_the_url_and_not_in_debug() {
        let token = AccessToken::new("PLANTED/token").unwrap();
        let base = BaseUrl::new(BaseUrl::API).unwrap();
        let url = encode(&token).url(&base);
        assert_eq!(url, "https://api.weixin.qq.com/cgi-bin/get_api_domain_ip?access_token=PLANTED%2Ftoken");
        assert!(!format!("{:?}", encode(&token)).contains("PLANTED"));
        assert_eq!(request_unauthenticated().url(&base), format!("{base}{PATH}"));
    }

    #[test]
    fn only_a_list_of_addresses_is_success() {
        let read = |body: &str| read(200, body.as_bytes());
        assert_eq!(read(r#"{"ip_list":["127.0.0.1"]}"#), Ok(Reply::Done(())));
        let Ok(Reply::Refused(refusal)) = read(r#"{"errcode":41001,"errmsg":"access_token missing"}"#) else {
            panic!("not refused")
        };
        assert_eq!(refusal.errcode().get(), 41001);
        assert_eq!(read("{}"), Err(DecodeError::MissingField("ip_list")));
        assert_eq!(read(r#"{"ip_list":"x"}"#), Err(DecodeError::InvalidField("ip_list")));
        assert_eq!(read("<html>"), Err(DecodeError::HtmlBody));
    }
}
