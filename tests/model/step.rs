//! What can happen next.

use super::rules::Rules;
use super::scenario::Weather;
use super::state::{Attempt, Outcome, SERVERS, Server, Stage, State, Store};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) act: Act,
    /// Whose; nobody's where it is not a server's.
    pub(crate) at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    TakeLease,
    GoAlone,
    PutOff,
    Load,
    Mark,
    Call,
    Issue,
    IssueToNobody,
    DropStray,
    Put,
    GiveUp,
    End,
    Poll,
    Suspect,
    ForsakenLeaseEnds,
    StoreIsBack,
    Counted(Counted),
}

/// These happen so often only. Whatever else can happen does, sooner or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    ComeDue,
    SeeRejection,
    HearClaim,
    Crash,
    Pause,
    LoseReply,
    Refuse,
    CallSlowly,
    StoreGoes,
    StoreForgets,
}

pub(crate) struct World<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) weather: &'a Weather,
}

/// Collects what can happen to one state.
struct Steps<'a> {
    state: &'a State,
    at: usize,
    found: Vec<(Step, State)>,
}

impl Steps<'_> {
    /// What changes nothing does not count.
    fn may(&mut self, act: Act, change: impl FnOnce(&mut State)) {
        let mut next = *self.state;
        change(&mut next);
        if next != *self.state {
            self.found.push((Step { act, at: self.at }, next));
        }
    }

    fn wish(&mut self, wish: Counted, change: impl FnOnce(&mut State)) {
        if self.state.wishes > 0 {
            self.may(Act::Counted(wish), |next| {
                next.wishes -= 1;
                change(next);
            });
        }
    }

    fn mishap(&mut self, allowed: bool, mishap: Counted, change: impl FnOnce(&mut State)) {
        if allowed && self.state.mishaps > 0 {
            self.may(Act::Counted(mishap), |next| {
                next.mishaps -= 1;
                change(next);
            });
        }
    }
}

