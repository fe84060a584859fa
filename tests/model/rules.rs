//! The rules of the protocol. Each can be dropped.

#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) put: Put,
    pub(crate) generations: Generations,
    /// One fetch at a time.
    pub(crate) lease: bool,
    /// A server that cannot read the record takes no lease.
    pub(crate) read_before_lease: bool,
    /// A lease without end counts as free.
    pub(crate) endless_lease_is_free: bool,
    /// A server refuses the record of another upstream.
    pub(crate) refuse_other_upstream: bool,
    /// A server that finds a broken record fetches, and the lease holder replaces the record.
    pub(crate) replace_broken: bool,
    /// The lease holder first loads the record, to see whether a peer has fetched.
    pub(crate) load_first: bool,
    /// No call when the lease may have expired.
    pub(crate) check_lease_before_call: bool,
    /// An in-doubt marker in the store before each call.
    pub(crate) marker: bool,
    /// The marker stays when the response is lost.
    pub(crate) lost_response_keeps_marker: bool,
    /// A server clears only its own marker.
    pub(crate) own_marker_only: bool,
    /// A stored token clears the marker.
    pub(crate) store_clears_marker: bool,
    /// A server that loses a race adopts the other token, and fetches once more under the lease.
    pub(crate) second_fetch: bool,
    /// A token that Weixin rejected is not adopted again.
    pub(crate) skip_rejected: bool,
    /// A server publishes its token to a store that is behind.
    pub(crate) publish: bool,
    /// A server that publishes its token leaves the marker, unless its own call has set it.
    pub(crate) publish_keeps_marker: bool,
    /// A server that fetched without lease and finds another token in the store fetches once more under the lease.
    pub(crate) refetch_after_unleased: bool,
    /// Of two tokens, the one that was requested later is newer, whatever their generations are.
    pub(crate) later_request_wins: bool,
    /// A server remembers the end of a call with unknown effect. Only a token requested later confirms which token is valid.
    pub(crate) remember_unconfirmed_calls: bool,
    /// A token that could not be stored counts as fetched without lease.
    pub(crate) unstored_is_unleased: bool,
    /// A change of token or marker is announced to all servers. They read the record only for a reason.
    pub(crate) announce: bool,
    /// All servers read the record when the store, with its change log, has lost its data.
    pub(crate) look_after_loss: bool,
    /// A server reads the record after each attempt.
    pub(crate) look_after_attempt: bool,
    /// A fetch without lease compares with the generation known at its start, not at its end.
    pub(crate) compare_with_start: bool,
}

/// When the store accepts a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// If the stored generation is the one to replace, and is lower.
    CompareAndSet,
    /// If the stored generation is lower.
    IfNewer,
    /// Unless the stored token was fetched under a later lease.
    Fence,
    /// Always.
    Blind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generations {
    /// The time of the request, by an exact clock.
    Times,
    /// One more than the highest known generation.
    Counted,
}

impl Rules {
    pub(crate) const ALL: Self = Self {
        put: Put::CompareAndSet,
        generations: Generations::Times,
        lease: true,
        read_before_lease: true,
        endless_lease_is_free: true,
        refuse_other_upstream: true,
        replace_broken: true,
        load_first: true,
        check_lease_before_call: true,
        marker: true,
        lost_response_keeps_marker: true,
        own_marker_only: true,
        store_clears_marker: true,
        second_fetch: true,
        skip_rejected: true,
        publish: true,
        publish_keeps_marker: true,
        refetch_after_unleased: true,
        later_request_wins: true,
        remember_unconfirmed_calls: true,
        unstored_is_unleased: true,
        compare_with_start: true,
        announce: true,
        look_after_loss: true,
        look_after_attempt: true,
    };
}
