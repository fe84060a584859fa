//! The rules of the protocol. Each can be dropped.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The store compares before it accepts a token.
    CompareBeforeWriting,
    /// It compares generations, not the leases under which tokens were fetched.
    CompareGenerations,
    /// It accepts a token only if it still has the one to replace, not whenever its own is older.
    ReplaceOnlyLoaded,
    /// A generation is the time of the request, by an exact clock. Without the rule, it is one more than the highest known one.
    GenerationsAreTimes,
    /// One fetch at a time.
    Lease,
    /// A server that cannot read the record takes no lease.
    ReadBeforeLease,
    /// A lease without end counts as free.
    EndlessLeaseIsFree,
    /// A server refuses the record of another upstream.
    RefuseOtherUpstream,
    /// A server that finds a broken record fetches, and the lease holder replaces the record.
    ReplaceBroken,
    /// The lease holder first loads the record, to see whether a peer has fetched.
    LoadFirst,
    /// No call when the lease may have expired.
    CheckLeaseBeforeCall,
    /// An in-doubt marker in the store before each call.
    Marker,
    /// The marker stays when the response is lost.
    LostResponseKeepsMarker,
    /// A server clears only its own marker.
    OwnMarkerOnly,
    /// A stored token clears the marker.
    StoreClearsMarker,
    /// A server that loses a race adopts the other token, and fetches once more under the lease.
    SecondFetch,
    /// A token that Weixin rejected is not adopted again.
    SkipRejected,
    /// A server publishes its token to a store that is behind.
    Publish,
    /// A server that publishes its token leaves the marker, unless its own call has set it.
    PublishKeepsMarker,
    /// A server that fetched without lease and finds another token in the store fetches once more under the lease.
    RefetchAfterUnleased,
    /// Of two tokens, the one that was requested later is newer, whatever their generations are.
    LaterRequestWins,
    /// A server remembers the end of a call with unknown effect. Only a token requested later confirms which token is valid.
    RememberUnconfirmedCalls,
    /// A token that could not be stored counts as fetched without lease.
    UnstoredIsUnleased,
    /// A change of token or marker is announced to all servers. They read the record only for a reason.
    Announce,
    /// All servers read the record when the store, with its change log, has lost its data.
    LookAfterLoss,
    /// A server reads the record after each attempt.
    LookAfterAttempt,
    /// A fetch without lease compares with the generation known at its start, not at its end.
    CompareWithStart,
}

pub(crate) type Rules = super::breadth_first::Rules<Rule>;
