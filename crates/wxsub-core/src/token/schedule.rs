//! When to ask for a token: ahead of its end, and again after a failure.

use std::time::Duration;

use super::{CachedToken, TokenEndpoint};
use crate::clock::ClockReading;
use crate::jitter::Jitter;
use crate::retry::{RetryClass, backoff};

/// `stable_token` hands out the next token from this long before the end of the current one.
const STABLE_REFRESH_BUFFER: Duration = Duration::from_secs(300);

/// How often `stable_token` is asked from then on, until another token comes.
const STABLE_POLL_INTERVAL: Duration = Duration::from_secs(20);

/// The longest time from one attempt to the next while the token is at risk.
const MAX_URGENT_DELAY: Duration = Duration::from_secs(15);

/// When to ask for the successor of a token that has just come: at once if its age is unknown.
pub(super) fn refresh(
    endpoint: TokenEndpoint,
    issued: &CachedToken,
    now: ClockReading,
    jitter: &mut Jitter,
) -> ClockReading {
    if !issued.has_known_age() {
        return now;
    }
    let remaining = issued.remaining(now);
    match endpoint {
        // Half of the life, give or take a tenth.
        TokenEndpoint::Token => {
            let due = issued.expires_at().before(jitter.within_percent(issued.lifetime() / 2, 10));
            if due.is_past(now) { now } else { due }
        }
        TokenEndpoint::StableToken => {
            let every = STABLE_POLL_INTERVAL.min(remaining / 4).max(Duration::from_secs(1));
            now.after(jitter.within_percent(every, 25).max(remaining.saturating_sub(STABLE_REFRESH_BUFFER)))
        }
    }
}

/// How long an attempt may take: less where little life is left to lose.
pub(super) fn timeout(held: Option<&CachedToken>) -> Duration {
    let most = Duration::from_secs(15);
    held.map_or(most, |issued| most.min(issued.lifetime() / 8).max(Duration::from_millis(250)))
}

/// The longest lease.
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// How long a lease is taken for: longer than an attempt takes, shorter than the token can wait.
pub(super) fn lease(held: Option<&CachedToken>) -> Duration {
    held.map_or(LEASE, |issued| LEASE.min(issued.lifetime() / 4).max(Duration::from_millis(500)))
}

/// How long before the end of a token its processes fetch though the store does not answer: each at a moment of its own, so
/// that most of them still see the store come back.
pub(super) fn unleased_fetch_lead(issued: &CachedToken, jitter: &mut Jitter) -> Duration {
    let span = Duration::from_secs(32).min(issued.lifetime() / 4);
    span / 4 + jitter.uniform_below(span * 3 / 4)
}

/// What the pause after a failed attempt depends on.
pub(super) struct RetryContext<'a> {
    pub(super) pace: RetryClass,
    /// Failures in a row, this one included.
    pub(super) failures: u32,
    pub(super) held: Option<&'a CachedToken>,
    /// Whether the reply to an attempt was lost, or the age of the token held is unknown.
    pub(super) lost: bool,
    /// How long the attempt took.
    pub(super) took: Duration,
}

/// How long to wait after a failed attempt.
pub(super) fn retry_delay(setback: &RetryContext<'_>, now: ClockReading, jitter: &mut Jitter) -> Duration {
    let RetryContext { pace, failures, held, lost, took } = setback;
    let calm = held.is_some_and(|issued| issued.remaining(now) >= issued.lifetime() / 3) && !lost;
    let most = if calm { Duration::from_secs(60) } else { MAX_URGENT_DELAY.saturating_sub(*took) };
    // A token of a few seconds' life leaves room for a few attempts, too.
    let life = held.map_or(Duration::MAX, CachedToken::lifetime);
    let most = most.min(life / 16).max(Duration::from_millis(100));
    match *pace {
        RetryClass::Transient => backoff(*failures, Duration::from_secs(1).min(most), most, jitter),
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
    use crate::token::Generation;

    const SECOND: Duration = Duration::from_secs(1);

    type Draw = fn(&mut Jitter) -> Duration;

    fn start() -> ClockReading {
        ClockReading::new(MonotonicInstant::from_origin(SECOND), UnixMillis::new(1_780_000_000_000))
    }

    fn of_life(seconds: u32) -> CachedToken {
        CachedToken::new("T".parse().unwrap(), Generation::new(1), start(), SECOND * seconds)
    }

    fn due_in(endpoint: TokenEndpoint, age: u32, jitter: &mut Jitter) -> Duration {
        let now = start().after(SECOND * age);
        refresh(endpoint, &of_life(7200), now, jitter).remaining(now)
    }

    fn pause_after(
        pace: RetryClass,
        held: Option<&CachedToken>,
        lost: bool,
        took: u32,
        jitter: &mut Jitter,
    ) -> Duration {
        retry_delay(&RetryContext { pace, failures: 20, held, lost, took: SECOND * took }, start(), jitter)
    }

    #[test]
    fn every_wait_uses_the_room_it_has_and_no_more() {
        use TokenEndpoint::{StableToken, Token};
        // Shortest and longest in milliseconds.
        let rows: [(Draw, u64, u64); 11] = [
            (|jitter| due_in(Token, 0, jitter), 3_240_000, 3_960_000),
            (|jitter| due_in(StableToken, 0, jitter), 6_900_000, 6_900_000),
            (|jitter| due_in(StableToken, 7000, jitter), 15_000, 25_000),
            (|jitter| due_in(StableToken, 7160, jitter), 7_500, 12_500),
            (|jitter| unleased_fetch_lead(&of_life(7200), jitter), 8_000, 32_000),
            (|jitter| unleased_fetch_lead(&of_life(60), jitter), 3_750, 15_000),
            (
                |jitter| pause_after(RetryClass::Transient, Some(&of_life(7200)), false, 5, jitter),
                45_000,
                60_000,
            ),
            (
                |jitter| pause_after(RetryClass::Transient, Some(&of_life(7200)), true, 5, jitter),
                7_500,
                10_000,
            ),
            (|jitter| pause_after(RetryClass::Transient, Some(&of_life(32)), false, 0, jitter), 1_500, 2_000),
            (|jitter| pause_after(RetryClass::Persistent, None, false, 0, jitter), 225_000, 300_000),
            (|jitter| pause_after(RetryClass::After(60 * SECOND), None, false, 0, jitter), 60_000, 66_000),
        ];
        for (row, (draw, shortest, longest)) in rows.into_iter().enumerate() {
            let mut jitter = Jitter::seeded(1);
            let drawn: Vec<_> = (0..1_000).map(|_| draw(&mut jitter)).collect();
            let (least, most) = (*drawn.iter().min().unwrap(), *drawn.iter().max().unwrap());
            let (shortest, longest) = (Duration::from_millis(shortest), Duration::from_millis(longest));
            let near = (longest - shortest) / 20;
            assert!(shortest <= least && least <= shortest + near, "row {row}: {least:?}");
            assert!(most <= longest && longest <= most + near, "row {row}: {most:?}");
        }
    }

    #[test]
    fn attempts_and_leases_are_shorter_where_little_life_is_left_to_lose() {
        let times = |held: Option<&CachedToken>| (timeout(held), lease(held));
        assert_eq!(times(None), (15 * SECOND, 30 * SECOND));
        assert_eq!(times(Some(&of_life(7200))), (15 * SECOND, 30 * SECOND));
        assert_eq!(times(Some(&of_life(80))), (10 * SECOND, 20 * SECOND));
        assert_eq!(times(Some(&of_life(1))), (Duration::from_millis(250), Duration::from_millis(500)));
    }
}
