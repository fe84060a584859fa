//! The `Date` header of responses.

use std::time::{Duration, SystemTime};

use axum::http::{HeaderName, HeaderValue, header};
use httpdate::HttpDate;

/// The end of the year 9999: the latest date that HTTP can express.
const MAX_HTTP_DATE: Duration = Duration::from_secs(253_402_300_799);

/// The `Date` header with the time of the sandbox, not of this machine.
pub(super) fn date_header(now: Duration) -> Option<(HeaderName, HeaderValue)> {
    let date = HttpDate::from(SystemTime::UNIX_EPOCH + now.min(MAX_HTTP_DATE));
    HeaderValue::try_from(date.to_string()).ok().map(|date| (header::DATE, date))
}
