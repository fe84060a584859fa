//! Whatever answers a token call is a token with a bounded life, a refusal, or unreadable; a token never shows by itself.

use std::time::Duration;

use wxsub_proto::endpoint::token::TokenResponse;

const TWO_HOURS: Duration = Duration::from_secs(7200);

pub(crate) fn holds(input: &[u8]) {
    let read = TokenResponse::parse(200, input);
    let shown = format!("{read:?}");
    let Ok(Ok(reply)) = read else { return };
    assert!(reply.expires_in <= TWO_HOURS, "{shown}");
    let token = reply.access_token.expose_secret();
    assert!(!token.is_empty());
    assert!(token.len() < 16 || !shown.contains(token), "{shown}");
    let Ok(Ok(again)) = TokenResponse::parse(200, &reply.to_json()) else { panic!("{shown}") };
    assert!(again.access_token.ct_eq(&reply.access_token));
    assert_eq!(again.expires_in, reply.expires_in);
}
