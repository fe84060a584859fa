use std::sync::Arc;
use std::time::Duration;

use super::{CachedToken, TokenError, schedule};
use crate::clock::{ClockReading, UnixMillis};
use crate::store::StoreError;

/// A snapshot of the refresh state.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TokenStatus {
    /// The current token. It may have expired: see [`is_valid`](CachedToken::is_valid).
    pub current: Option<Arc<CachedToken>>,
    /// The last failure since the last success.
    pub failure: Option<TokenError>,
    /// The time of the first failure since the last success. It may be known before the failure is published.
    pub failing_since: Option<UnixMillis>,
    /// Number of failures published so far.
    pub failure_seq: u64,
    /// Whether an attempt is running.
    pub fetching: bool,
    /// From when on the current token is in doubt, because the response to an attempt was lost.
    pub in_doubt_from: Option<ClockReading>,
    /// When the next attempt starts.
    pub next_attempt_at: Option<ClockReading>,
    /// What is wrong with the store. `None` if it worked when it was last needed.
    pub store_problem: Option<StoreProblem>,
    /// Whether the next fetch invalidates the current token.
    pub(crate) invalidates_previous: bool,
    /// Whether the upstream may replace the current token at any time.
    pub(crate) is_polled: bool,
}

/// What is wrong with the store, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreProblem {
    /// The last failure.
    pub error: StoreError,
    /// The time of the first failure since the store last worked.
    pub since: UnixMillis,
}

/// How long a token is surely valid after a fetch that invalidates it. Weixin keeps it valid for five
/// minutes; one minute is reserve.
pub(super) const SAFE_OVERLAP: Duration = Duration::from_secs(240);

/// Maximum ttl of a token in doubt.
const MAX_IN_DOUBT_TTL: Duration = Duration::from_secs(60);

/// Two snapshots are equal if callers see no difference. `failure_seq` identifies the failure.
impl PartialEq for TokenStatus {
    fn eq(&self, other: &Self) -> bool {
        let token = |status: &Self| status.current.as_ref().map(Arc::as_ptr);
        token(self) == token(other)
            && self.failure.is_some() == other.failure.is_some()
            && self.failing_since == other.failing_since
            && self.failure_seq == other.failure_seq
            && self.fetching == other.fetching
            && self.in_doubt_from == other.in_doubt_from
            && self.next_attempt_at == other.next_attempt_at
            && self.store_problem == other.store_problem
    }
}

impl TokenStatus {
    /// Returns the current token if it is valid now.
    pub fn usable(&self, now: ClockReading) -> Option<&Arc<CachedToken>> {
        self.current.as_ref().filter(|token| token.is_valid(now))
    }

    /// Returns the last failure, unless it is from before the machine was suspended.
    pub(super) fn recent_failure(&self, now: ClockReading) -> Option<&TokenError> {
        self.failure.as_ref().filter(|_| !schedule::is_overdue(self.next_attempt_at, now))
    }

    /// Returns whether the current token is in doubt at `now`: a response was lost, or its age is unknown.
    pub fn is_in_doubt(&self, now: ClockReading) -> bool {
        self.current.as_ref().is_some_and(|token| {
            !token.has_known_age() || self.in_doubt_from.is_some_and(|from| from.is_past(now))
        })
    }

