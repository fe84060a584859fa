//! `POST /cgi-bin/message/template/subscribe`: sends one message against a grant. It has no idempotency key and no
//! status query: after a lost reply nobody can find out whether the message arrived.
//!
//! <https://developers.weixin.qq.com/doc/subscription/en/api/notify/subscribe/api_templatesubscribe.html>

use crate::codec::{QueryPair, Reply, Request, Unreadable, acknowledgement, decode_query};
use crate::{AccessToken, Invalid, Message, Rule};

/// The path of the endpoint.
pub const PATH: &str = "/cgi-bin/message/template/subscribe";

/// As the caller writes it: the token in the query, the message as raw UTF-8 in the body.
#[must_use]
pub fn encode<'a>(access_token: &'a AccessToken, message: &Message) -> Request<'a> {
    Request::post(PATH, vec![QueryPair::secret("access_token", access_token.expose())], message.to_json())
}

/// As the called side reads the query. The body is a [`Message`] or a [`Draft`](crate::message::Draft) of one.
///
/// # Errors
/// [`Invalid`] if there is no `access_token` or it is not visible ASCII.
pub fn decode_query_token(query: &str) -> Result<AccessToken, Invalid> {
    let form = Rule::Form { expected: "percent-encoded UTF-8" };
    let pairs = decode_query(query).map_err(|_| Invalid::new("query", form))?;
    let token = pairs.into_iter().find(|(name, _)| name == "access_token");
    AccessToken::new(token.ok_or_else(|| Invalid::new("access_token", Rule::Missing))?.1)
}

/// As the caller reads the reply: done, which is `errcode` 0 and nothing else, or refused with a code.
///
/// # Errors
/// [`Unreadable`] if the reply is not Weixin's word; the message may or may not have been sent.
pub fn read(status: u16, body: &[u8]) -> Result<Reply<()>, Unreadable> {
    acknowledgement(status, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BaseUrl, Grant, Scene};

    #[test]
    fn the_token_is_in_the_url_and_nowhere_else() {
        let token = AccessToken::new("PLANTED/token").unwrap();
        let grant = Grant::trusted("o".parse().unwrap(), "T".parse().unwrap(), Scene::new(1000).unwrap());
        let message = grant.message("t".parse().unwrap(), "汉\n\"é\"".parse().unwrap());
        let request = encode(&token, &message);
        let url = request.url(&BaseUrl::new("http://127.0.0.1:1/p").unwrap());
        assert_eq!(
            url,
            "http://127.0.0.1:1/p/cgi-bin/message/template/subscribe?access_token=PLANTED%2Ftoken"
        );
        assert_eq!(decode_query_token(url.split_once('?').unwrap().1).unwrap().expose(), "PLANTED/token");
        assert_eq!(
            String::from_utf8_lossy(request.body()),
            r#"{"touser":"o","template_id":"T","scene":"1000","title":"t","data":{"content":{"value":"汉\n\"é\""}}}"#
        );
        assert!(!format!("{request:?}").contains("PLANTED"));
    }

    #[test]
    fn a_query_without_token_is_named() {
        assert_eq!(
            decode_query_token("x=1").unwrap_err().to_string(),
            "access_token: is missing; it is required"
        );
        assert!(decode_query_token("access_token=").is_err());
    }
}
