//! The steps that are possible in a state.

use super::rules::{Rule, Rules};
use super::scenario::Scenario;
use super::state::{Attempt, Outcome, SERVERS, Server, Stage, State, Store, Token};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) act: Act,
    /// The server, for a step of a server.
    pub(crate) at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    TakeLease,
    FetchWithoutLease,
    Postpone,
    Load,
    Mark,
    Call,
    Issue,
    IssueOrphaned,
    DropOrphaned,
    Put,
    GiveUp,
    End,
    Poll,
    ScheduleTakeover,
    OrphanedLeaseExpires,
    ReadsAgain,
    IsCorrected,
    StoreRecovers,
    Counted(Counted),
}

/// Steps that may not happen: faults and refreshes, whose number is bounded, and reads without a reason. All other steps
/// happen sooner or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    SpareLook,
    RefreshDue,
    SeeRejection,
    Report,
    Crash,
    Pause,
    LoseResponse,
    Refuse,
    DelayRequest,
    StoreFails,
    StoreLosesData,
    CannotRead,
    LeaseWithoutEnd,
    OtherUpstream,
    /// Whether the generation is lost too.
    RecordBreaks(bool),
}

pub(crate) struct Model<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) scenario: &'a Scenario,
}

/// Collects the steps from one state.
struct Steps<'a> {
    rules: &'a Rules,
    scenario: &'a Scenario,
    state: &'a State,
    at: usize,
    found: Vec<(Step, State)>,
}

impl Steps<'_> {
    /// Adds a step, unless it changes nothing.
    fn add(&mut self, act: Act, change: impl FnOnce(&mut State)) {
        let mut next = *self.state;
        change(&mut next);
        next.announce(self.state, act, self.rules);
        if next != *self.state {
            self.found.push((Step { act, at: self.at }, next));
        }
    }

    fn refresh(&mut self, refresh: Counted, change: impl FnOnce(&mut State)) {
        if self.state.refreshes_left > 0 {
            self.add(Act::Counted(refresh), |next| {
                next.refreshes_left -= 1;
                change(next);
            });
        }
    }

    fn fault(&mut self, fault: Counted, change: impl FnOnce(&mut State)) {
        if self.state.faults_left > 0 && self.scenario.kinds.contains(&fault) {
            self.add(Act::Counted(fault), |next| {
                next.faults_left -= 1;
                change(next);
            });
        }
    }
}

