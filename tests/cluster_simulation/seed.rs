//! Fifty servers, and everything else that a seed decides.

use std::time::Duration;

use fastrand::Rng;
use wxsub_core::token::TokenEndpoint;

use super::cluster::{Outcome, Play, run};
use super::fault_plan::fate;
use super::request_bound::Bound;

const SERVERS: usize = 50;

/// Trouble begins and ends before this.
const TROUBLED: Duration = Duration::from_secs(1_800);

/// Then everything must work again.
const END: Duration = Duration::from_secs(2_400);

/// Plays one seed. `tells` prints what happens.
pub(crate) fn play(seed: u64, tells: bool) -> Outcome {
    let mut dice = Rng::with_seed(seed);
    let endpoint = match dice.u8(0..3) {
        0 => TokenEndpoint::StableToken,
        _ => TokenEndpoint::Token,
    };
    let life = Duration::from_secs([900, 1_200, 1_800][dice.usize(0..3)]);
    let fate = fate(&mut dice, SERVERS, TROUBLED);
    let play = Play { endpoint, life, fate, calm: TROUBLED, end: END };
    let bound = Bound::of(&play);
    let mut outcome = run(play, dice, tells);
    let (reached, most) = (outcome.account.reached, bound.most(outcome.account.rejections));
    if reached > most {
        let complaint = format!("{reached} token requests where {most} are enough");
        outcome.account.complaints.push(complaint);
    }
    outcome
}
