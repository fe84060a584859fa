//! What may go wrong, how often, and who has to put it right.

use super::state::State;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    /// A process dies, and starts again knowing nothing.
    pub(crate) crashes: bool,
    /// A process, or its store, is so slow that its lease ends during an attempt.
    pub(crate) pauses: bool,
    /// Weixin's reply is lost.
    pub(crate) lost_replies: bool,
    /// Weixin refuses, or is not reached.
    pub(crate) refusals: bool,
    /// A request that was sent is carried out at any later time, or never.
    pub(crate) late_calls: bool,
    /// Weixin rejects a token that is no longer the newest, and its holder sees it.
    pub(crate) rejections: bool,
    /// The store goes away, and comes back.
    pub(crate) outages: bool,
    /// The store loses everything.
    pub(crate) losses: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) start: State,
    pub(crate) weather: Weather,
    /// Whether it may take one report to put things right.
    pub(crate) reports: bool,
}

/// An ordinary debug build is slow; one with optimizations looks further.
const FURTHER: u8 = if cfg!(debug_assertions) { 0 } else { 1 };

impl Scenario {
    fn warm(name: &'static str, (wishes, mishaps): (u8, u8), weather: Weather) -> Self {
        let start = State { wishes, mishaps, ..State::warm() };
        Self { name, start, weather, reports: false }
    }

    fn cold(name: &'static str, mishaps: u8, weather: Weather) -> Self {
        let start = State { mishaps, ..State::cold() };
        Self { name, start, weather, reports: false }
    }

    pub(crate) fn calm() -> Self {
        Self::warm("nothing goes wrong", (3 + FURTHER, 0), Weather::default())
    }

    pub(crate) fn calm_start() -> Self {
        Self::cold("all start at once", 0, Weather::default())
    }

    pub(crate) fn crashes() -> Self {
        Self::warm("crashes, lost replies, refusals", (3, 3 + FURTHER), WITHOUT_PAUSES)
    }

    pub(crate) fn crashes_at_start() -> Self {
        Self::cold("all start at once; crashes, lost replies, refusals", 3 + FURTHER, WITHOUT_PAUSES)
    }

    pub(crate) fn pauses() -> Self {
        let weather = Weather { pauses: true, lost_replies: true, refusals: true, ..Weather::default() };
        Self::warm("pauses, lost replies, refusals", (2 + FURTHER, 2), weather)
    }

    /// For short stories.
    pub(crate) fn one_pause() -> Self {
        let weather = Weather { pauses: true, lost_replies: true, ..Weather::default() };
        Self::warm("one pause", (2, 1), weather)
    }

    pub(crate) fn late_call() -> Self {
        let weather = Weather { late_calls: true, lost_replies: true, ..Weather::default() };
        Self::warm("a request carried out long after it was given up", (1, 2), weather)
    }

    pub(crate) fn pause_and_crash() -> Self {
        let weather = Weather { pauses: true, crashes: true, ..Weather::default() };
        Self::warm("a pause and a crash", (2, 2), weather)
    }

    pub(crate) fn long_outage() -> Self {
        let weather = Weather { outages: true, ..Weather::default() };
        Self::warm("an outage in which three refreshes are due", (3, 1), weather)
    }

    pub(crate) fn outage() -> Self {
        let weather = Weather { outages: true, rejections: true, ..Weather::default() };
        Self::warm("the store goes away; rejections", (2, 1), weather)
    }

    pub(crate) fn loss() -> Self {
        let weather = Weather { losses: true, ..Weather::default() };
        Self::warm("the store loses everything", (2 + FURTHER, 1), weather)
    }

    pub(crate) fn anything_but_the_store() -> Self {
        let weather = Weather { outages: false, losses: false, ..ANYTHING };
        Self {
            reports: true,
            ..Self::warm("anything but the store's own troubles", (1 + FURTHER, 2), weather)
        }
    }

    pub(crate) fn anything() -> Self {
        Self { reports: true, ..Self::warm("anything", (2 - FURTHER, 1 + FURTHER), ANYTHING) }
    }
}

const WITHOUT_PAUSES: Weather = Weather {
    crashes: true,
    lost_replies: true,
    refusals: true,
    pauses: false,
    late_calls: false,
    rejections: false,
    outages: false,
    losses: false,
};

const ANYTHING: Weather = Weather {
    crashes: true,
    pauses: true,
    lost_replies: true,
    refusals: true,
    late_calls: true,
    rejections: true,
    outages: true,
    losses: true,
};