    /// Returns how long a client may cache the current token.
    ///
    /// The ttl ends at expiry. If a fetch invalidates the previous token, it also ends four minutes after the next
    /// planned attempt. If the upstream may [replace](crate::token::UpstreamBehavior::poll_interval) the token, it ends four
    /// minutes after the last fetch, or after 60 s if that is later. It is at most 60 s for a token in doubt.
    pub fn safe_ttl(&self, now: ClockReading) -> Duration {
        let remaining = self.usable(now).map_or(Duration::ZERO, |token| token.remaining(now));
        if self.current.as_ref().is_some_and(|token| !token.has_known_age()) {
            return remaining.min(MAX_IN_DOUBT_TTL);
        }
        if let Some(token) = self.current.as_ref().filter(|_| self.is_polled) {
            let age = token.lifetime().saturating_sub(remaining);
            return remaining.min(SAFE_OVERLAP.saturating_sub(age).max(MAX_IN_DOUBT_TTL));
        }
        if !self.invalidates_previous {
            return remaining;
        }
        let until_refresh = self.next_attempt_at.map_or(Duration::ZERO, |due| due.remaining(now));
        let planned = remaining.min(until_refresh.saturating_add(SAFE_OVERLAP));
        match self.in_doubt_from {
            Some(from) => planned.min(from.remaining(now).saturating_add(MAX_IN_DOUBT_TTL)),
            None => planned,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreErrorKind;
    use crate::token::{Generation, TokenErrorKind};

    /// Callers are woken for each of these changes, and for no other.
    #[test]
    fn each_change_that_callers_see_makes_a_different_status() {
        let token = CachedToken::new(
            "T".parse().unwrap(),
            Generation::new(1),
            ClockReading::default(),
            Duration::from_secs(1),
        );
        let failure = || Some(TokenError::new(TokenErrorKind::TimedOut, None));
        let all = [
            TokenStatus::default(),
            TokenStatus { current: Some(Arc::new(token.clone())), ..TokenStatus::default() },
            TokenStatus { current: Some(Arc::new(token)), ..TokenStatus::default() },
            TokenStatus { failure: failure(), ..TokenStatus::default() },
            TokenStatus { failing_since: Some(UnixMillis::default()), ..TokenStatus::default() },
            TokenStatus { failure_seq: 1, ..TokenStatus::default() },
            TokenStatus { fetching: true, ..TokenStatus::default() },
            TokenStatus { in_doubt_from: Some(ClockReading::default()), ..TokenStatus::default() },
            TokenStatus { next_attempt_at: Some(ClockReading::default()), ..TokenStatus::default() },
            TokenStatus {
                store_problem: Some(StoreProblem {
                    error: StoreError::new(StoreErrorKind::ReadOnly, "READONLY"),
                    since: UnixMillis::default(),
                }),
                ..TokenStatus::default()
            },
        ];
        for (a, first) in all.iter().enumerate() {
            for (b, second) in all.iter().enumerate() {
                assert_eq!(first == &second.clone(), a == b, "{first:?} {second:?}");
            }
        }
    }

    #[test]
    fn safe_ttl_is_how_long_a_token_surely_works() {
        let seconds = Duration::from_secs;
        let now = ClockReading::default() + seconds(1_000);
        let token =
            |lifetime| CachedToken::new("T".parse().unwrap(), Generation::new(1), now, seconds(lifetime));
        let status = |lifetime, due: u64, in_doubt: Option<u64>| TokenStatus {
            current: Some(Arc::new(token(lifetime))),
            next_attempt_at: Some(now + seconds(due)),
            in_doubt_from: in_doubt.map(|from| now + seconds(from)),
            invalidates_previous: true,
            ..TokenStatus::default()
        };
        let stable = TokenStatus { invalidates_previous: false, ..status(7200, 10, None) };
        let (future, lifetime) = (now.wall + seconds(61), seconds(7200));
        let unknown =
            CachedToken::from_shared_store("T".parse().unwrap(), Generation::new(1), future, lifetime, now);
        let with_unknown_age =
            |status: TokenStatus| TokenStatus { current: Some(Arc::new(unknown.clone())), ..status };
        for (status, ttl) in [
            (with_unknown_age(stable.clone()), 60),
            (with_unknown_age(status(7200, 3600, None)), 60),
            (TokenStatus::default(), 0),
            (status(7200, 3600, None), 3840),
            (status(300, 3600, None), 300),
            (status(7200, 0, None), 240),
            (status(7200, 3600, Some(5)), 65),
            (status(7200, 3600, Some(0)), 60),
            (status(20, 3600, Some(0)), 20),
            (stable.clone(), 7200),
            (TokenStatus { is_polled: true, ..stable.clone() }, 240),
            (TokenStatus { is_polled: true, ..status(200, 10, None) }, 200),
        ] {
            assert_eq!(status.safe_ttl(now), seconds(ttl), "{status:?}");
        }
        let polled = TokenStatus { is_polled: true, ..stable };
        for (age, ttl) in [(60, 180), (180, 60), (7000, 60), (7180, 20)] {
            assert_eq!(polled.safe_ttl(now + seconds(age)), seconds(ttl), "{age}");
        }
    }
}
