//! Scenarios: which faults may happen, and how often.

use super::state::State;
use super::step::Counted::{self, *};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Whether all servers hold a token at the start. Otherwise all need one.
    pub(crate) is_warm: bool,
    /// How many refreshes may become due.
    pub(crate) refreshes: u8,
    /// How many faults may happen.
    pub(crate) faults: u8,
    /// The faults that may happen, and whether Weixin may reject a superseded token.
    pub(crate) kinds: &'static [Counted],
    /// Whether the clock of one server is behind.
    pub(crate) has_wrong_clock: bool,
    /// Whether recovery may need one report.
    pub(crate) reports: bool,
}

impl Scenario {
    const fn warm(name: &'static str, (refreshes, faults): (u8, u8), kinds: &'static [Counted]) -> Self {
        Self { name, is_warm: true, refreshes, faults, kinds, has_wrong_clock: false, reports: false }
    }

    const fn cold(name: &'static str, faults: u8, kinds: &'static [Counted]) -> Self {
        Self { is_warm: false, ..Self::warm(name, (0, faults), kinds) }
    }

    pub(crate) fn start(&self) -> State {
        let mut start = if self.is_warm { State::warm() } else { State::cold() };
        (start.refreshes_left, start.faults_left) = (self.refreshes, self.faults);
        start.servers[0].is_behind = self.has_wrong_clock;
        start
    }

    pub(crate) const NO_FAULT: Self = Self::warm("no fault", (4, 0), &[]);
    pub(crate) const COLD_START: Self = Self::cold("cold start", 0, &[]);
    pub(crate) const CRASHES: Self = Self::warm("crashes, lost responses, refusals", (3, 4), WITHOUT_PAUSES);
    pub(crate) const CRASHES_AT_START: Self =
        Self::cold("cold start; crashes, lost responses, refusals", 4, WITHOUT_PAUSES);
    pub(crate) const PAUSES: Self =
        Self::warm("pauses, lost responses, refusals", (3, 2), &[Pause, LoseResponse, Refuse]);
    /// A small scenario, for short traces.
    pub(crate) const ONE_PAUSE: Self = Self::warm("one pause", (2, 1), &[Pause, LoseResponse]);
    pub(crate) const LATE_CALL: Self = Self::warm(
        "a request that is handled long after it was given up",
        (1, 2),
        &[DelayRequest, LoseResponse],
    );
    pub(crate) const PAUSE_AND_CRASH: Self = Self::warm("a pause and a crash", (2, 2), &[Pause, Crash]);
    pub(crate) const LONG_OUTAGE: Self =
        Self::warm("an outage in which three refreshes are due", (3, 1), &[StoreFails]);
    pub(crate) const OUTAGE: Self =
        Self::warm("store outage; rejections", (2, 1), &[StoreFails, SeeRejection]);
    pub(crate) const OUTAGE_WITH_A_WRONG_CLOCK: Self = Self {
        name: "store outage; rejections; a clock that is behind",
        has_wrong_clock: true,
        ..Self::OUTAGE
    };
    pub(crate) const LOSS: Self = Self::warm("the store loses its data", (3, 1), &[StoreLosesData]);
    pub(crate) const UNREADABLE: Self =
        Self::warm("servers that cannot read the record; crashes", (2, 2), &[CannotRead, Crash]);
    pub(crate) const ENDLESS_LEASES: Self =
        Self::warm("leases without end; crashes", (2, 2), &[LeaseWithoutEnd, Crash]);
    pub(crate) const OTHER_UPSTREAMS: Self =
        Self::warm("servers with another upstream; crashes", (2, 2), &[OtherUpstream, Crash]);
    pub(crate) const BROKEN_RECORDS: Self =
        Self::warm("broken records; crashes", (2, 2), &[RecordBreaks(false), Crash]);
    pub(crate) const LOST_GENERATIONS: Self = Self::warm(
        "broken records, also without a generation",
        (2, 2),
        &[RecordBreaks(false), RecordBreaks(true)],
    );
    pub(crate) const LOST_GENERATION_AND_CRASH: Self =
        Self::warm("a record that loses its generation, and a crash", (1, 2), &[RecordBreaks(true), Crash]);
    pub(crate) const ALL_BUT_THE_STORE: Self = Self {
        reports: true,
        ..Self::warm(
            "all faults except those of the store",
            (2, 2),
            &[Crash, Pause, LoseResponse, Refuse, DelayRequest, SeeRejection],
        )
    };
    pub(crate) const ALL_FAULTS: Self = Self {
        reports: true,
        ..Self::warm(
            "all faults",
            (2, 1),
            &[Crash, Pause, LoseResponse, Refuse, DelayRequest, SeeRejection, StoreFails, StoreLosesData],
        )
    };
    /// More faults and fewer refreshes.
    pub(crate) const MORE_FAULTS: Self = Self { refreshes: 1, faults: 2, ..Self::ALL_FAULTS };
}

const WITHOUT_PAUSES: &[Counted] = &[Crash, LoseResponse, Refuse];
