//! Compares this machine's clock with Weixin's.

use std::time::{Duration, SystemTime};

use wxsub_core::clock::UnixMillis;
use wxsub_proto::Remedy;

use super::CheckFailure;
use super::network::TimedResponse;
use super::report::Finding;
use crate::exit::ExitStatus;

/// Maximum difference of the clocks.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Compares the clock with the date of the response.
pub(super) fn compare<B>(response: &TimedResponse<B>) -> Finding<()> {
    let date = response.raw.date.as_deref().and_then(|date| httpdate::parse_http_date(date).ok());
    let Some(remote) = date.and_then(|date| date.duration_since(SystemTime::UNIX_EPOCH).ok()) else {
        return Finding::Skipped("the response has no date".to_owned());
    };
    let remote = UnixMillis::default() + remote;
    // Weixin wrote the date between the request and the response.
    let ahead = response.requested_at.wall.since(remote);
    let behind = remote.since(response.received_at.wall);
    let (skew, direction) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    if skew <= MAX_CLOCK_SKEW {
        return Finding::Ok((), "it agrees with Weixin's clock".to_owned());
    }
    let cause = format!("this machine's clock is {} {direction} Weixin's", format_duration(skew));
    let to_do = "set the clock, preferably with NTP; until then checks of certificates, expiry times and consents may be wrong";
    Finding::Failed(CheckFailure::new(ExitStatus::Usage, Remedy::FixConfig, cause, to_do))
}

/// Formats a duration in its two largest units.
fn format_duration(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} min {} s", time.as_secs() % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use wxsub_core::clock::{ClockReading, MonotonicInstant};
    use wxsub_proto::codec::RawResponse;

    use super::*;

    /// Detail or cause for this date, at noon in 2026, with a response after two seconds.
    fn detail(date: Option<&str>) -> Result<String, String> {
        let at = |seconds: u64| {
            ClockReading::new(
                MonotonicInstant::default(),
                UnixMillis::new(1_780_315_200_000 + seconds * 1000),
            )
        };
        let raw = RawResponse::new(200, ()).with_date(date.map(str::to_owned));
        match compare(&TimedResponse { raw, requested_at: at(0), received_at: at(2) }) {
            Finding::Ok((), detail) | Finding::Skipped(detail) => Ok(detail),
            Finding::Failed(failure) => Err(failure.cause),
        }
    }

    #[test]
    fn difference_of_a_minute_is_ok() {
        for date in ["11:59:00", "12:00:00", "12:00:01", "12:01:02"] {
            let detail = detail(Some(&format!("Mon, 01 Jun 2026 {date} GMT")));
            assert_eq!(detail, Ok("it agrees with Weixin's clock".to_owned()), "{date}");
        }
    }

    #[test]
    fn larger_difference_fails_with_direction() {
        for (date, cause) in [
            ("Mon, 01 Jun 2026 11:58:59 GMT", "1 min 1 s ahead of"),
            ("Mon, 01 Jun 2026 12:01:03 GMT", "1 min 1 s behind"),
            ("Mon, 01 Jun 2026 13:00:02 GMT", "1 h 0 min behind"),
            ("Sun, 31 May 2026 10:00:00 GMT", "1 d 2 h ahead of"),
            ("Thu, 01 Jan 1970 00:00:00 GMT", "20605 d 12 h ahead of"),
        ] {
            assert_eq!(
                detail(Some(date)),
                Err(format!("this machine's clock is {cause} Weixin's")),
                "{date}"
            );
        }
    }

    #[test]
    fn missing_or_invalid_date_skips_the_check() {
        for date in [None, Some(""), Some("yesterday"), Some("Mon, 01 Jun 1909 12:00:00 GMT")] {
            assert_eq!(detail(date), Ok("the response has no date".to_owned()), "{date:?}");
        }
    }
}
