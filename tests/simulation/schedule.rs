//! What happens to one machine or app at a certain time, whatever the weather.

use std::time::Duration;

use fastrand::Rng;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happening {
    /// The process is killed, and started again after this long.
    Crash(Duration),
    /// The wall clock is set by so many seconds.
    ClockSet(i64),
    /// A stranger has fetched a token, and the overlap is over.
    Robbed,
    /// A stranger fetches a token just now.
    StrangerFetches,
}

/// Up to five, in order, before `end`.
pub(super) fn calendar(dice: &mut Rng, end: Duration) -> Vec<(Duration, Happening)> {
    let mut happenings: Vec<_> = (0..dice.u8(0..6))
        .map(|_| {
            let at = Duration::from_secs(dice.u64(1..end.as_secs()));
            (at, happening(dice))
        })
        .collect();
    happenings.sort_by_key(|(at, _)| *at);
    happenings
}

fn happening(dice: &mut Rng) -> Happening {
    match dice.u8(0..4) {
        0 => Happening::Crash(Duration::from_millis(dice.u64(1..120_000))),
        1 => {
            let most = [30, 600, 3_600, 9_000][dice.usize(0..4)];
            Happening::ClockSet(dice.i64(-most..=most))
        }
        2 => Happening::Robbed,
        _ => Happening::StrangerFetches,
    }
}