impl Model<'_> {
    /// All possible steps, with the states they lead to.
    pub(crate) fn steps(&self, state: &State) -> Vec<(Step, State)> {
        let mut steps = self.no_steps(state);
        Self::add_environment_steps(state, &mut steps);
        for at in 0..SERVERS {
            steps.at = at;
            self.add_own_steps(state, &mut steps);
            self.add_inputs(state, &mut steps);
            self.add_faults(state, &mut steps);
        }
        steps.found
    }

    fn no_steps<'a>(&'a self, state: &'a State) -> Steps<'a> {
        Steps { rules: self.rules, scenario: self.scenario, state, at: 0, found: Vec::with_capacity(16) }
    }

    /// Steps of a server by itself.
    fn add_own_steps(&self, state: &State, steps: &mut Steps<'_>) {
        let (rules, unavailable, at) = (self.rules, state.store.unavailable, steps.at);
        let Server { attempt: Attempt { stage, .. }, due, is_blind, is_foreign, .. } = state.servers[at];
        steps.add(Act::ReadsAgain, |next| next.servers[at].is_blind = false);
        if is_foreign {
            steps.add(Act::IsCorrected, |next| next.restart(at));
            if rules.has(Rule::RefuseOtherUpstream) {
                return;
            }
        }
        let is_blind = is_blind || (state.store.is_broken && !rules.has(Rule::ReplaceBroken));
        match stage {
            Stage::None if due && unavailable => {
                steps.add(Act::FetchWithoutLease, |next| next.fetch_without_lease(at));
            }
            Stage::None if due && is_blind && rules.has(Rule::ReadBeforeLease) => {}
            Stage::None if due => steps.add(Act::TakeLease, |next| next.take_lease(at, rules)),
            Stage::None => {}
            Stage::Load if unavailable => {
                steps.add(Act::FetchWithoutLease, |next| next.fetch_without_lease(at));
                steps.add(Act::Postpone, |next| next.postpone(at));
            }
            Stage::Load if is_blind => steps.add(Act::Postpone, |next| next.postpone(at)),
            Stage::Load => steps.add(Act::Load, |next| next.load(at, rules)),
            Stage::Mark => steps.add(Act::Mark, |next| next.set_marker(at, rules)),
            Stage::Call => steps.add(Act::Call, |next| next.issue(at)),
            Stage::Wait => steps.add(Act::Issue, |next| next.issue(at)),
            Stage::Put { id, store_attempts } => {
                steps.add(Act::Put, |next| next.put(at, id, store_attempts, rules));
            }
            Stage::End { outcome, clears_marker } => {
                steps.add(Act::End, |next| next.end(at, outcome, clears_marker, rules));
            }
        }
    }

    /// Steps caused by the store and by callers.
    fn add_inputs(&self, state: &State, steps: &mut Steps<'_>) {
        let at = steps.at;
        let server = &state.servers[at];
        let idle = server.attempt.stage == Stage::None && !server.due && !server.is_foreign;
        let refuses = server.is_foreign && self.rules.has(Rule::RefuseOtherUpstream);
        if !state.store.unavailable && !server.is_blind && !refuses {
            let act = if server.must_look { Act::Poll } else { Act::Counted(Counted::SpareLook) };
            steps.add(act, |next| next.poll_store(at, self.rules));
            // The marker is older than a lease.
            let fetching =
                state.servers.iter().any(|server| server.owns_marker && server.attempt.lease_trusted);
            if idle
                && state.store.in_doubt
                && server.knows_marker
                && !fetching
                && server.held == state.store.token
                && !state.store.is_broken
            {
                steps.add(Act::ScheduleTakeover, |next| next.servers[at].schedule_takeover());
            }
        }
        if idle {
            steps.refresh(Counted::RefreshDue, |next| next.servers[at].due = true);
        }
        let can_reject = self.scenario.kinds.contains(&Counted::SeeRejection);
        if can_reject && server.held.id != 0 && server.held.id != state.newest {
            steps.refresh(Counted::SeeRejection, |next| next.servers[at].on_rejection());
        }
    }

    /// Faults of a server and its call.
    fn add_faults(&self, state: &State, steps: &mut Steps<'_>) {
        let (rules, at) = (self.rules, steps.at);
        let Server { attempt: Attempt { stage, lease_trusted, .. }, holds_lease, .. } = state.servers[at];
        steps.fault(Counted::CannotRead, |next| next.servers[at].is_blind = true);
        steps.fault(Counted::Crash, |next| next.restart(at));
        steps.fault(Counted::OtherUpstream, |next| {
            next.restart(at);
            next.servers[at].is_foreign = true;
        });
        if holds_lease {
            steps.fault(Counted::Pause, |next| {
                next.servers[at].holds_lease = false;
                next.servers[at].attempt.lease_trusted = false;
            });
        }
        if matches!(stage, Stage::Wait | Stage::Put { store_attempts: 0, .. }) {
            if lease_trusted {
                steps.fault(Counted::LoseResponse, |next| next.give_up(at, rules));
            } else if self.scenario.kinds.contains(&Counted::LoseResponse) {
                // A server that was suspended for long has run into its timeout.
                steps.add(Act::GiveUp, |next| next.give_up(at, rules));
            }
        }
        if stage == Stage::Call {
            steps.fault(Counted::Refuse, |next| {
                let attempt = &mut next.servers[at].attempt;
                *attempt = attempt.ends(Outcome::Refused, true);
            });
            steps.fault(Counted::DelayRequest, |next| {
                next.servers[at].attempt.stage = Stage::Wait;
            });
        }
    }

    /// Steps of the store and of requests whose caller has given up.
    fn add_environment_steps(state: &State, steps: &mut Steps<'_>) {
        if !state.store.is_endless {
            steps.add(Act::OrphanedLeaseExpires, |next| next.store.orphaned_lease = false);
        }
        let has_lease = state.servers.iter().any(|server| server.holds_lease);
        if !has_lease {
            steps.fault(Counted::LeaseWithoutEnd, |next| {
                next.store.orphaned_lease = true;
                next.store.is_endless = true;
            });
        }
        if state.store.token.id != 0 {
            steps.fault(Counted::RecordBreaks(false), |next| next.store.is_broken = true);
            steps.fault(Counted::RecordBreaks(true), |next| {
                next.store.is_broken = true;
                next.store.token = Token::default();
            });
        }
        steps.add(Act::StoreRecovers, |next| next.store.unavailable = false);
        if !state.store.unavailable {
            steps.fault(Counted::StoreFails, |next| next.store.unavailable = true);
        }
        steps.fault(Counted::StoreLosesData, State::lose_data);
        if state.orphaned_requests > 0 {
            steps.add(Act::DropOrphaned, |next| next.orphaned_requests -= 1);
            steps.add(Act::IssueOrphaned, |next| {
                next.orphaned_requests -= 1;
                next.newest += 1;
            });
        }
    }

    /// An invalid token is observed by a server or reported by a client. No fault happens after that.
    pub(crate) fn reports(&self, state: &State) -> Vec<(Step, State)> {
        let calm = State { refreshes_left: 0, faults_left: 0, reported: true, ..*state };
        let mut steps = self.no_steps(state);
        for at in 0..SERVERS {
            steps.at = at;
            steps.add(Act::Counted(Counted::SeeRejection), |next| {
                *next = calm;
                next.servers[at].on_rejection();
            });
            steps.add(Act::Counted(Counted::Report), |next| {
                *next = calm;
                next.servers[at].due = true;
            });
        }
        steps.found
    }
}

