use std::sync::Arc;
use std::time::Duration;

use super::{CachedToken, TokenEndpoint, TokenError};
use crate::clock::ClockReading;

/// What the lifecycle shows to those who wait and watch.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TokenStatus {
    /// The token held. Check that it [is usable](CachedToken::is_valid) now.
    pub held: Option<Arc<CachedToken>>,
    /// The failure that stands since the last success.
    pub failure: Option<TokenError>,
    /// How many failures have been announced so far.
    pub announced: u64,
    /// Whether an attempt is under way.
    pub fetching: bool,
    /// From when on the token held is suspect, because the reply to an attempt was lost.
    pub suspect_from: Option<ClockReading>,
    /// When the next attempt is planned.
    pub next_attempt_at: Option<ClockReading>,
    pub(crate) endpoint: TokenEndpoint,
}

/// With `/cgi-bin/token` a token lives for five minutes after the next fetch; one of them is kept in reserve.
const OVERLAP: Duration = Duration::from_secs(240);

/// How long a suspect token is vouched for.
const SUSPECT: Duration = Duration::from_secs(60);

impl TokenStatus {
    /// Whether it says the same.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let token = |status: &Self| status.held.as_ref().map(Arc::as_ptr);
        token(self) == token(other)
            && self.failure.is_some() == other.failure.is_some()
            && self.announced == other.announced
            && self.fetching == other.fetching
            && self.suspect_from == other.suspect_from
            && self.next_attempt_at == other.next_attempt_at
    }

    /// The token held, if it can be used now.
    #[must_use]
    pub fn usable(&self, now: ClockReading) -> Option<&Arc<CachedToken>> {
        self.held.as_ref().filter(|issued| issued.is_valid(now))
    }

    /// Whether the token held may die before its time, or may be dead because its age is unknown.
    #[must_use]
    pub fn is_suspect(&self, now: ClockReading) -> bool {
        self.held.as_ref().is_some_and(|held| {
            !held.has_known_age() || self.suspect_from.is_some_and(|from| from.is_past(now))
        })
    }

    /// How long the token held may be used by somebody who does not ask again: what remains of its life, and with
    /// `/cgi-bin/token` no longer than the planned refresh leaves it alive; at most 60 s once it is suspect.
    #[must_use]
    pub fn safe_ttl(&self, now: ClockReading) -> Duration {
        let remaining = self.usable(now).map_or(Duration::ZERO, |issued| issued.remaining(now));
        if self.held.as_ref().is_some_and(|held| !held.has_known_age()) {
            return remaining.min(SUSPECT);
        }
        if self.endpoint == TokenEndpoint::StableToken {
            return remaining;
        }
        let until_refresh = self.next_attempt_at.map_or(Duration::ZERO, |due| due.remaining(now));
        let planned = remaining.min(until_refresh.saturating_add(OVERLAP));
        match self.suspect_from {
            Some(from) => planned.min(from.remaining(now).saturating_add(SUSPECT)),
            None => planned,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Generation, TokenErrorKind};

    /// Waiters are woken for each of these, and for nothing else.
    #[test]
    fn every_field_that_waiters_look_at_tells_a_status_from_another() {
        let issued = CachedToken::new(
            "T".parse().unwrap(),
            Generation::new(1),
            ClockReading::default(),
            Duration::from_secs(1),
        );
        let failure = || Some(TokenError::new(TokenErrorKind::TimedOut, None));
        let all = [
            TokenStatus::default(),
            TokenStatus { held: Some(Arc::new(issued.clone())), ..TokenStatus::default() },
            TokenStatus { held: Some(Arc::new(issued)), ..TokenStatus::default() },
            TokenStatus { failure: failure(), ..TokenStatus::default() },
            TokenStatus { announced: 1, ..TokenStatus::default() },
            TokenStatus { fetching: true, ..TokenStatus::default() },
            TokenStatus { suspect_from: Some(ClockReading::default()), ..TokenStatus::default() },
            TokenStatus { next_attempt_at: Some(ClockReading::default()), ..TokenStatus::default() },
        ];
        for (a, first) in all.iter().enumerate() {
            for (b, second) in all.iter().enumerate() {
                assert_eq!(first.same_as(&second.clone()), a == b, "{first:?} {second:?}");
            }
        }
    }

    #[test]
    fn a_token_is_vouched_for_as_long_as_it_surely_lives() {
        let seconds = Duration::from_secs;
        let now = ClockReading::default().after(seconds(1_000));
        let issued = |life| CachedToken::new("T".parse().unwrap(), Generation::new(1), now, seconds(life));
        let status = |life, due: u64, suspect: Option<u64>| TokenStatus {
            held: Some(Arc::new(issued(life))),
            next_attempt_at: Some(now.after(seconds(due))),
            suspect_from: suspect.map(|from| now.after(seconds(from))),
            ..TokenStatus::default()
        };
        let stable = TokenStatus { endpoint: TokenEndpoint::StableToken, ..status(7200, 10, None) };
        let (future, life) = (now.wall.after(seconds(61)), seconds(7200));
        let unknown =
            CachedToken::from_shared_store("T".parse().unwrap(), Generation::new(1), future, life, now);
        let of_unknown_age =
            |status: TokenStatus| TokenStatus { held: Some(Arc::new(unknown.clone())), ..status };
        for (status, vouched) in [
            (of_unknown_age(stable.clone()), 60),
            (of_unknown_age(status(7200, 3600, None)), 60),
            (TokenStatus::default(), 0),
            (status(7200, 3600, None), 3840),
            (status(300, 3600, None), 300),
            (status(7200, 0, None), 240),
            (status(7200, 3600, Some(5)), 65),
            (status(7200, 3600, Some(0)), 60),
            (status(20, 3600, Some(0)), 20),
            (stable, 7200),
        ] {
            assert_eq!(status.safe_ttl(now), seconds(vouched), "{status:?}");
        }
    }
}
