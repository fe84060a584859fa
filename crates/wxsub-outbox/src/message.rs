//! A message of the outbox as the ledger stores it, and every change that it can undergo.

#![expect(
    clippy::exhaustive_structs,
    clippy::exhaustive_enums,
    reason = "a ledger decides, writes and reads all of it"
)]

mod settlement;
mod transition;

use settlement::LOST_GRANT;
pub use settlement::{Detail, NotAccepted, Settlement};
pub(crate) use transition::decidable_at;
pub use transition::{GrantEffect, NotDecidable, Settled, Transition, retry_delay};

use std::time::Duration;

use wxsub_core::clock::UnixMillis;
use wxsub_proto::{AppId, ErrCode, Message, OpenId, Scene, TemplateId};

use crate::id::{GrantId, MessageId, WorkerId};
use crate::idempotency::IdempotencyKey;
use crate::state::{Decision, EventKind, MessageState, Mode, Priority, Reason};

/// The longest pause between attempts that fail.
pub const MAX_RETRY_DELAY: Duration = Duration::from_secs(15 * 60);

/// How long after its `send_at` a message expires that was given no `expires_at`.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many failures a message may have before it is `not_sent`, unless the app says otherwise.
pub const DEFAULT_MAX_FAILURES: u32 = 20;

/// How long after its claim an undecided message can be decided. A worker that was stopped may post until then.
pub const DECISION_DELAY: Duration = Duration::from_secs(120);

/// How long after the restore of a backup an undecided message can be decided.
pub const RESTORED_DECISION_DELAY: Duration = Duration::from_secs(60);

/// A message as the ledger stores it: one row of `wxsub_message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its id.
    pub id: MessageId,
    /// The app that sends it.
    pub appid: AppId,
    /// Its state.
    pub state: MessageState,
    /// Why it is `not_sent` or `maybe_sent`.
    pub reason: Option<Reason>,
    /// How it is sent.
    pub mode: Mode,
    /// The user it goes to. This and the next two are absent if the message is invalid and they cannot be read.
    pub touser: Option<OpenId>,
    /// Its template.
    pub template_id: Option<TemplateId>,
    /// Its scene.
    pub scene: Option<Scene>,
    /// What is posted. Dropped when the message is final; if it is `maybe_sent`, when it is decided.
    pub body: Option<Message>,
    /// Which of the due messages goes first.
    pub priority: Priority,
    /// Counts the claims. It is the fence: a settlement of an earlier attempt is refused.
    pub attempt: u32,
    /// Counts the attempts that were certainly not sent.
    pub failures: u32,
    /// Counts the events of the row.
    pub version: u32,
    /// When it was recorded.
    pub created_at: UnixMillis,
    /// The earliest time for its first attempt.
    pub send_at: UnixMillis,
    /// The earliest time for its next attempt.
    pub due_at: UnixMillis,
    /// No attempt begins from here on.
    pub expires_at: UnixMillis,
    /// When it was claimed last.
    pub attempted_at: Option<UnixMillis>,
    /// When it became final.
    pub settled_at: Option<UnixMillis>,
    /// Who has claimed it. Kept when it is final, for late responses; none while it is queued and after a restore.
    pub worker: Option<WorkerId>,
    /// What is known of its last attempt.
    pub detail: Detail,
    /// The key under which it was recorded.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The grant that it uses.
    pub grant: Option<GrantId>,
    /// Its decision.
    pub decision: Option<DecisionRecord>,
    /// The message in whose place it was sent.
    pub parent_id: Option<MessageId>,
    /// When a backup was restored in which it was not final.
    pub restored_at: Option<UnixMillis>,
}

/// A decision, beside the outcome that it does not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionRecord {
    /// Its decision.
    pub decision: Decision,
    /// Who decided: an operator, or `policy`.
    pub by: String,
    /// Why.
    pub note: String,
    /// When.
    pub at: UnixMillis,
    /// The message that is sent in its place.
    pub child: Option<MessageId>,
}

/// One line of a message's history: one row of `wxsub_event`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// The message.
    pub message: MessageId,
    /// The message's version after it.
    pub version: u32,
    /// When.
    pub at: UnixMillis,
    /// What happened.
    pub kind: EventKind,
    /// The message's attempt at that time.
    pub attempt: u32,
    /// Who did it: a worker's id, an operator, `policy`.
    pub actor: Option<String>,
    /// What else is known of it. It holds no secret.
    pub detail: Option<String>,
}

impl StoredMessage {
    /// A queued message without content, as of now.
    pub(crate) fn blank(id: MessageId, appid: AppId, now: UnixMillis) -> Self {
        Self {
            id,
            appid,
            state: MessageState::Queued,
            reason: None,
            mode: Mode::Queued,
            touser: None,
            template_id: None,
            scene: None,
            body: None,
            priority: Priority::Normal,
            attempt: 0,
            failures: 0,
            version: 0,
            created_at: now,
            send_at: now,
            due_at: now,
            expires_at: now + DEFAULT_LIFETIME,
            attempted_at: None,
            settled_at: None,
            worker: None,
            detail: Detail::default(),
            idempotency_key: None,
            grant: None,
            decision: None,
            parent_id: None,
            restored_at: None,
        }
    }

    /// Whether it is `maybe_sent` without a decision.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        self.state == MessageState::MaybeSent && self.decision.is_none()
    }

    /// When nothing more could happen to it: it was settled, or decided if it is `maybe_sent`.
    #[must_use]
    pub fn ended_at(&self) -> Option<UnixMillis> {
        match self.state {
            MessageState::Queued | MessageState::Attempting => None,
            MessageState::MaybeSent => self.decision.as_ref().map(|decided| decided.at),
            MessageState::Sent | MessageState::Refused | MessageState::NotSent | MessageState::Cancelled => {
                self.settled_at
            }
        }
    }

    /// Whether it takes up its grant: at most one message of a grant does.
    #[must_use]
    pub fn holds_grant(&self) -> bool {
        match self.state {
            MessageState::Queued | MessageState::Attempting | MessageState::Sent => true,
            MessageState::MaybeSent => match &self.decision {
                None => true,
                Some(decided) => decided.decision == Decision::AssumeSent,
            },
            MessageState::Refused | MessageState::NotSent | MessageState::Cancelled => false,
        }
    }

    /// Whether a request under its idempotency key gets a new message, to which the key moves: this one was certainly not
    /// accepted, and may be later.
    #[must_use]
    pub fn frees_key(&self) -> bool {
        match self.state {
            MessageState::NotSent => true,
            MessageState::Refused => self.detail.errcode.is_some_and(|code| {
                code.is_stale_token() || code == ErrCode::DAILY_QUOTA || code == ErrCode::MINUTE_QUOTA
            }),
            _ => false,
        }
    }

    /// Whether it waits for a time that its sender did not ask for and that no pause between attempts explains: the ledger's clock was
    /// ahead when the time was set.
    #[must_use]
    pub fn waits_too_long(&self, now: UnixMillis) -> bool {
        let was_asked_for = self.due_at == self.send_at && self.send_at != self.created_at;
        self.state == MessageState::Queued && self.due_at > now + MAX_RETRY_DELAY && !was_asked_for
    }

    /// Whether a worker may claim it now, as far as the message itself is concerned.
    #[must_use]
    pub fn is_due(&self, now: UnixMillis) -> bool {
        self.state == MessageState::Queued && self.due_at <= now && now < self.expires_at
    }
}
