/// What a ledger could not do. It holds no message content and no password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Nothing was changed.
    #[error("ledger unavailable: {0}; nothing was recorded, try again later")]
    Unavailable(String),
    /// The reply to the commit was lost: everything was changed, or nothing.
    #[error("ledger: the reply to a commit was lost ({0}); repeat the request with the same idempotency key")]
    Unknown(String),
    /// A row breaks a rule of the schema. The change was undone.
    #[error("ledger: a row would break a rule: {0}; run `wxsub ledger check`")]
    Inconsistent(String),
}
