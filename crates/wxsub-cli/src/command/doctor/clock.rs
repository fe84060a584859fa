//! This machine's clock against Weixin's.

use std::time::{Duration, SystemTime};

use wxsub_core::clock::UnixMillis;
use wxsub_proto::Remedy;

use super::CheckFailure;
use super::network::Timed;
use super::report::Finding;
use crate::exit::ExitStatus;

/// How much does no harm.
const HARMLESS: Duration = Duration::from_secs(60);

/// Compares it with the date of this reply.
pub(super) fn compare<B>(reply: &Timed<B>) -> Finding<()> {
    let date = reply.raw.date.as_deref().and_then(|date| httpdate::parse_http_date(date).ok());
    let Some(there) = date.and_then(|date| date.duration_since(SystemTime::UNIX_EPOCH).ok()) else {
        return Finding::Skipped("the reply carries no date to compare with".to_owned());
    };
    let there = UnixMillis::default().after(there);
    // It was written between the two moments.
    let ahead = reply.asked.wall.since(there);
    let behind = there.since(reply.answered.wall);
    let (off, direction) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    if off <= HARMLESS {
        return Finding::Ok((), "it agrees with Weixin's".to_owned());
    }
    let cause = format!("this machine's clock is {} {direction} Weixin's", span(off));
    let to_do =
        "set it right, best by NTP; until then certificates, expiry times and consents may be judged wrongly";
    Finding::Failed(CheckFailure::new(ExitStatus::Usage, Remedy::FixConfig, cause, to_do))
}

/// A time in the two largest units that fit.
fn span(time: Duration) -> String {
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

    /// Noon in 2026, asked and answered within two seconds.
    fn told(date: Option<&str>) -> Result<String, String> {
        let at = |seconds: u64| {
            ClockReading::new(
                MonotonicInstant::default(),
                UnixMillis::new(1_780_315_200_000 + seconds * 1000),
            )
        };
        let raw = RawResponse::new(200, ()).dated(date.map(str::to_owned));
        match compare(&Timed { raw, asked: at(0), answered: at(2) }) {
            Finding::Ok((), told) | Finding::Skipped(told) => Ok(told),
            Finding::Failed(fault) => Err(fault.cause),
        }
    }

    #[test]
    fn a_minute_does_no_harm() {
        for date in ["11:59:00", "12:00:00", "12:00:01", "12:01:02"] {
            let told = told(Some(&format!("Mon, 01 Jun 2026 {date} GMT")));
            assert_eq!(told, Ok("it agrees with Weixin's".to_owned()), "{date}");
        }
    }

    #[test]
    fn more_is_named_with_its_direction() {
        for (date, cause) in [
            ("Mon, 01 Jun 2026 11:58:59 GMT", "1 min 1 s ahead of"),
            ("Mon, 01 Jun 2026 12:01:03 GMT", "1 min 1 s behind"),
            ("Mon, 01 Jun 2026 13:00:02 GMT", "1 h 0 min behind"),
            ("Sun, 31 May 2026 10:00:00 GMT", "1 d 2 h ahead of"),
            ("Thu, 01 Jan 1970 00:00:00 GMT", "20605 d 12 h ahead of"),
        ] {
            assert_eq!(told(Some(date)), Err(format!("this machine's clock is {cause} Weixin's")), "{date}");
        }
    }

    #[test]
    fn no_date_no_verdict() {
        for date in [None, Some(""), Some("yesterday"), Some("Mon, 01 Jun 1909 12:00:00 GMT")] {
            assert_eq!(told(date), Ok("the reply carries no date to compare with".to_owned()), "{date:?}");
        }
    }
}
