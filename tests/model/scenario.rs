//! Scenarios: which faults may happen, and how often.

use super::state::State;
use super::step::Counted::{self, *};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) start: State,
    /// The faults that may happen, and whether Weixin may reject a superseded token.
    pub(crate) faults: &'static [Counted],
    /// Whether recovery may need one report.
    pub(crate) reports: bool,
}

impl Scenario {
    fn warm(name: &'static str, (refreshes_left, faults_left): (u8, u8), faults: &'static [Counted]) -> Self {
        let start = State { refreshes_left, faults_left, ..State::warm() };
        Self { name, start, faults, reports: false }
    }

    fn cold(name: &'static str, faults_left: u8, faults: &'static [Counted]) -> Self {
        let start = State { faults_left, ..State::cold() };
        Self { name, start, faults, reports: false }
    }

    pub(crate) fn no_fault() -> Self {
        Self::warm("no fault", (4, 0), &[])
    }

    pub(crate) fn cold_start() -> Self {
        Self::cold("cold start", 0, &[])
    }

    pub(crate) fn crashes() -> Self {
        Self::warm("crashes, lost responses, refusals", (3, 4), WITHOUT_PAUSES)
    }

    pub(crate) fn crashes_at_start() -> Self {
        Self::cold("cold start; crashes, lost responses, refusals", 4, WITHOUT_PAUSES)
    }

    pub(crate) fn pauses() -> Self {
        Self::warm("pauses, lost responses, refusals", (3, 2), &[Pause, LoseResponse, Refuse])
    }

    /// A small scenario, for short traces.
    pub(crate) fn one_pause() -> Self {
        Self::warm("one pause", (2, 1), &[Pause, LoseResponse])
    }

    pub(crate) fn late_call() -> Self {
        Self::warm(
            "a request that is handled long after it was given up",
            (1, 2),
            &[DelayRequest, LoseResponse],
        )
    }

    pub(crate) fn pause_and_crash() -> Self {
        Self::warm("a pause and a crash", (2, 2), &[Pause, Crash])
    }

    pub(crate) fn long_outage() -> Self {
        Self::warm("an outage in which three refreshes are due", (3, 1), &[StoreFails])
    }

    pub(crate) fn outage() -> Self {
        Self::warm("store outage; rejections", (2, 1), &[StoreFails, SeeRejection])
    }

    pub(crate) fn outage_with_a_wrong_clock() -> Self {
        let mut scenario =
            Self { name: "store outage; rejections; a clock that is behind", ..Self::outage() };
        scenario.start.servers[0].is_behind = true;
        scenario
    }

    pub(crate) fn loss() -> Self {
        Self::warm("the store loses its data", (3, 1), &[StoreLosesData])
    }

    pub(crate) fn unreadable() -> Self {
        Self::warm("servers that cannot read the record; crashes", (2, 2), &[CannotRead, Crash])
    }

    pub(crate) fn endless_leases() -> Self {
        Self::warm("leases without end; crashes", (2, 2), &[LeaseWithoutEnd, Crash])
    }

    pub(crate) fn other_upstreams() -> Self {
        Self::warm("servers with another upstream; crashes", (2, 2), &[OtherUpstream, Crash])
    }

    pub(crate) fn broken_records() -> Self {
        Self::warm("broken records; crashes", (2, 2), &[RecordBreaks(false), Crash])
    }

    pub(crate) fn lost_generations() -> Self {
        Self::warm(
            "broken records, also without a generation",
            (2, 2),
            &[RecordBreaks(false), RecordBreaks(true)],
        )
    }

    pub(crate) fn lost_generation_and_crash() -> Self {
        Self::warm("a record that loses its generation, and a crash", (1, 2), &[RecordBreaks(true), Crash])
    }

    pub(crate) fn all_but_the_store() -> Self {
        Self {
            reports: true,
            ..Self::warm("all faults except those of the store", (2, 2), ALL_BUT_THE_STORE)
        }
    }

    pub(crate) fn all_faults(refreshes: u8, faults: u8) -> Self {
        Self { reports: true, ..Self::warm("all faults", (refreshes, faults), ALL) }
    }
}

const WITHOUT_PAUSES: &[Counted] = &[Crash, LoseResponse, Refuse];

const ALL_BUT_THE_STORE: &[Counted] = &[Crash, Pause, LoseResponse, Refuse, DelayRequest, SeeRejection];

const ALL: &[Counted] =
    &[Crash, Pause, LoseResponse, Refuse, DelayRequest, SeeRejection, StoreFails, StoreLosesData];
