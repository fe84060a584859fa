//! `POST /cgi-bin/message/template/subscribe`: sends one message against a grant. Weixin has no idempotency key and no
//! status query. After a lost response the outcome stays unknown.
//!
//! <https://developers.weixin.qq.com/doc/subscription/en/api/notify/subscribe/api_templatesubscribe.html>

use crate::codec::{DecodeError, QueryPair, Request, acknowledgement, decode_query};
use crate::{AccessToken, ApiError, Message, ValidationError};

/// The path of the endpoint.
pub const PATH: &str = "/cgi-bin/message/template/subscribe";

/// The request: the token in the query, the message as raw UTF-8 in the body.
pub fn request<'a>(access_token: &'a AccessToken, message: &Message) -> Request<'a> {
    Request::post(
        PATH,
        vec![QueryPair::secret("access_token", access_token.expose_secret())],
        message.to_json(),
    )
}

/// Parses the query on the server side. The body is a [`Message`] or a [`MessageDraft`](crate::message::MessageDraft).
///
/// # Errors
/// [`ValidationError`] if there is no `access_token` or it is not visible ASCII.
pub fn access_token_from_query(query: &str) -> Result<AccessToken, ValidationError> {
    let token = decode_query(query)?.into_iter().find(|(name, _)| name == "access_token");
    AccessToken::new(token.ok_or_else(|| ValidationError::missing("access_token"))?.1)
}

/// Decodes the response: success, which is `errcode` 0 and nothing else, or an API error.
///
/// # Errors
/// [`DecodeError`] if the response does not come from Weixin. The message may have been sent.
pub fn parse_response(status: u16, body: &[u8]) -> Result<Result<(), ApiError>, DecodeError> {
    acknowledgement(status, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BaseUrl, Grant};

    #[test]
    fn the_token_is_in_the_url_and_nowhere_else() {
        let token = AccessToken::new("PLANTED/token").unwrap();
        let grant = Grant::assume_verified("o", "T", 1000).unwrap();
        let message = Message::builder(grant).title("t").content("汉\n\"é\"").build().unwrap();
        let request = request(&token, &message);
        let url = request.url(&BaseUrl::new("http://127.0.0.1:1/p").unwrap());
        assert_eq!(
            url,
            "http://127.0.0.1:1/p/cgi-bin/message/template/subscribe?access_token=PLANTED%2Ftoken"
        );
        assert_eq!(
            access_token_from_query(url.split_once('?').unwrap().1).unwrap().expose_secret(),
            "PLANTED/token"
        );
        assert_eq!(
            String::from_utf8_lossy(request.body()),
            r#"{"touser":"o","template_id":"T","scene":"1000","title":"t","data":{"content":{"value":"汉\n\"é\""}}}"#
        );
        assert!(!format!("{request:?}").contains("PLANTED"));
    }

    #[test]
    fn query_without_token_is_rejected() {
        assert_eq!(
            access_token_from_query("x=1").unwrap_err().to_string(),
            "access_token: is missing; it is required"
        );
        assert!(access_token_from_query("access_token=").is_err());
    }
}
