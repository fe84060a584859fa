//! The schedule of attempts: ahead of expiry, and again after a failure.

use std::time::Duration;

use super::{CachedToken, UpstreamBehavior};
use crate::clock::ClockReading;
use crate::jitter::Jitter;
use crate::retry::{RetryClass, backoff};

/// `stable_token` issues the next token 300 s before the current one expires. Before that it returns the same token. A request
/// is due 5 s later, because the cache takes the expiry for earlier than it is: by up to a second, because Weixin rounds, by the
/// time that its request took, and by the difference between clocks.
const STABLE_REFRESH_BUFFER: Duration = Duration::from_secs(295);

/// Interval of fetches from then on, until it issues another token.
const STABLE_POLL_INTERVAL: Duration = Duration::from_secs(20);

/// Maximum number of failures in a row that are not reported.
const MAX_SILENT_RETRIES: u32 = 2;

/// Maximum time since the first of these failures.
const SILENT_RETRY_WINDOW: Duration = Duration::from_secs(10);

/// Maximum time between two attempts while the current token is in doubt or near expiry.
const MAX_URGENT_DELAY: Duration = Duration::from_secs(15);

/// Returns when to refresh a new token: at once if its age is unknown.
pub(super) fn refresh(
    behavior: UpstreamBehavior,
    token: &CachedToken,
    now: ClockReading,
    jitter: &mut Jitter,
) -> ClockReading {
    if !token.has_known_age() {
        return now;
    }
    let remaining = token.remaining(now);
    if behavior.invalidates_previous {
        // Half of the lifetime before expiry, ± 10 %.
        let due = token.expires_at().before(jitter.within_percent(token.lifetime() / 2, 10));
        return if due.is_past(now) { now } else { due };
    }
    let every = STABLE_POLL_INTERVAL.min(remaining / 4).max(Duration::from_secs(1));
    let delay = jitter.within_percent(every, 25).max(remaining.saturating_sub(STABLE_REFRESH_BUFFER));
    now + behavior.poll_interval.map_or(delay, |interval| delay.min(jitter.within_percent(interval, 10)))
}

/// Returns the timeout of an attempt: 15 s, or less for a token of short lifetime.
pub(super) fn timeout(current: Option<&CachedToken>) -> Duration {
    let max_timeout = Duration::from_secs(15);
    current.map_or(max_timeout, |token| max_timeout.min(token.lifetime() / 8).max(Duration::from_millis(250)))
}

/// How long a lease lasts that is not renewed. A peer takes over after this time and one more look.
const LEASE: Duration = Duration::from_secs(6);

/// How long a lease is kept after a failure which peers would share.
const BACKOFF_LEASE: Duration = Duration::from_secs(10);

/// How long a start waits for the store before it fetches without lease. A peer that was fetching when the store
/// failed has finished after this time.
pub(super) const UNLEASED_START_DELAY: Duration = Duration::from_secs(30);

/// Returns the length of a lease: 6 s, or less for a token of short lifetime.
pub(super) fn lease(current: Option<&CachedToken>) -> Duration {
    current.map_or(LEASE, |token| LEASE.min(token.lifetime() / 4).max(Duration::from_millis(500)))
}

/// Returns how long a lease is kept after a failure which peers would share.
pub(super) fn backoff_lease(current: Option<&CachedToken>) -> Duration {
    current.map_or(BACKOFF_LEASE, |token| BACKOFF_LEASE.min(token.lifetime() / 12))
}

/// Returns how long before expiry this process fetches without the store. The time differs between peers, so that
/// most of them still see the store recover.
pub(super) fn unleased_fetch_lead(token: &CachedToken, jitter: &mut Jitter) -> Duration {
    let span = Duration::from_secs(32).min(token.lifetime() / 4);
    span / 4 + jitter.uniform_below(span * 3 / 4)
}

/// Returns the delay before the store is read again while a peer fetches.
pub(super) fn peer_poll_delay(jitter: &mut Jitter) -> Duration {
    jitter.within_percent(Duration::from_millis(1_500), 10)
}

/// Returns the delay after which this process fetches if a peer crashed during its fetch: its lease has expired then.
pub(super) fn takeover_delay(current: Option<&CachedToken>, jitter: &mut Jitter) -> Duration {
    jitter.within_percent(lease(current) * 9 / 10, 5)
}

/// Returns the delay before the refresh task starts again after a panic.
pub(super) fn panic_restart_delay(jitter: &mut Jitter) -> Duration {
    jitter.within_percent(Duration::from_secs(10), 25)
}

/// Minimum time after which an attempt that was due is overdue.
const MIN_OVERDUE_TIME: Duration = Duration::from_secs(120);

/// Returns whether an attempt should have started long ago, because the machine was suspended or its wall clock was set
/// forward. A failure from before then says nothing about now.
pub(super) fn is_overdue(due: Option<ClockReading>, now: ClockReading) -> bool {
    due.is_some_and(|due| (due + MIN_OVERDUE_TIME).is_past(now))
}

/// What the delay after a failed attempt depends on.
pub(super) struct RetryContext<'a> {
    pub(super) class: RetryClass,
    /// Number of failures in a row, with this one.
    pub(super) failures: u32,
    /// Time since the first of them.
    pub(super) failing_for: Duration,
    pub(super) current: Option<&'a CachedToken>,
    /// Whether the response to an attempt was lost, or the age of the current token is unknown.
    pub(super) in_doubt: bool,
    /// Duration of the attempt.
    pub(super) elapsed: Duration,
}

/// Returns whether a failure is retried at once and not reported: a few transient ones while there is no valid token.
pub(super) fn is_retried_silently(context: &RetryContext<'_>) -> bool {
    context.current.is_none()
        && context.class == RetryClass::Transient
        && context.failures <= MAX_SILENT_RETRIES
        && context.failing_for < SILENT_RETRY_WINDOW
}