impl World<'_> {
    /// Everything that can happen next, and what comes of it.
    pub(crate) fn steps(&self, state: &State) -> Vec<(Step, State)> {
        let mut steps = Steps { state, at: 0, found: Vec::with_capacity(16) };
        self.around(state, &mut steps);
        for at in 0..SERVERS {
            steps.at = at;
            self.goes_on(state, &mut steps);
            self.hears(state, &mut steps);
            self.fails(state, &mut steps);
        }
        steps.found
    }

    /// What a server does by itself.
    fn goes_on(&self, state: &State, steps: &mut Steps<'_>) {
        let (rules, away, at) = (self.rules, state.store.away, steps.at);
        let Server { attempt: Attempt { stage, .. }, due, .. } = state.servers[at];
        match stage {
            Stage::None if due && away => steps.may(Act::GoAlone, |next| next.go_alone(at)),
            Stage::None if due => steps.may(Act::TakeLease, |next| next.take_lease(at, rules)),
            Stage::None => {}
            Stage::Load if away => {
                steps.may(Act::GoAlone, |next| next.go_alone(at));
                steps.may(Act::PutOff, |next| next.put_off(at));
            }
            Stage::Load => steps.may(Act::Load, |next| next.load(at, rules)),
            Stage::Mark => steps.may(Act::Mark, |next| next.mark(at, rules)),
            Stage::Call => steps.may(Act::Call, |next| next.issue(at)),
            Stage::Wait => steps.may(Act::Issue, |next| next.issue(at)),
            Stage::Put { id, offers } => steps.may(Act::Put, |next| next.put(at, id, offers, rules)),
            Stage::End { outcome, unmark } => {
                steps.may(Act::End, |next| next.end(at, outcome, unmark, rules));
            }
        }
    }

    /// What comes from the store, and from those who want a token.
    fn hears(&self, state: &State, steps: &mut Steps<'_>) {
        let at = steps.at;
        let server = &state.servers[at];
        let idle = server.attempt.stage == Stage::None && !server.due;
        if !state.store.away {
            steps.may(Act::Poll, |next| next.poll(at, self.rules));
            // The mark is older than a lease.
            let fetching = state.servers.iter().any(|server| server.marks && server.attempt.trusted);
            if idle && state.store.marked && !fetching && server.held == state.store.token {
                steps.may(Act::Suspect, |next| next.servers[at].looks_after());
            }
        }
        if idle {
            steps.wish(Counted::ComeDue, |next| next.servers[at].due = true);
        }
        if self.weather.rejections && server.held.id != 0 && server.held.id != state.newest {
            steps.wish(Counted::SeeRejection, |next| next.servers[at].sees_rejection());
        }
    }

    /// What goes wrong with a server or its call.
    fn fails(&self, state: &State, steps: &mut Steps<'_>) {
        let (rules, weather, at) = (self.rules, self.weather, steps.at);
        let Server { attempt: Attempt { stage, trusted, .. }, leases, .. } = state.servers[at];
        steps.mishap(weather.crashes, Counted::Crash, |next| next.crash(at));
        steps.mishap(weather.pauses && leases, Counted::Pause, |next| {
            next.servers[at].leases = false;
            next.servers[at].attempt.trusted = false;
        });
        if weather.lost_replies && matches!(stage, Stage::Wait | Stage::Put { offers: 0, .. }) {
            // Whoever was stopped for long finds the time for a reply over.
            match trusted {
                true => steps.mishap(true, Counted::LoseReply, |next| next.give_up(at, rules)),
                false => steps.may(Act::GiveUp, |next| next.give_up(at, rules)),
            }
        }
        if stage == Stage::Call {
            steps.mishap(weather.refusals, Counted::Refuse, |next| {
                let attempt = &mut next.servers[at].attempt;
                *attempt = attempt.ends(Outcome::Refused, true);
            });
            steps.mishap(weather.late_calls, Counted::CallSlowly, |next| {
                next.servers[at].attempt.stage = Stage::Wait;
            });
        }
    }

    /// What happens to the store, and to requests that nobody waits for.
    fn around(&self, state: &State, steps: &mut Steps<'_>) {
        steps.may(Act::ForsakenLeaseEnds, |next| next.store.forsaken_lease = false);
        steps.may(Act::StoreIsBack, |next| next.store.away = false);
        let goes = self.weather.outages && !state.store.away;
        steps.mishap(goes, Counted::StoreGoes, |next| next.store.away = true);
        steps.mishap(self.weather.losses, Counted::StoreForgets, State::forget);
        if state.strays > 0 {
            steps.may(Act::DropStray, |next| next.strays -= 1);
            steps.may(Act::IssueToNobody, |next| {
                next.strays -= 1;
                next.newest += 1;
            });
        }
    }

    /// Somebody tells of a token that does not work: one who saw it rejected, or who only says so. From then on nothing
    /// goes wrong any more.
    pub(crate) fn reports(&self, state: &State) -> Vec<(Step, State)> {
        let calm = State { wishes: 0, mishaps: 0, reported: true, ..*state };
        let mut steps = Steps { state, at: 0, found: Vec::new() };
        for at in 0..SERVERS {
            steps.at = at;
            steps.may(Act::Counted(Counted::SeeRejection), |next| {
                *next = calm;
                next.servers[at].sees_rejection();
            });
            steps.may(Act::Counted(Counted::HearClaim), |next| {
                *next = calm;
                next.servers[at].due = true;
            });
        }
        steps.found
    }
}

impl State {
    /// No reply, or too late. The request may still be on its way.
    fn give_up(&mut self, at: usize, rules: &Rules) {
        let attempt = &mut self.servers[at].attempt;
        self.strays += u8::from(attempt.stage == Stage::Wait);
        *attempt = attempt.ends(Outcome::Lost, !rules.lost_answer_leaves_mark);
    }

    fn crash(&mut self, at: usize) {
        self.strays += u8::from(self.servers[at].attempt.stage == Stage::Wait);
        self.abandon_lease(at);
        self.servers[at] = Server { due: true, ..Server::default() };
    }

    fn forget(&mut self) {
        self.store = Store { away: self.store.away, ..Store::default() };
        for server in &mut self.servers {
            server.leases = false;
            server.marks = false;
        }
    }
}
