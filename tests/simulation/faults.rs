//! Faults between the nodes of an app and Weixin, and when they happen.

use std::time::Duration;

use fastrand::Rng;

/// A span in which calls of one app meet one kind of fault.
#[derive(Debug, Clone)]
pub(super) struct FaultWindow {
    pub(super) from: Duration,
    pub(super) to: Duration,
    pub(super) fault: NetworkFault,
    /// The share of calls that meet it, in percent.
    pub(super) percent: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NetworkFault {
    /// The connection is refused.
    Unreachable,
    /// The connection breaks before the request reaches Weixin.
    RequestLost,
    /// The connection breaks after Weixin has handled the request.
    ResponseLost,
    /// No response comes. The request never reaches Weixin.
    Hanging,
    /// No response comes. The request reaches Weixin after the caller has given up.
    ArrivesLate,
    /// The call takes seconds.
    Slow,
    /// A gateway responds 502. Weixin may have handled the request.
    Gateway,
    /// A captive portal responds.
    CaptivePortal,
    /// Half of the response arrives and looks complete.
    Truncated,
    /// Weixin responds -1, system busy.
    Busy,
    /// The app's daily quota is used up.
    Quota,
    /// The node's IP address is not on the app's list.
    AddressRefused,
    /// The secret is frozen.
    Frozen,
    /// A token comes with an invalid lifetime.
    OddLifetime,
    /// The store is unavailable.
    StoreUnavailable,
}

/// A fetch of a token by a program that does not belong to the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExternalFetch {
    /// The fetch was earlier, and the overlap is over: all tokens of the app are invalid.
    Earlier,
    /// The fetch happens now.
    Now,
}

const NETWORK_FAULTS: [NetworkFault; 15] = {
    use NetworkFault::*;
    [
        Unreachable,
        RequestLost,
        ResponseLost,
        Hanging,
        ArrivesLate,
        Slow,
        Gateway,
        CaptivePortal,
        Truncated,
        Busy,
        Quota,
        AddressRefused,
        Frozen,
        OddLifetime,
        StoreUnavailable,
    ]
};

/// Draws up to four windows before `end`.
pub(super) fn draw_faults(rng: &mut Rng, end: Duration) -> Vec<FaultWindow> {
    let window = |rng: &mut Rng| {
        let from = Duration::from_secs(rng.u64(0..end.as_secs() - 60));
        let length = Duration::from_secs(if rng.u8(0..3) == 0 { rng.u64(60..7200) } else { rng.u64(5..600) });
        let fault = NETWORK_FAULTS[rng.usize(0..NETWORK_FAULTS.len())];
        let percent = [20, 50, 90, 100][rng.usize(0..4)];
        FaultWindow { from, to: end.min(from + length), fault, percent }
    };
    (0..rng.u8(0..5)).map(|_| window(rng)).collect()
}

impl FaultWindow {
    pub(super) fn covers(&self, elapsed: Duration) -> bool {
        (self.from..self.to).contains(&elapsed)
    }
}
