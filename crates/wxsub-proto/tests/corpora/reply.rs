//! Whatever answers a send is read as done, a refusal, or unreadable; the text of a refusal is fit for one line of a log.

use wxsub_proto::ApiError;
use wxsub_proto::codec::DecodeError;
use wxsub_proto::endpoint::subscribe;

const PLANTED: &str = "PLANTED";

/// The first two bytes are the status, the rest is the body.
pub(crate) fn holds(input: &[u8]) {
    let Some((status, body)) = input.split_first_chunk() else { return };
    let status = u16::from_be_bytes(*status);
    // Most statuses say the same, so that a second reading always takes the body at its word.
    for status in [status, 200] {
        match subscribe::parse_response(status, body) {
            Ok(Ok(())) => assert_eq!(status, 200),
            Ok(Err(refusal)) => fits_on_one_line(&refusal),
            Err(DecodeError::UnexpectedStatus(said)) => assert!(said == status && status != 200),
            Err(unreadable) => assert!(unreadable.to_string().len() < 200),
        }
    }
}

fn fits_on_one_line(refusal: &ApiError) {
    assert_ne!(refusal.errcode().get(), 0);
    assert!(refusal.errmsg().chars().count() <= 512);
    let said = format!("{refusal} {:?} {:?}", refusal.trace_id(), refusal.blocked_ip());
    assert!(!said.chars().any(char::is_control), "{said:?}");
    let without = refusal.redact(PLANTED);
    assert!(!format!("{without:?}").contains(PLANTED), "{without:?}");
    assert!(without.errmsg().chars().count() <= 512);
    assert_eq!(without.errcode(), refusal.errcode());
}
