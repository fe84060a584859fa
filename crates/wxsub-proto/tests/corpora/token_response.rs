//! Any response to a token call is a token with a bounded lifetime, an API error or a decode error. `Debug` hides the token.

use std::time::Duration;

use wxsub_proto::endpoint::token::TokenResponse;

const MAX_LIFETIME: Duration = Duration::from_secs(7200);

/// The body of a response with status 200.
pub(crate) fn check(input: &[u8]) {
    let result = TokenResponse::parse(200, input);
    let shown = format!("{result:?}");
    let Ok(Ok(response)) = result else { return };
    assert!(response.expires_in <= MAX_LIFETIME, "{shown}");
    let token = response.access_token.expose_secret();
    assert!(!token.is_empty());
    assert!(token.len() < 16 || !shown.contains(token), "{shown}");
    let Ok(Ok(parsed_again)) = TokenResponse::parse(200, &response.to_json()) else { panic!("{shown}") };
    assert!(parsed_again.access_token.ct_eq(&response.access_token));
    assert_eq!(parsed_again.expires_in, response.expires_in);
}
