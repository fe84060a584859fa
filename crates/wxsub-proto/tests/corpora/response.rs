//! Any response to a send is a success, an API error or a decode error. The text of an API error fits on one line of a log.

use wxsub_proto::ApiError;
use wxsub_proto::codec::DecodeError;
use wxsub_proto::endpoint::subscribe;

const PLANTED: &str = "PLANTED";

/// The first two bytes are the status, the rest is the body.
pub(crate) fn check(input: &[u8]) {
    let Some((status, body)) = input.split_first_chunk() else { return };
    let status = u16::from_be_bytes(*status);
    // Only status 200 reads the body, and random bytes rarely have it.
    for status in [status, 200] {
        match subscribe::parse_response(status, body) {
            Ok(Ok(())) => assert_eq!(status, 200),
            Ok(Err(error)) => check_api_error(&error),
            Err(DecodeError::UnexpectedStatus(named)) => assert!(named == status && status != 200),
            Err(error) => assert!(error.to_string().len() < 200),
        }
    }
}

fn check_api_error(error: &ApiError) {
    assert_ne!(error.errcode().get(), 0);
    assert!(error.errmsg().chars().count() <= 512);
    let text = format!("{error} {:?} {:?}", error.trace_id(), error.blocked_ip());
    assert!(!text.chars().any(char::is_control), "{text:?}");
    let redacted = error.redact(PLANTED);
    assert!(!format!("{redacted:?}").contains(PLANTED), "{redacted:?}");
    assert!(redacted.errmsg().chars().count() <= 512);
    assert_eq!(redacted.errcode(), error.errcode());
}
