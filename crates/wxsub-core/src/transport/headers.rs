use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

/// Returns the `Date` header of a response, for [`RawResponse::dated`](wxsub_proto::codec::RawResponse::dated).
#[must_use]
pub fn date_of(headers: &HeaderMap) -> Option<String> {
    headers.get(DATE)?.to_str().ok().map(str::to_owned)
}

/// Returns the `Retry-After` header of a response, for
/// [`RawResponse::retry_after`](wxsub_proto::codec::RawResponse::retry_after). `None` if it is absent or a date.
#[must_use]
pub fn retry_after_of(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_is_unchanged() {
        let date = "Tue, 24 Nov 2026 04:19:43 GMT";
        assert_eq!(date_of(&HeaderMap::from_iter([(DATE, date.parse().unwrap())])).as_deref(), Some(date));
        assert_eq!(date_of(&HeaderMap::new()), None);
    }

    #[test]
    fn retry_after_is_in_seconds() {
        let read =
            |value: &str| retry_after_of(&HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]));
        assert_eq!(read("60"), Some(Duration::from_secs(60)));
        for value in ["Tue, 24 Nov 2026 04:19:43 GMT", "-1", "1.5", ""] {
            assert_eq!(read(value), None, "{value}");
        }
        assert_eq!(retry_after_of(&HeaderMap::new()), None);
    }
}
