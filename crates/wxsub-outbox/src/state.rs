//! The states and the other facts of a row that are stored as text. The names are a contract: people read them with SQL.

#![expect(clippy::exhaustive_enums, reason = "every ledger must decide each of them")]

use std::str::FromStr;

use wxsub_proto::named_enum;

/// A stored text that none of the names is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what}: {text:?} is not one of its names; a newer version may have written it; upgrade this program"
)]
pub struct UnknownName {
    what: &'static str,
    text: String,
}

macro_rules! parsed {
    ($($name:ident),+ $(,)?) => { $(
        impl FromStr for $name {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                let named = Self::ALL.iter().find(|name| name.as_str() == text).copied();
                named.ok_or_else(|| UnknownName { what: stringify!($name), text: text.to_owned() })
            }
        }
    )+ };
}

parsed! {
    MessageState, Mode, Reason, GrantState, Decision, Priority, Stage, WaitingFor, EventKind, AuditAction, AuditOutcome,
    WebhookEvent,
}

named_enum! {
    /// The state of a message.
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum MessageState {
        /// Waits for its time, a free slot or the app.
        Queued = "queued",
        /// A named worker may be posting it.
        Attempting = "attempting",
        /// Final: Weixin accepted it.
        Sent = "sent",
        /// Final: Weixin refused it with an error code.
        Refused = "refused",
        /// Final: it may have arrived. It waits for a late response or a decision.
        MaybeSent = "maybe_sent",
        /// Final: it certainly did not arrive.
        NotSent = "not_sent",
        /// Final: withdrawn while queued.
        Cancelled = "cancelled",
    }
}

impl MessageState {
    /// Whether nothing but a late response can change it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Attempting)
    }
}

named_enum! {
    /// How a message is sent.
    pub enum Mode {
        /// It waits in the queue for a worker, and goes back there when it was not sent.
        Queued = "queued",
        /// The caller waits for its one attempt.
        Synchronous = "synchronous",
    }
}

named_enum! {
    /// Why a message is `not_sent` or `maybe_sent`.
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum Reason {
        /// Not sent before its `expires_at`.
        Expired = "expired",
        /// Not sent in as many attempts as it may have.
        Failures = "failures",
        /// A synchronous send that failed.
        Synchronous = "sync",
        /// Proven not sent after it had become `maybe_sent`.
        Late = "late",
        /// The row of an inbox or batch breaks a rule.
        Invalid = "invalid",
        /// The row of an inbox or batch found its grant in use.
        GrantUnavailable = "grant_unavailable",
        /// The row of an inbox or batch found no grant, and the app requires one.
        NoGrant = "no_grant",
        /// `maybe_sent`: no response that shows its outcome.
        ResponseLost = "response_lost",
        /// `maybe_sent`: its worker was gone.
        WorkerLost = "worker_lost",
        /// `maybe_sent`: not final in the backup that was restored.
        Restored = "restored",
    }
}

named_enum! {
    /// The state of a grant.
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum GrantState {
        /// Free for the next message.
        Open = "open",
        /// A queued message has it.
        Reserved = "reserved",
        /// Its message is being posted.
        Attempting = "attempting",
        /// Its message was sent, or is assumed to be.
        Used = "used",
        /// Its message may have been sent.
        InDoubt = "in_doubt",
        /// Gone: refused with 43101, given up or withdrawn.
        Void = "void",
    }
}

named_enum! {
    /// A decision on an undecided message.
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum Decision {
        /// It counts as sent. Its grant is used.
        AssumeSent = "assume_sent",
        /// It is not sent again. Its grant becomes void.
        GiveUp = "give_up",
        /// A new message is sent in its place. It may arrive twice.
        SendAgain = "send_again",
    }
}

named_enum! {
    /// Which message of an app goes first. The order of the names is the order of the messages.
    pub enum Priority {
        /// Before all others.
        High = "high",
        /// In between.
        Normal = "normal",
        /// After all others.
        Low = "low",
    }
}

