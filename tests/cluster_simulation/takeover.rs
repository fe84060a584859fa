//! Whoever refreshes is killed, or stands still, in the middle of its fetch: how long until another's token is stored?

use std::time::Duration;

use fastrand::Rng;
use wxsub_core::token::TokenEndpoint;

use super::cluster::{Outcome, Play, run};
use super::fault_plan::{Fate, Lot, Stranger};
use super::node_faults::{Ambush, Blow};

/// When the refresher is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// While it fetches the first token.
    Start,
    /// While it replaces a good token ahead of its end.
    Refresh,
    /// While it replaces a token that Weixin has just rejected.
    Rejection,
}

const LIFE: Duration = Duration::from_secs(400);

/// One run of so many servers, and how long it took; `None` if nobody was hit in time.
pub(crate) fn takeover(seed: u64, servers: usize, at: At, tells: bool) -> (Outcome, Option<Duration>) {
    let mut dice = Rng::with_seed(seed);
    let from = if at == At::Start { Duration::ZERO } else { LIFE / 4 };
    let gone = Duration::from_secs(60);
    let blow = if dice.bool() { Blow::Killed(gone) } else { Blow::StandsStill(gone) };
    // A call takes 4 to 160 ms.
    let delay = Duration::from_millis(dice.u64(5..90));
    let fate = Fate {
        ambushes: vec![Ambush { from, delay, blow }],
        strangers: if at == At::Rejection { vec![(from, Stranger::HasRobbed)] } else { Vec::new() },
        servers: (0..servers).map(|_| Lot { skew: dice.i64(-600..=600), ..Lot::default() }).collect(),
        ..Fate::default()
    };
    let end = from + if at == At::Start { LIFE / 4 } else { LIFE / 2 };
    let outcome = run(Play { endpoint: TokenEndpoint::Token, life: LIFE, fate, calm: end, end }, dice, tells);
    let took = outcome.ambushed.first().map(|hit| {
        let stored = outcome.stored.iter().find(|stored| *stored >= hit);
        // Until the end, if nobody took over.
        stored.copied().unwrap_or(end).saturating_sub(*hit)
    });
    (outcome, took)
}

/// Servers whom nothing happens to, for some refreshes.
pub(crate) fn calm(seed: u64, servers: usize) -> Outcome {
    let mut dice = Rng::with_seed(seed);
    let lots = (0..servers).map(|_| Lot { skew: dice.i64(-600..=600), ..Lot::default() });
    let fate = Fate { servers: lots.collect(), ..Fate::default() };
    let end = LIFE * 5;
    run(Play { endpoint: TokenEndpoint::Token, life: LIFE, fate, calm: Duration::ZERO, end }, dice, false)
}
