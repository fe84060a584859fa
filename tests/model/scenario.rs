//! Scenarios: which faults may happen, and how often.

use super::state::State;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FaultSet {
    /// A process is killed, and restarts with no state.
    pub(crate) crashes: bool,
    /// A process or its store is so slow that its lease expires during an attempt.
    pub(crate) pauses: bool,
    /// Weixin's response is lost.
    pub(crate) lost_responses: bool,
    /// Weixin refuses the call or is unreachable.
    pub(crate) refusals: bool,
    /// Weixin handles a sent request at any later time, or never.
    pub(crate) late_calls: bool,
    /// Weixin rejects a superseded token in a call of its holder.
    pub(crate) rejections: bool,
    /// The store is unavailable for a while.
    pub(crate) outages: bool,
    /// The store loses its data.
    pub(crate) losses: bool,
    /// A server cannot read the record, while the lease works.
    pub(crate) unreadable: bool,
    /// A lease gets no end.
    pub(crate) endless_leases: bool,
    /// A server restarts with another upstream.
    pub(crate) other_upstreams: bool,
    /// The token in the record breaks.
    pub(crate) broken_records: bool,
    /// The record breaks, and its generation is lost.
    pub(crate) lost_generations: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) start: State,
    pub(crate) faults: FaultSet,
    /// Whether recovery may need one report.
    pub(crate) reports: bool,
}

impl Scenario {
    fn warm(name: &'static str, (refreshes_left, faults_left): (u8, u8), faults: FaultSet) -> Self {
        let start = State { refreshes_left, faults_left, ..State::warm() };
        Self { name, start, faults, reports: false }
    }

    fn cold(name: &'static str, faults_left: u8, faults: FaultSet) -> Self {
        let start = State { faults_left, ..State::cold() };
        Self { name, start, faults, reports: false }
    }

    pub(crate) fn no_fault() -> Self {
        Self::warm("no fault", (4, 0), FaultSet::default())
    }

    pub(crate) fn cold_start() -> Self {
        Self::cold("cold start", 0, FaultSet::default())
    }

    pub(crate) fn crashes() -> Self {
        Self::warm("crashes, lost responses, refusals", (3, 4), WITHOUT_PAUSES)
    }

    pub(crate) fn crashes_at_start() -> Self {
        Self::cold("cold start; crashes, lost responses, refusals", 4, WITHOUT_PAUSES)
    }

    pub(crate) fn pauses() -> Self {
        let faults = FaultSet { pauses: true, lost_responses: true, refusals: true, ..FaultSet::default() };
        Self::warm("pauses, lost responses, refusals", (3, 2), faults)
    }

    /// A small scenario, for short traces.
    pub(crate) fn one_pause() -> Self {
        let faults = FaultSet { pauses: true, lost_responses: true, ..FaultSet::default() };
        Self::warm("one pause", (2, 1), faults)
    }

    pub(crate) fn late_call() -> Self {
        let faults = FaultSet { late_calls: true, lost_responses: true, ..FaultSet::default() };
        Self::warm("a request that is handled long after it was given up", (1, 2), faults)
    }

    pub(crate) fn pause_and_crash() -> Self {
        let faults = FaultSet { pauses: true, crashes: true, ..FaultSet::default() };
        Self::warm("a pause and a crash", (2, 2), faults)
    }

    pub(crate) fn long_outage() -> Self {
        let faults = FaultSet { outages: true, ..FaultSet::default() };
        Self::warm("an outage in which three refreshes are due", (3, 1), faults)
    }

    pub(crate) fn outage() -> Self {
        let faults = FaultSet { outages: true, rejections: true, ..FaultSet::default() };
        Self::warm("store outage; rejections", (2, 1), faults)
    }

    pub(crate) fn outage_with_a_wrong_clock() -> Self {
        let mut scenario =
            Self { name: "store outage; rejections; a clock that is behind", ..Self::outage() };
        scenario.start.servers[0].is_behind = true;
        scenario
    }

    pub(crate) fn loss() -> Self {
        let faults = FaultSet { losses: true, ..FaultSet::default() };
        Self::warm("the store loses its data", (3, 1), faults)
    }

    pub(crate) fn unreadable() -> Self {
        let faults = FaultSet { unreadable: true, crashes: true, ..FaultSet::default() };
        Self::warm("servers that cannot read the record; crashes", (2, 2), faults)
    }

    pub(crate) fn endless_leases() -> Self {
        let faults = FaultSet { endless_leases: true, crashes: true, ..FaultSet::default() };
        Self::warm("leases without end; crashes", (2, 2), faults)
    }

    pub(crate) fn other_upstreams() -> Self {
        let faults = FaultSet { other_upstreams: true, crashes: true, ..FaultSet::default() };
        Self::warm("servers with another upstream; crashes", (2, 2), faults)
    }

    pub(crate) fn broken_records() -> Self {
        let faults = FaultSet { broken_records: true, crashes: true, ..FaultSet::default() };
        Self::warm("broken records; crashes", (2, 2), faults)
    }

    pub(crate) fn lost_generations() -> Self {
        let faults = FaultSet { broken_records: true, lost_generations: true, ..FaultSet::default() };
        Self::warm("broken records, also without a generation", (2, 2), faults)
    }

    pub(crate) fn lost_generation_and_crash() -> Self {
        let faults = FaultSet { lost_generations: true, crashes: true, ..FaultSet::default() };
        Self::warm("a record that loses its generation, and a crash", (1, 2), faults)
    }

    pub(crate) fn all_but_the_store() -> Self {
        let faults = FaultSet { outages: false, losses: false, ..ALL };
        Self { reports: true, ..Self::warm("all faults except those of the store", (2, 2), faults) }
    }

    pub(crate) fn all_faults(refreshes: u8, faults: u8) -> Self {
        Self { reports: true, ..Self::warm("all faults", (refreshes, faults), ALL) }
    }
}

const WITHOUT_PAUSES: FaultSet = FaultSet {
    crashes: true,
    lost_responses: true,
    refusals: true,
    pauses: false,
    late_calls: false,
    rejections: false,
    outages: false,
    losses: false,
    unreadable: false,
    endless_leases: false,
    other_upstreams: false,
    broken_records: false,
    lost_generations: false,
};

const ALL: FaultSet = FaultSet {
    crashes: true,
    pauses: true,
    lost_responses: true,
    refusals: true,
    late_calls: true,
    rejections: true,
    outages: true,
    losses: true,
    unreadable: false,
    endless_leases: false,
    other_upstreams: false,
    broken_records: false,
    lost_generations: false,
};