named_enum! {
    /// The step at which a message's last attempt ended.
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum Stage {
        /// There was no attempt: its grant did not allow one.
        Grant = "grant",
        /// Its worker ended the attempt before it called Weixin.
        Claim = "claim",
        /// Getting an access token.
        Token = "token",
        /// Sending the message.
        Send = "send",
    }
}

named_enum! {
    /// What a queued message waits for, besides a free slot.
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum WaitingFor {
        /// Its `send_at`.
        SendAt = "send_at",
        /// The pause after a failed attempt.
        Retry = "retry",
        /// Weixin's limit per minute.
        Rate = "rate",
        /// An operator, who paused the app.
        Paused = "paused",
        /// An access token.
        Token = "token",
        /// Weixin's limit per day.
        Quota = "quota",
    }
}

named_enum! {
    /// What happened to a message: the history that is kept of it.
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum EventKind {
        /// Recorded and queued.
        Enqueued = "enqueued",
        /// Recorded for a synchronous send.
        Begun = "begun",
        /// Claimed by a worker.
        Claimed = "claimed",
        /// Back in the queue.
        Requeued = "requeued",
        /// Weixin accepted it.
        Sent = "sent",
        /// Weixin refused it.
        Refused = "refused",
        /// It was certainly not sent, for good.
        NotSent = "not_sent",
        /// Its response is unknown.
        MaybeSent = "maybe_sent",
        /// Its worker was gone.
        Reclaimed = "reclaimed",
        /// Not final in the backup that was restored.
        Restored = "restored",
        /// Its time was over.
        Expired = "expired",
        /// Withdrawn.
        Cancelled = "cancelled",
        /// Decided.
        Decided = "decided",
        /// A response came after the decision, and changed nothing.
        LateAnswer = "late_answer",
    }
}

named_enum! {
    /// What an operator did.
    pub enum AuditAction {
        /// Logged in to the console.
        Login = "login",
        /// Logged out.
        Logout = "logout",
        /// Looked at a whole openid.
        Reveal = "reveal",
        /// Decided a message.
        Decide = "decide",
        /// Withdrew a message.
        Cancel = "cancel",
        /// Paused an app.
        Pause = "pause",
        /// Resumed an app.
        Resume = "resume",
        /// Voided a grant.
        VoidGrant = "void_grant",
        /// Enabled an endpoint of webhooks and had its failed deliveries made again.
        Redeliver = "redeliver",
        /// Sent a form that the role does not allow. The detail is the action.
        Denied = "denied",
    }
}

named_enum! {
    /// Whether the action of an operator was done.
    pub enum AuditOutcome {
        /// It was.
        Done = "done",
        /// The rules did not allow it.
        NotDone = "not_done",
    }
}

named_enum! {
    /// The event of a message that a webhook is about.
    pub enum WebhookEvent {
        /// Weixin accepted it.
        Sent = "message.sent",
        /// Weixin refused it.
        Refused = "message.refused",
        /// It may have been sent.
        MaybeSent = "message.maybe_sent",
        /// It was certainly not sent, for good.
        NotSent = "message.not_sent",
        /// It was withdrawn.
        Cancelled = "message.cancelled",
        /// It may have been sent, and an operator or a policy decided it.
        Decided = "message.decided",
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use serde::Serialize;

    use super::*;

    #[test]
    fn every_name_reads_back() {
        fn check<T: Copy + PartialEq + fmt::Debug + fmt::Display + FromStr + Serialize>(all: &[T]) {
            for one in all {
                assert_eq!(one.to_string().parse::<T>().ok(), Some(*one));
                assert_eq!(serde_json::to_string(one).unwrap(), format!("\"{one}\""));
            }
        }
        check(MessageState::ALL);
        check(Mode::ALL);
        check(Reason::ALL);
        check(GrantState::ALL);
        check(Decision::ALL);
        check(Priority::ALL);
        check(Stage::ALL);
        check(WaitingFor::ALL);
        check(EventKind::ALL);
        check(AuditAction::ALL);
        check(AuditOutcome::ALL);
        check(WebhookEvent::ALL);
        assert_eq!(
            "sending".parse::<MessageState>().unwrap_err().to_string(),
            r#"MessageState: "sending" is not one of its names; a newer version may have written it; upgrade this program"#
        );
    }
}
