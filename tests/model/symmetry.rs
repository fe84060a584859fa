//! States that differ in names only are one state: which server is which, how tokens and generations are numbered.

use super::rules::Generations;
use super::state::{Attempt, Outcome, Server, Stage, State, Token};

/// New numbers in the same order, without gaps.
struct Ranks(u64);

impl Ranks {
    fn of(numbers: impl Iterator<Item = u8>) -> Self {
        Self(numbers.fold(0, |all, number| all | 1 << number) & !1)
    }

    fn rank(&self, number: u8) -> u8 {
        let below = self.0 & ((2 << number) - 1);
        u8::try_from(below.count_ones()).unwrap()
    }
}

impl State {
    pub(crate) fn canonical(mut self, numbering: Generations) -> Self {
        self.forget_rejected();
        let ids = Ranks::of(self.servers.iter().flat_map(ids).chain([self.store.token.id, self.newest]));
        let store = self.store.token;
        let times = Ranks::of(self.servers.iter().flat_map(Server::times).chain([store.asked]));
        let generations = self.servers.iter().flat_map(Server::generations).chain([store.generation]);
        // A generation that is a time is compared with times.
        let generations =
            Ranks::of(generations.chain(self.servers.iter().flat_map(Server::times)).chain([store.asked]));
        let time = |number| match numbering {
            Generations::Times => generations.rank(number),
            Generations::Counted => times.rank(number),
        };
        let fences =
            Ranks::of(self.servers.iter().map(|server| server.attempt.fence).chain([self.store.fence]));
        let generation = |number| match numbering {
            Generations::Times => generations.rank(number),
            Generations::Counted => number,
        };
        let token = |token: Token| Token {
            id: ids.rank(token.id),
            generation: generation(token.generation),
            asked: time(token.asked),
        };
        for server in &mut self.servers {
            server.held = token(server.held);
            server.known = generation(server.known);
            server.rejected = ids.rank(server.rejected);
            server.fetched_after = server.fetched_after.map(generation);
            server.unsettled = time(server.unsettled);
            server.watches &= server.due || server.attempt != Attempt::default();
            let attempt = &mut server.attempt;
            attempt.known = generation(attempt.known);
            attempt.rejected = ids.rank(attempt.rejected);
            attempt.record = generation(attempt.record);
            attempt.asked = time(attempt.asked);
            attempt.fence = fences.rank(attempt.fence);
            attempt.stage = renumbered(attempt.stage, token);
        }
        self.store.token = token(self.store.token);
        self.store.fence = fences.rank(self.store.fence);
        self.newest = ids.rank(self.newest);
        self.servers.sort_unstable();
        self
    }

    /// That a token was rejected matters as long as somebody can offer it.
    fn forget_rejected(&mut self) {
        let offered = Ranks::of(
            self.servers
                .iter()
                .flat_map(|server| [server.held.id, server.attempt.stage.token().map_or(0, |token| token.id)])
                .chain([self.store.token.id]),
        );
        for server in &mut self.servers {
            for rejected in [&mut server.rejected, &mut server.attempt.rejected] {
                if offered.0 & (1 << *rejected) == 0 {
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

fn renumbered(stage: Stage, token: impl Fn(Token) -> Token) -> Stage {
    match stage {
        Stage::Put { id, offers } => Stage::Put { id: token(Token { id, ..Token::default() }).id, offers },
        Stage::End { outcome, unmark } => {
            let outcome = match outcome {
                Outcome::Issued(issued) => Outcome::Issued(token(issued)),
                Outcome::IssuedAlone(issued) => Outcome::IssuedAlone(token(issued)),
                Outcome::Adopted { token: adopted, marked, raced } => {
                    Outcome::Adopted { token: token(adopted), marked, raced }
                }
                other @ (Outcome::Elsewhere | Outcome::Refused | Outcome::Lost) => other,
            };
            Stage::End { outcome, unmark }
        }
        other @ (Stage::None | Stage::Load | Stage::Mark | Stage::Call | Stage::Wait) => other,
    }
}