impl State {
    /// No response in time. The request may still be in flight.
    fn give_up(&mut self, at: usize, rules: &Rules) {
        let attempt = &mut self.servers[at].attempt;
        self.orphaned_requests += u8::from(attempt.stage == Stage::Wait);
        *attempt = attempt.ends(Outcome::Lost, !rules.has(Rule::LostResponseKeepsMarker));
    }

    /// A server starts with no state, also after a crash.
    fn restart(&mut self, at: usize) {
        self.orphaned_requests += u8::from(self.servers[at].attempt.stage == Stage::Wait);
        self.abandon_lease(at);
        let is_behind = self.servers[at].is_behind;
        self.servers[at] = Server { due: true, must_look: true, is_behind, ..Server::default() };
    }

    /// Announces a change to all servers. A read that would change nothing happens at once.
    fn announce(&mut self, before: &Self, act: Act, rules: &Rules) {
        let record = |state: &Self| (state.store.token, state.store.in_doubt);
        let is_announced = match act {
            Act::Counted(Counted::StoreLosesData) => rules.has(Rule::LookAfterLoss),
            _ => rules.has(Rule::Announce) && record(self) != record(before),
        };
        // The looks in turn find a broken record.
        let is_found = self.store.is_broken && !before.store.is_broken;
        for at in 0..SERVERS {
            let refuses = self.servers[at].is_foreign && rules.has(Rule::RefuseOtherUpstream);
            self.servers[at].must_look |= (is_announced || is_found) && !refuses;
            self.servers[at].knows_marker &= self.store.in_doubt;
            if self.servers[at].must_look && !self.store.unavailable && !self.servers[at].is_blind {
                let mut next = *self;
                next.poll_store(at, rules);
                let read = Server { must_look: false, ..self.servers[at] };
                if next.servers[at] == read && next.store == self.store {
                    self.servers[at] = read;
                }
            }
        }
    }

    fn lose_data(&mut self) {
        self.store = Store { unavailable: self.store.unavailable, ..Store::default() };
        for server in &mut self.servers {
            server.holds_lease = false;
            server.owns_marker = false;
            server.has_marker_of_held = false;
        }
    }
}
