//! Weixin's call quotas: how long it refuses calls after errcode 45011 or 45009.

use std::time::Duration;

use wxsub_proto::ErrCode;

use crate::clock::{UnixMillis, millis};

/// How long to wait after 45011, too many calls within a minute.
pub const MINUTE_QUOTA_DELAY: Duration = Duration::from_secs(60);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Beijing is 8 hours ahead of UTC all year.
const BEIJING_OFFSET: Duration = Duration::from_secs(8 * 3600);

/// Returns the next midnight in Beijing. Then Weixin's daily quotas start anew.
pub fn next_daily_reset(now: UnixMillis) -> UnixMillis {
    let day = millis(DAY);
    let days = (now + BEIJING_OFFSET).get() / day + 1;
    UnixMillis::new(days.saturating_mul(day)).before(BEIJING_OFFSET).max(now)
}

/// Returns how long Weixin refuses more calls after this errcode: a minute after 45011, until midnight in Beijing after
/// 45009. `None` for other codes.
pub fn quota_delay(errcode: ErrCode, now: UnixMillis) -> Option<Duration> {
    match errcode {
        ErrCode::MINUTE_QUOTA => Some(MINUTE_QUOTA_DELAY),
        ErrCode::DAILY_QUOTA => Some(next_daily_reset(now).since(now)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_ends_at_midnight_in_beijing() {
        // 2026-06-01, 12:00 in Beijing, and the end of that day.
        let (noon, midnight) = (UnixMillis::new(1_780_286_400_000), UnixMillis::new(1_780_329_600_000));
        for (now, reset) in [
            (noon, midnight),
            (midnight.before(Duration::from_millis(1)), midnight),
            (midnight, midnight + DAY),
            (UnixMillis::new(0), UnixMillis::new(16 * 3600 * 1000)),
            (UnixMillis::new(u64::MAX), UnixMillis::new(u64::MAX)),
        ] {
            assert_eq!(next_daily_reset(now), reset, "{now:?}");
        }
    }

    #[test]
    fn only_quota_codes_have_a_delay() {
        let now = UnixMillis::new(1_780_286_400_000);
        for (code, minutes) in [(45011, Some(1)), (45009, Some(12 * 60)), (43101, None), (-1, None)] {
            let delay = minutes.map(|minutes| Duration::from_secs(60 * minutes));
            assert_eq!(quota_delay(ErrCode::new(code), now), delay, "{code}");
        }
    }
}
