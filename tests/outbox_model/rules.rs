//! The guards of the outbox, each of which can be taken away.

#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// A POST begins only after its claim is committed.
    pub(crate) durable_before_post: bool,
    /// A settlement names the claim that it ends.
    pub(crate) fence: bool,
    /// An attempt whose outcome is unknown is not tried again.
    pub(crate) unknown_is_final: bool,
    /// The attempts of a gone worker become `maybe_sent`.
    pub(crate) reclaim_is_unknown: bool,
    /// A worker is marked gone in one transaction, and its attempts end in a later one.
    pub(crate) two_transactions: bool,
    /// A gone worker claims nothing.
    pub(crate) gone_claims_nothing: bool,
    /// No POST begins later than 30 s after its claim.
    pub(crate) post_window: bool,
    /// No decision is made earlier than 120 s after the claim.
    pub(crate) decision_delay: bool,
    /// A late answer after the decision changes nothing.
    pub(crate) decided_is_final: bool,
    /// A message is decided once.
    pub(crate) decided_once: bool,
    /// Only a queued message is cancelled.
    pub(crate) cancel_queued_only: bool,
    /// A lost claim is given back only when no reply to a claim is missing.
    pub(crate) lost_claims_wait: bool,
    /// An idempotency key is committed together with its message.
    pub(crate) key_with_message: bool,
    /// A changed line replaces only a message that was refused or not sent.
    pub(crate) changed_replaces_unsent: bool,
    /// A line whose grant is in use is recorded as not sent.
    pub(crate) rejected_is_final: bool,
    /// The key of a line stays when old rows are deleted.
    pub(crate) batch_keys_stay: bool,
    /// The newest grant decides whether a message is recorded.
    pub(crate) newest_grant_decides: bool,
    /// An unused grant absorbs a consent.
    pub(crate) unused_absorbs: bool,
    /// A released grant is void beside a newer one.
    pub(crate) void_beside_newer: bool,
    /// A message that is sent again takes a newer open grant.
    pub(crate) again_takes_newer: bool,
    /// A restore makes what was not final `maybe_sent`.
    pub(crate) restore_ends_messages: bool,
    /// A restore puts open grants in doubt.
    pub(crate) restore_doubts_grants: bool,
    /// After a restore, no answer to an earlier attempt counts.
    pub(crate) restore_forgets_owners: bool,
    /// The row of an inbox is recorded first, and then deleted.
    pub(crate) recorded_before_deleted: bool,
    /// The ledger knows the ids of the rows that it has.
    pub(crate) row_ids_are_known: bool,
    /// It knows them also when old messages are deleted.
    pub(crate) row_ids_stay_known: bool,
    /// A row that another content is known of stays, with an error.
    pub(crate) other_content_stays: bool,
    /// A copier does not remember up to which id it has read.
    pub(crate) no_position: bool,
    /// A copier locks the rows that it reads.
    pub(crate) rows_are_locked: bool,
    /// A copier reads committed rows only.
    pub(crate) only_committed_rows: bool,
}

impl Rules {
    pub(crate) const ALL: Self = Self {
        durable_before_post: true,
        fence: true,
        unknown_is_final: true,
        reclaim_is_unknown: true,
        two_transactions: true,
        gone_claims_nothing: true,
        post_window: true,
        decision_delay: true,
        decided_is_final: true,
        decided_once: true,
        cancel_queued_only: true,
        lost_claims_wait: true,
        key_with_message: true,
        changed_replaces_unsent: true,
        rejected_is_final: true,
        batch_keys_stay: true,
        newest_grant_decides: true,
        unused_absorbs: true,
        void_beside_newer: true,
        again_takes_newer: true,
        restore_ends_messages: true,
        restore_doubts_grants: true,
        restore_forgets_owners: true,
        recorded_before_deleted: true,
        row_ids_are_known: true,
        row_ids_stay_known: true,
        other_content_stays: true,
        no_position: true,
        rows_are_locked: true,
        only_committed_rows: true,
    };
}
