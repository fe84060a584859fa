//! What becomes of one cluster: everything that goes wrong in it, out of the dice.

use std::time::Duration;

use fastrand::Rng;

use super::faults::{Spell, Trouble, weather};
use super::node_faults::{Ambush, Blow};
use super::store_faults::MoodSpell;

/// A token that another has replaced behind everybody's back dies so much later; by the end of the trouble that is over.
const OVERLAP: Duration = Duration::from_secs(300);

/// How late a request may arrive.
const LATEST: Duration = Duration::from_secs(90);

#[derive(Debug, Default)]
pub(crate) struct Fate {
    pub(crate) redis: Vec<(MoodSpell, Return)>,
    pub(crate) strangers: Vec<(Duration, Stranger)>,
    pub(crate) ambushes: Vec<Ambush>,
    pub(crate) servers: Vec<Lot>,
}

/// How Redis is after a spell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Return {
    AsItWas,
    Empty,
    /// As it was so long ago.
    Older(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// Has fetched a token, and the overlap is over.
    HasRobbed,
    /// Fetches a token just now.
    Fetches,
}

/// What becomes of one server.
#[derive(Debug, Default)]
pub(crate) struct Lot {
    /// How far its wall clock is off, in seconds.
    pub(crate) skew: i64,
    /// Between it and Weixin.
    pub(crate) weather: Vec<Spell>,
    /// Between it and Redis, and of Redis.
    pub(crate) store_weather: Vec<MoodSpell>,
    pub(crate) blows: Vec<(Duration, Blow)>,
    /// When somebody reports its token.
    pub(crate) claims: Vec<Duration>,
}

/// Of so many servers. Half of the kinds of trouble stay away, so that each is met alone, too.
pub(super) fn fate(dice: &mut Rng, servers: usize, end: Duration) -> Fate {
    let mut fate = Fate::default();
    let some = |dice: &mut Rng, most: u8| if dice.bool() { dice.u8(0..=most) } else { 0 };
    fate.redis = (0..some(dice, 3)).map(|_| (MoodSpell::any(dice, end), comes_back(dice))).collect();
    // One after the other, so that each finds Redis as the last has left it.
    fate.redis.sort_by_key(|(spell, _)| spell.from);
    fate.redis.dedup_by(|later, earlier| later.0.from < earlier.0.to);
    let seen = end - OVERLAP;
    fate.strangers = (0..some(dice, 3)).map(|_| (moment(dice, seen), stranger(dice))).collect();
    fate.ambushes = (0..some(dice, 4)).map(|_| ambush(dice, end)).collect();
    let all = if dice.bool() { weather(dice, end) } else { Vec::new() };
    let all = all.into_iter().map(|spell| over_by(spell, end)).collect::<Vec<_>>();
    let (own_weather, own_store, blows) = (dice.bool(), dice.bool(), dice.bool());
    for _ in 0..servers {
        let mut lot = Lot { skew: dice.i64(-600..=600), weather: all.clone(), ..Lot::default() };
        lot.store_weather = fate.redis.iter().map(|(spell, _)| spell.clone()).collect();
        if own_weather && dice.u8(0..4) == 0 {
            lot.weather.extend(weather(dice, end).into_iter().map(|spell| over_by(spell, end)));
        }
        if own_store && dice.u8(0..4) == 0 {
            lot.store_weather.push(MoodSpell::any(dice, end));
        }
        if blows {
            lot.blows = (0..dice.u8(0..3)).map(|_| (moment(dice, end), Blow::any(dice))).collect();
        }
        fate.servers.push(lot);
    }
    for _ in 0..some(dice, 5) {
        let at = moment(dice, end);
        fate.servers[dice.usize(0..servers)].claims.push(at);
    }
    fate
}

/// A request that arrives late does what a stranger does.
fn over_by(mut spell: Spell, end: Duration) -> Spell {
    if spell.trouble == Trouble::ArrivesLate {
        spell.to = spell.to.min(end - OVERLAP - LATEST);
    }
    spell
}

fn moment(dice: &mut Rng, end: Duration) -> Duration {
    Duration::from_millis(dice.u64(0..u64::try_from(end.as_millis()).unwrap()))
}

fn comes_back(dice: &mut Rng) -> Return {
    match dice.u8(0..4) {
        0 => Return::Empty,
        1 => Return::Older(Duration::from_millis(dice.u64(1..1_000_000))),
        _ => Return::AsItWas,
    }
}

fn stranger(dice: &mut Rng) -> Stranger {
    if dice.bool() { Stranger::HasRobbed } else { Stranger::Fetches }
}

fn ambush(dice: &mut Rng, end: Duration) -> Ambush {
    let (from, delay) = (moment(dice, end), Duration::from_millis(dice.u64(0..200)));
    Ambush { from, delay, blow: Blow::in_a_fetch(dice) }
}

impl Fate {
    /// Whether Weixin refuses to give tokens, which is no passing trouble to a keeper.
    pub(super) fn weixin_refuses(&self) -> bool {
        let refuses =
            |spell: &Spell| matches!(spell.trouble, Trouble::Quota | Trouble::Address | Trouble::Frozen);
        self.servers.iter().any(|lot| lot.weather.iter().any(refuses))
    }
}
