//! The audit: the actions of operators, each in the transaction of its change.

use wxsub_core::clock::UnixMillis;
use wxsub_proto::AppId;

use crate::state::{AuditAction, AuditOutcome};

/// An action of an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a ledger writes and reads every column")]
pub struct AuditEntry {
    /// The name of the operator.
    pub actor: String,
    /// The address of the operator; empty if it is not known.
    pub address: String,
    /// The kind of the action.
    pub action: AuditAction,
    /// The app that it is about, if any.
    pub appid: Option<AppId>,
    /// The id of the message or grant, or the name of the endpoint; empty if it is not about one. It is no openid.
    pub subject: String,
    /// Further facts, such as the decision, or the action that was denied. It holds no secret and no openid.
    pub detail: String,
}

/// One line of the audit: one row of `wxsub_audit`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a ledger writes and reads every column")]
pub struct StoredAudit {
    /// Its number. Later lines have larger ones.
    pub seq: u64,
    /// When the action happened.
    pub at: UnixMillis,
    /// The action.
    pub entry: AuditEntry,
    /// Whether the action was done.
    pub outcome: AuditOutcome,
}
