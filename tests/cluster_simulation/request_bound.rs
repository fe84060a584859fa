//! How many token requests Weixin may see: the fewest there can be, and one for everything that happens.

use std::time::Duration;

use wxsub_core::token::TokenEndpoint;

use super::cluster::Play;
use super::fault_plan::Lot;
use super::faults::{Spell, Trouble};
use super::node_faults::Blow;
use super::store_faults::MoodSpell;

/// After a failure a server asks again soon, a few times, before it slows down or another takes over.
const SOON: u64 = 4;

/// So far apart are attempts of a server that alone is refused.
const ALONE_REFUSED: u64 = 150;

/// So far apart are attempts of all servers together while none fares better.
const TOGETHER: u64 = 9;

/// So far apart are attempts of a server that is cut off from the others while Weixin gives it nothing.
const CUT_OFF: u64 = 6;

/// The requests that are explained without counting rejections.
pub(super) struct Bound {
    requests: u64,
    /// Whether servers had to fetch without the others' knowledge, so that each rejection is news.
    apart: bool,
}

impl Bound {
    pub(super) fn of(play: &Play) -> Self {
        let (fate, life) = (&play.fate, play.life.as_secs());
        let end = play.end.as_secs();
        let mut requests = 1 + match play.endpoint {
            // A token is replaced when 45 hundredths of its life have passed.
            TokenEndpoint::Token => end * 100 / (life * 45),
            // Five minutes before its end; asked a moment too early, Weixin gives the same again.
            TokenEndpoint::StableToken => 2 * (end / (life - 300)),
        };
        let alone = if play.endpoint == TokenEndpoint::StableToken { 2 } else { 1 };
        requests += many(&fate.strangers) + many(&fate.redis);
        requests += fate.ambushes.iter().map(|ambush| explains(ambush.blow)).sum::<u64>();
        for lot in &fate.servers {
            requests += lot.blows.iter().map(|(_, blow)| explains(*blow)).sum::<u64>();
            requests += many(&lot.claims);
            if !lot.weather.is_empty() {
                requests += SOON + refused_alone(lot) / ALONE_REFUSED;
            }
            if !lot.store_weather.is_empty() {
                let away: Duration = lot.store_weather.iter().map(|spell| spell.to - spell.from).sum();
                // At the end of each life, or at each renewal, for which it may ask twice.
                requests += alone + 2 * away.as_secs() / life + in_both(lot) / CUT_OFF;
            }
        }
        let longest = fate.servers.iter().map(in_trouble).max().unwrap_or_default();
        let apart = fate.servers.iter().any(|lot| !lot.store_weather.is_empty());
        Self { requests: requests + longest / TOGETHER, apart }
    }

    /// With so many rejections seen by servers.
    pub(super) fn most(&self, rejections: u64) -> u64 {
        self.requests + if self.apart { rejections } else { 0 }
    }
}

/// Whoever stood still calls when somebody else has called for it; then nobody knows which token works, and one more call
/// settles it.
fn explains(blow: Blow) -> u64 {
    if matches!(blow, Blow::StandsStill(_)) { 2 } else { 1 }
}

fn many<T>(events: &[T]) -> u64 {
    events.len() as u64
}

fn lasts(spell: &Spell) -> u64 {
    spell.to.saturating_sub(spell.from).as_secs()
}

fn in_trouble(lot: &Lot) -> u64 {
    lot.weather.iter().map(lasts).sum()
}

/// For how long both ways are in trouble.
fn in_both(lot: &Lot) -> u64 {
    let spells = lot.weather.iter().flat_map(|spell| {
        let meets = |store: &MoodSpell| store.to.min(spell.to).saturating_sub(store.from.max(spell.from));
        lot.store_weather.iter().map(move |store| meets(store).as_secs())
    });
    spells.sum()
}

fn refused_alone(lot: &Lot) -> u64 {
    lot.weather.iter().filter(|spell| spell.trouble == Trouble::Address).map(lasts).sum()
}
