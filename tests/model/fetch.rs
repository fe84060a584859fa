//! One attempt, step by step, as in wxsub-core. Between any two steps, other steps may happen.

use super::rules::{Rule, Rules};
use super::state::{Attempt, Outcome, Stage, State, Token};

/// The most attempts to store a token.
const MAX_STORE_ATTEMPTS: u8 = 3;

impl State {
    /// Takes the lease. Without it, adopts a newer token or tries again later.
    pub(crate) fn take_lease(&mut self, at: usize, rules: &Rules) {
        let is_free = self.lease_is_free(rules) || !rules.has(Rule::Lease);
        let fence = self.servers.iter().map(|server| server.attempt.fence).max().unwrap_or_default();
        let fence = if rules.has(Rule::CompareGenerations) { 0 } else { fence.max(self.store.fence) + 1 };
        let server = &mut self.servers[at];
        let attempt = Attempt { fence, ..server.new_attempt() };
        if is_free {
            self.store.orphaned_lease = false;
            self.store.is_endless = false;
            server.attempt = Attempt { stage: Stage::Load, ..attempt };
            server.holds_lease = true;
        } else {
            let outcome = self.adopt(at, &attempt, rules, false).unwrap_or(Outcome::LeaseHeldByPeer);
            let now = self.now();
            self.servers[at].on_finished(outcome, now, rules);
        }
    }

    /// Fetches while the store is unavailable.
    pub(crate) fn fetch_without_lease(&mut self, at: usize) {
        let requested_at = self.now();
        self.abandon_lease(at);
        let server = &mut self.servers[at];
        let attempt = server.new_attempt();
        server.attempt = Attempt { stage: Stage::Mark, requested_at, without_lease: true, ..attempt };
    }

    /// The store is unavailable, and it is too early to fetch without lease; or the server can no longer read the record, and gives
    /// the lease back.
    pub(crate) fn postpone(&mut self, at: usize) {
        if self.store.unavailable {
            self.abandon_lease(at);
        }
        let server = &mut self.servers[at];
        server.holds_lease = false;
        server.attempt = Attempt::default();
        server.due = true;
    }

    fn adopt(&self, at: usize, attempt: &Attempt, rules: &Rules, lost_race: bool) -> Option<Outcome> {
        let token = self.store.token;
        let server = &self.servers[at];
        let is_older = rules.has(Rule::LaterRequestWins)
            && server.unleased_since.is_some()
            && server.held.requested_at > token.requested_at;
        let is_skipped = rules.has(Rule::SkipRejected) && token.id == attempt.rejected;
        let is_newer = token.generation > attempt.known && !is_skipped && !is_older && !self.store.is_broken;
        is_newer.then_some(Outcome::Adopted { token, in_doubt: self.store.in_doubt, lost_race })
    }

    pub(crate) fn load(&mut self, at: usize, rules: &Rules) {
        let attempt = self.servers[at].attempt;
        let (record, requested_at) = (self.store.token.generation, self.now());
        self.servers[at].attempt =
            match self.adopt(at, &attempt, rules, false).filter(|_| rules.has(Rule::LoadFirst)) {
                Some(outcome) => attempt.ends(outcome, false),
                None => Attempt { stage: Stage::Mark, record, requested_at, ..attempt },
            };
    }

    /// Sets the marker, and checks whether the lease is still valid.
    pub(crate) fn set_marker(&mut self, at: usize, rules: &Rules) {
        let server = &mut self.servers[at];
        if rules.has(Rule::Marker) && !self.store.unavailable && !self.store.in_doubt {
            self.store.in_doubt = true;
            server.owns_marker = true;
        }
        server.attempt = if server.attempt.lease_trusted || !rules.has(Rule::CheckLeaseBeforeCall) {
            Attempt { stage: Stage::Call, ..server.attempt }
        } else {
            server.attempt.ends(Outcome::LeaseHeldByPeer, true)
        };
    }

