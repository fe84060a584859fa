//! The audit: what operators did, in the transaction in which they did it.

use wxsub_core::clock::UnixMillis;
use wxsub_proto::AppId;

use crate::state::{AuditAction, AuditOutcome};

/// What an operator does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a ledger writes and reads every column")]
pub struct AuditEntry {
    /// Who. Empty if that is not known, as at a failed login.
    pub actor: String,
    /// From which address; empty if it is not known.
    pub address: String,
    /// What.
    pub action: AuditAction,
    /// With which app; `None` if it is not about one.
    pub appid: Option<AppId>,
    /// The id of the message or grant; empty if it is not about one. It is no openid.
    pub subject: String,
    /// What else is known, such as the decision. It holds no secret and no openid.
    pub detail: String,
}

/// One line of the audit: one row of `wxsub_audit`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a ledger writes and reads every column")]
pub struct StoredAudit {
    /// Its number. Later lines have larger ones.
    pub seq: u64,
    /// When.
    pub at: UnixMillis,
    /// What an operator did.
    pub entry: AuditEntry,
    /// Whether it was done.
    pub outcome: AuditOutcome,
}
