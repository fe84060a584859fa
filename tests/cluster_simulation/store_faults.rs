//! What goes wrong with Redis and on the way to it, and when.

use std::time::Duration;

use fastrand::Rng;

/// A time during which requests meet one kind of trouble.
#[derive(Debug, Clone)]
pub(crate) struct MoodSpell {
    pub(super) from: Duration,
    pub(super) to: Duration,
    pub(super) mood: Mood,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Nobody listens.
    Refuses,
    /// Nothing arrives.
    Swallows,
    /// Requests arrive and are carried out; no answer comes back.
    LosesAnswers,
    /// It takes up to some seconds, each way.
    Dawdles,
    /// It stands still: what it was asked meanwhile it does when it goes on, at this time.
    StandsStill(Duration),
    /// It writes nothing.
    ReadOnly,
}

/// How long a request takes to get there, and its answer to get back; `None` if it never does.
pub(super) struct Trip {
    pub(super) there: Option<Duration>,
    pub(super) back: Option<Duration>,
}

impl Trip {
    /// On a good day; one way at once, so that there is less to simulate.
    pub(super) fn quick(dice: &mut Rng) -> Self {
        let (way, time) = (dice.bool(), Duration::from_millis(dice.u64(1..5)));
        let (there, back) = if way { (time, Duration::ZERO) } else { (Duration::ZERO, time) };
        Self { there: Some(there), back: Some(back) }
    }
}

impl Mood {
    /// What becomes of a request that leaves now.
    pub(super) fn trip(self, now: Duration, dice: &mut Rng) -> Trip {
        let mut slow = || Some(Duration::from_millis(dice.u64(1..2_500)));
        match self {
            Self::Refuses | Self::Swallows => Trip { there: None, back: None },
            Self::LosesAnswers => Trip { there: Some(Duration::from_millis(2)), back: None },
            Self::Dawdles => Trip { there: slow(), back: slow() },
            Self::StandsStill(until) => {
                let there = until.saturating_sub(now).max(Duration::from_millis(1));
                Trip { there: Some(there), back: Some(Duration::from_millis(1)) }
            }
            Self::ReadOnly => Trip::quick(dice),
        }
    }
}

impl MoodSpell {
    pub(super) fn covers(&self, passed: Duration) -> bool {
        (self.from..self.to).contains(&passed)
    }

    /// One that begins somewhere before `end`.
    pub(super) fn any(dice: &mut Rng, end: Duration) -> Self {
        let from = Duration::from_millis(dice.u64(0..as_millis(end)));
        let length = if dice.u8(0..3) == 0 { dice.u64(60_000..1_200_000) } else { dice.u64(100..120_000) };
        let to = end.min(from + Duration::from_millis(length));
        let mood = match dice.u8(0..6) {
            0 => Mood::Refuses,
            1 => Mood::Swallows,
            2 => Mood::LosesAnswers,
            3 => Mood::Dawdles,
            4 => Mood::StandsStill(to),
            _ => Mood::ReadOnly,
        };
        Self { from, to, mood }
    }
}

fn as_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}
