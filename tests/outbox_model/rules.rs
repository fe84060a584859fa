//! The rules of the outbox, each of which can be dropped.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A POST begins only after its claim is committed.
    DurableBeforePost,
    /// A settlement names the claim that it ends.
    Fence,
    /// An attempt whose outcome is unknown is not tried again.
    UnknownIsFinal,
    /// The attempts of a gone worker become `maybe_sent`.
    ReclaimIsUnknown,
    /// A worker is marked gone in one transaction, and its attempts end in a later one.
    TwoTransactions,
    /// A gone worker claims nothing.
    GoneClaimsNothing,
    /// No POST begins later than 30 s after its claim.
    PostWindow,
    /// No decision is made earlier than 120 s after the claim.
    DecisionDelay,
    /// A late answer after the decision changes nothing.
    DecidedIsFinal,
    /// A message is decided once.
    DecidedOnce,
    /// Only a queued message is cancelled.
    CancelQueuedOnly,
    /// A lost claim is given back only when no reply to a claim is missing.
    LostClaimsWait,
    /// An idempotency key is committed together with its message.
    KeyWithMessage,
    /// A changed line replaces only a message that was refused or not sent.
    ChangedReplacesUnsent,
    /// A line whose grant is in use is recorded as not sent.
    RejectedIsFinal,
    /// The key of a line stays when old rows are deleted.
    BatchKeysStay,
    /// The newest grant decides whether a message is recorded.
    NewestGrantDecides,
    /// An unused grant absorbs a consent.
    UnusedAbsorbs,
    /// A released grant is void beside a newer one.
    VoidBesideNewer,
    /// A message that is sent again takes a newer open grant.
    AgainTakesNewer,
    /// A restore makes what was not final `maybe_sent`.
    RestoreEndsMessages,
    /// A restore puts open grants in doubt.
    RestoreDoubtsGrants,
    /// After a restore, no answer to an earlier attempt counts.
    RestoreForgetsOwners,
    /// The row of an inbox is recorded first, and then deleted.
    RecordedBeforeDeleted,
    /// The ledger knows the ids of the rows that it has.
    RowIdsAreKnown,
    /// It knows them also when old messages are deleted.
    RowIdsStayKnown,
    /// A row that another content is known of stays, with an error.
    OtherContentStays,
    /// A copier does not remember up to which id it has read.
    NoPosition,
    /// A copier locks the rows that it reads.
    RowsAreLocked,
    /// A copier reads committed rows only.
    OnlyCommittedRows,
}

pub(crate) type Rules = super::breadth_first::Rules<Rule>;
