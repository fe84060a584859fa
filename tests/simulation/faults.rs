//! Faults between the nodes of an app and Weixin.

#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray)]
pub(crate) enum NetworkFault {
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
