//! What must hold.

use super::scenario::Scenario;
use super::state::State;
use super::step::{Act, Counted, Step};

/// At every step.
pub(crate) fn wrong_step(
    scenario: &Scenario,
    before: &State,
    step: Step,
    after: &State,
) -> Option<&'static str> {
    let Step { act, at } = step;
    let forgets = act == Act::Counted(Counted::StoreForgets);
    if !forgets && after.store.token.generation < before.store.token.generation {
        return Some("an older generation replaces a newer one in the store");
    }
    let (held, holds) = (before.servers[at].held, after.servers[at].held);
    if holds.id != 0 && holds.generation < held.generation {
        return Some("a server goes back to an older generation");
    }
    let calm = before.mishaps == scenario.start.mishaps;
    if calm && act == Act::Call {
        if before.servers.iter().filter(|server| server.is_calling()).count() > 1 {
            return Some("two call Weixin at once, though nothing has gone wrong");
        }
        if before.servers[at].attempt.known != before.store.token.generation {
            return Some("a call ends a token that its caller does not know, though nothing has gone wrong");
        }
    }
    None
}

/// When nothing is under way, and nobody has anything left to do.
pub(crate) fn wrong_at_rest(state: &State) -> Option<&'static str> {
    if state.store.token.id != state.newest {
        return Some("all is quiet, and the token in the store does not work");
    }
    let same = state.servers.iter().all(|server| server.held == state.store.token);
    (!same).then_some("all is quiet, and a server holds another token than the store")
}