    /// Weixin issues a token, which is the valid one from now on.
    pub(crate) fn issue(&mut self, at: usize) {
        self.newest += 1;
        self.servers[at].attempt.stage = Stage::Put { id: self.newest, store_attempts: 0 };
    }

    /// Tries to store the token. If the store has a newer one, adopts that.
    pub(crate) fn put(&mut self, at: usize, id: u8, store_attempts: u8, rules: &Rules) {
        let mut attempt = self.servers[at].attempt;
        let next = attempt.known.max(attempt.record) + 1;
        let is_time = rules.has(Rule::GenerationsAreTimes) && !self.servers[at].is_behind;
        let generation = if is_time { next.max(attempt.requested_at) } else { next };
        let token = Token { id, generation, requested_at: attempt.requested_at };
        let (stored, unstored) = match attempt.without_lease {
            true => (Outcome::IssuedWithoutLease(token), Outcome::IssuedWithoutLease(token)),
            false if rules.has(Rule::UnstoredIsUnleased) => {
                (Outcome::Issued(token), Outcome::IssuedWithoutLease(token))
            }
            false => (Outcome::Issued(token), Outcome::Issued(token)),
        };
        let found = self.store.token;
        let found_is_later = rules.has(Rule::LaterRequestWins)
            && !self.store.is_broken
            && found.requested_at > attempt.requested_at;
        let outcome = if self.store.unavailable {
            Some(unstored)
        } else if found_is_later && self.store_accepts(&attempt, next, rules) {
            let token = Token { generation: next, ..found };
            self.store.token = token;
            Some(Outcome::Adopted {
                token,
                in_doubt: self.store.in_doubt,
                lost_race: rules.has(Rule::SecondFetch),
            })
        } else if self.store_accepts(&attempt, generation, rules) {
            self.store.token = token;
            self.store.is_broken = false;
            self.store.fence = attempt.fence;
            if rules.has(Rule::StoreClearsMarker) {
                self.clear_marker();
            }
            Some(stored)
        } else if found.generation <= attempt.record && rules.has(Rule::CompareGenerations) {
            // The store has lost its data.
            Some(unstored)
        } else {
            attempt.record = found.generation;
            let last = (store_attempts + 1 == MAX_STORE_ATTEMPTS).then_some(unstored);
            self.adopt(at, &attempt, rules, rules.has(Rule::SecondFetch)).or(last)
        };
        self.servers[at].attempt = match outcome {
            Some(outcome) => attempt.ends(outcome, false),
            None => Attempt { stage: Stage::Put { id, store_attempts: store_attempts + 1 }, ..attempt },
        };
    }

    fn store_accepts(&self, attempt: &Attempt, generation: u8, rules: &Rules) -> bool {
        let stored = self.store.token.generation;
        match rules.dropped {
            Some(Rule::CompareBeforeWriting) => true,
            Some(Rule::CompareGenerations) => attempt.fence >= self.store.fence,
            Some(Rule::ReplaceOnlyLoaded) => generation > stored,
            _ => stored == attempt.record && generation > stored,
        }
    }

    pub(crate) fn end(&mut self, at: usize, outcome: Outcome, clears_marker: bool, rules: &Rules) {
        let has_marker = self.servers[at].owns_marker;
        if self.store.unavailable {
            self.abandon_lease(at);
        } else if clears_marker && (self.servers[at].owns_marker || !rules.has(Rule::OwnMarkerOnly)) {
            self.clear_marker();
        }
        let now = self.now();
        let server = &mut self.servers[at];
        server.holds_lease = false;
        server.owns_marker = false;
        server.must_look |= rules.has(Rule::LookAfterAttempt);
        server.on_finished(outcome, now, rules);
        server.has_marker_of_held =
            has_marker && matches!(outcome, Outcome::IssuedWithoutLease(token) if token == server.held);
    }

    /// The lease stays in the store until it expires, and so does the marker.
    pub(crate) fn abandon_lease(&mut self, at: usize) {
        let server = &mut self.servers[at];
        self.store.orphaned_lease |= std::mem::take(&mut server.holds_lease);
        server.owns_marker = false;
    }
}
