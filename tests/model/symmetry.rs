//! Symmetry reduction: states that differ only in the order of servers and the numbering of tokens are one state.

use super::breadth_first::Ranks;
use super::rules::{Rule, Rules};
use super::state::{Attempt, Outcome, Server, Stage, State, Token};

impl State {
    pub(crate) fn canonical(mut self, rules: &Rules) -> Self {
        self.drop_unused_rejections();
        let ids = Ranks::new(self.servers.iter().flat_map(ids).chain([self.store.token.id, self.newest]));
        let store = self.store.token;
        let times = Ranks::new(self.servers.iter().flat_map(Server::times).chain([store.requested_at]));
        let generations = self.servers.iter().flat_map(Server::generations).chain([store.generation]);
        // Generations that are times are compared with times.
        let generations = Ranks::new(
            generations.chain(self.servers.iter().flat_map(Server::times)).chain([store.requested_at]),
        );
        let are_times = rules.has(Rule::GenerationsAreTimes);
        let time = |number| if are_times { generations.rank(number) } else { times.rank(number) };
        let generation = |number| if are_times { generations.rank(number) } else { number };
        let fences =
            Ranks::new(self.servers.iter().map(|server| server.attempt.fence).chain([self.store.fence]));
        let token = |token: Token| Token {
            id: ids.rank(token.id),
            generation: generation(token.generation),
            requested_at: time(token.requested_at),
        };
        for server in &mut self.servers {
            server.held = token(server.held);
            server.known = generation(server.known);
            server.rejected = ids.rank(server.rejected);
            server.unleased_since = server.unleased_since.map(generation);
            server.unconfirmed_call_at = time(server.unconfirmed_call_at);
            server.awaits_peer &= server.due || server.attempt != Attempt::default();
            let attempt = &mut server.attempt;
            attempt.known = generation(attempt.known);
            attempt.rejected = ids.rank(attempt.rejected);
            attempt.record = generation(attempt.record);
            attempt.requested_at = time(attempt.requested_at);
            attempt.fence = fences.rank(attempt.fence);
            attempt.stage = renumber(attempt.stage, token);
        }
        self.store.token = token(self.store.token);
        self.store.fence = fences.rank(self.store.fence);
        self.newest = ids.rank(self.newest);
        self.servers.sort_unstable();
        self
    }

    /// A rejection matters only as long as a server or the store has the token.
    fn drop_unused_rejections(&mut self) {
        let present = Ranks::new(
            self.servers
                .iter()
                .flat_map(|server| [server.held.id, server.attempt.stage.token().map_or(0, |token| token.id)])
                .chain([self.store.token.id]),
        );
        for server in &mut self.servers {
            for rejected in [&mut server.rejected, &mut server.attempt.rejected] {
                if present.0 & (1 << *rejected) == 0 {
                    *rejected = 0;
                }
            }
        }
    }
}

fn ids(server: &Server) -> [u8; 4] {
    let ending = server.attempt.stage.token().map_or(0, |token| token.id);
    [server.held.id, server.rejected, server.attempt.rejected, ending]
}

fn renumber(stage: Stage, token: impl Fn(Token) -> Token) -> Stage {
    match stage {
        Stage::Put { id, store_attempts } => {
            Stage::Put { id: token(Token { id, ..Token::default() }).id, store_attempts }
        }
        Stage::End { outcome, clears_marker } => {
            let outcome = match outcome {
                Outcome::Issued(issued) => Outcome::Issued(token(issued)),
                Outcome::IssuedWithoutLease(issued) => Outcome::IssuedWithoutLease(token(issued)),
                Outcome::Adopted { token: adopted, in_doubt, lost_race } => {
                    Outcome::Adopted { token: token(adopted), in_doubt, lost_race }
                }
                other @ (Outcome::LeaseHeldByPeer | Outcome::Refused | Outcome::Lost) => other,
            };
            Stage::End { outcome, clears_marker }
        }
        other @ (Stage::None | Stage::Load | Stage::Mark | Stage::Call | Stage::Wait) => other,
    }
}