/// Returns the delay after a failed attempt. `silent` says whether the failure [is not
/// reported](is_retried_silently).
pub(super) fn retry_delay(
    context: &RetryContext<'_>,
    silent: bool,
    now: ClockReading,
    jitter: &mut Jitter,
) -> Duration {
    let RetryContext { class, failures, current, in_doubt, elapsed, .. } = context;
    if silent {
        return jitter.within_percent(Duration::from_millis(200) * *failures, 50);
    }
    let is_safe = current.is_some_and(|token| token.remaining(now) >= token.lifetime() / 3) && !in_doubt;
    let max_delay = if is_safe { Duration::from_secs(60) } else { MAX_URGENT_DELAY.saturating_sub(*elapsed) };
    // A token with a lifetime of a few seconds also gets several attempts.
    let lifetime = current.map_or(Duration::MAX, CachedToken::lifetime);
    let max_delay = max_delay.min(lifetime / 16).max(Duration::from_millis(100));
    match *class {
        RetryClass::Transient => backoff(*failures, Duration::from_secs(1).min(max_delay), max_delay, jitter),
        RetryClass::Persistent => {
            backoff(*failures, Duration::from_secs(10), Duration::from_secs(300), jitter)
        }
        RetryClass::After(wait) => wait.saturating_add(jitter.uniform_below(wait / 10)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{MonotonicInstant, UnixMillis};
    use crate::token::{Generation, TokenEndpoint};

    const SECOND: Duration = Duration::from_secs(1);

    type Draw = fn(&mut Jitter) -> Duration;

    fn start() -> ClockReading {
        ClockReading::new(MonotonicInstant::from_origin(SECOND), UnixMillis::new(1_780_000_000_000))
    }

    fn with_lifetime(seconds: u32) -> CachedToken {
        CachedToken::new("T".parse().unwrap(), Generation::new(1), start(), SECOND * seconds)
    }

    fn due_in(endpoint: TokenEndpoint, age: u32, jitter: &mut Jitter) -> Duration {
        let now = start() + SECOND * age;
        refresh(endpoint.behavior(), &with_lifetime(7200), now, jitter).remaining(now)
    }

    fn delay_after(
        class: RetryClass,
        current: Option<&CachedToken>,
        in_doubt: bool,
        elapsed: u32,
        jitter: &mut Jitter,
    ) -> Duration {
        retry_delay(
            &RetryContext {
                class,
                failures: 20,
                failing_for: 60 * SECOND,
                current,
                in_doubt,
                elapsed: SECOND * elapsed,
            },
            false,
            start(),
            jitter,
        )
    }

    #[test]
    fn delays_use_their_whole_range() {
        use TokenEndpoint::{StableToken, Token};
        // Minimum and maximum in milliseconds.
        let rows: [(Draw, u64, u64); 12] = [
            (|jitter| due_in(Token, 0, jitter), 3_240_000, 3_960_000),
            (|jitter| due_in(StableToken, 0, jitter), 6_905_000, 6_905_000),
            (|jitter| due_in(StableToken, 7000, jitter), 15_000, 25_000),
            (|jitter| due_in(StableToken, 7160, jitter), 7_500, 12_500),
            (
                |jitter| {
                    let behavior = UpstreamBehavior::token_service().polled(60 * SECOND);
                    refresh(behavior, &with_lifetime(7200), start(), jitter).remaining(start())
                },
                54_000,
                66_000,
            ),
            (|jitter| unleased_fetch_lead(&with_lifetime(7200), jitter), 8_000, 32_000),
            (|jitter| unleased_fetch_lead(&with_lifetime(60), jitter), 3_750, 15_000),
            (
                |jitter| delay_after(RetryClass::Transient, Some(&with_lifetime(7200)), false, 5, jitter),
                45_000,
                60_000,
            ),
            (
                |jitter| delay_after(RetryClass::Transient, Some(&with_lifetime(7200)), true, 5, jitter),
                7_500,
                10_000,
            ),
            (
                |jitter| delay_after(RetryClass::Transient, Some(&with_lifetime(32)), false, 0, jitter),
                1_500,
                2_000,
            ),
            (|jitter| delay_after(RetryClass::Persistent, None, false, 0, jitter), 225_000, 300_000),
            (|jitter| delay_after(RetryClass::After(60 * SECOND), None, false, 0, jitter), 60_000, 66_000),
        ];
        for (row, (draw, shortest, longest)) in rows.into_iter().enumerate() {
            let mut jitter = Jitter::seeded(1);
            let drawn: Vec<_> = (0..1_000).map(|_| draw(&mut jitter)).collect();
            let (min, max) = (*drawn.iter().min().unwrap(), *drawn.iter().max().unwrap());
            let (shortest, longest) = (Duration::from_millis(shortest), Duration::from_millis(longest));
            let near = (longest - shortest) / 20;
            assert!(shortest <= min && min <= shortest + near, "row {row}: {min:?}");
            assert!(max <= longest && longest <= max + near, "row {row}: {max:?}");
        }
    }

    #[test]
    fn short_lifetime_shortens_timeouts_and_leases() {
        let times = |current: Option<&CachedToken>| (timeout(current), lease(current));
        assert_eq!(times(None), (15 * SECOND, 6 * SECOND));
        assert_eq!(times(Some(&with_lifetime(7200))), (15 * SECOND, 6 * SECOND));
        assert_eq!(times(Some(&with_lifetime(16))), (2 * SECOND, 4 * SECOND));
        assert_eq!(times(Some(&with_lifetime(1))), (Duration::from_millis(250), Duration::from_millis(500)));
    }
}
