//! What goes wrong between an app's machines and Weixin, and when.

use std::time::Duration;

use fastrand::Rng;

/// A time during which calls of one app meet one kind of trouble.
#[derive(Debug, Clone)]
pub(super) struct Spell {
    pub(super) from: Duration,
    pub(super) to: Duration,
    pub(super) trouble: Trouble,
    /// How many calls in a hundred meet it.
    pub(super) percent: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The connection is refused.
    Unreachable,
    /// The connection breaks; Weixin has not seen the request.
    RequestLost,
    /// The connection breaks; Weixin has carried out the request.
    ReplyLost,
    /// Nothing ever comes back; Weixin has not seen the request.
    Hangs,
    /// Nothing ever comes back, and the request reaches Weixin when nobody waits any more.
    ArrivesLate,
    /// It takes seconds.
    Slow,
    /// A gateway answers 502; Weixin may have carried out the request.
    Gateway,
    /// A captive portal answers.
    Portal,
    /// Half of the reply arrives, and looks complete.
    Halved,
    /// Weixin has other things to do.
    Busy,
    /// The app has called too often today.
    Quota,
    /// The machine's address is not on the app's list.
    Address,
    /// The secret is frozen.
    Frozen,
    /// A token comes with a life that makes no sense.
    OddLife,
    /// The store does not answer.
    StoreAway,
}

const TROUBLES: [Trouble; 15] = {
    use Trouble::*;
    [
        Unreachable,
        RequestLost,
        ReplyLost,
        Hangs,
        ArrivesLate,
        Slow,
        Gateway,
        Portal,
        Halved,
        Busy,
        Quota,
        Address,
        Frozen,
        OddLife,
        StoreAway,
    ]
};

/// Up to four spells before `end`.
pub(super) fn weather(dice: &mut Rng, end: Duration) -> Vec<Spell> {
    let spell = |dice: &mut Rng| {
        let from = Duration::from_secs(dice.u64(0..end.as_secs() - 60));
        let length =
            Duration::from_secs(if dice.u8(0..3) == 0 { dice.u64(60..7200) } else { dice.u64(5..600) });
        let trouble = TROUBLES[dice.usize(0..TROUBLES.len())];
        let percent = [20, 50, 90, 100][dice.usize(0..4)];
        Spell { from, to: end.min(from + length), trouble, percent }
    };
    (0..dice.u8(0..5)).map(|_| spell(dice)).collect()
}

impl Spell {
    pub(super) fn covers(&self, passed: Duration) -> bool {
        (self.from..self.to).contains(&passed)
    }
}
