//! What came of a send, for the responses of both APIs.

use std::borrow::Cow;
use std::time::Duration;

use wxsub_api::{ProblemKind, SendResult, SendStage, SendStatus};
use wxsub_core::SendError;
use wxsub_core::clock::UnixMillis;
use wxsub_core::error::Delivery;
use wxsub_outbox::app::Pauses;
use wxsub_outbox::grant::NotAdmitted;
use wxsub_outbox::ledger::{NotCancelled, NotDecided, NotRecorded};
use wxsub_outbox::message::{NotDecidable, StoredMessage};
use wxsub_outbox::state::{MessageState, Reason, Stage};
use wxsub_outbox::{LedgerError, Outbox, OutboxError, Receipt};
use wxsub_proto::{Message, TraceId};

/// When to try again, if nothing says more.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);

/// When to try again while an operator has paused the app.
const OPERATOR_PAUSE_RETRY_AFTER: Duration = Duration::from_secs(60);

/// What came of a send.
pub(crate) struct SendOutcome {
    pub(crate) result: SendResult,
    /// The kind of the problem and what to do; `None` if the message was sent.
    pub(crate) problem: Option<(ProblemKind, Cow<'static, str>)>,
    pub(crate) retry_after: Option<Duration>,
    /// Whether its idempotency key was used before, so that nothing was sent now.
    pub(crate) replayed: bool,
}

/// What the outbox did not do: the kind of the problem, and when to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutboxFailure {
    pub(crate) kind: ProblemKind,
    pub(crate) retry_after: Option<Duration>,
    /// Whether it may have been recorded all the same.
    pub(crate) may_be_recorded: bool,
}

/// The result of a failed send, as JSON.
#[must_use]
pub fn failed_send(message: &Message, error: &SendError) -> SendResult {
    let outcome = match error.delivery() {
        Delivery::Rejected => SendStatus::Refused,
        Delivery::NotSent => SendStatus::NotSent,
        Delivery::MaybeSent => SendStatus::MaybeSent,
    };
    SendResult::failed(message, outcome, error.api_error(), error.remedy(), error.operation())
}

/// What a ledger has of a message, as JSON. A message that is not final counts as not sent.
#[must_use]
pub fn stored_send(message: &StoredMessage) -> SendResult {
    let detail = &message.detail;
    let mut result = SendResult::new(match (message.state, message.reason) {
        (MessageState::Sent, _) => SendStatus::Sent,
        (MessageState::Refused, _) => SendStatus::Refused,
        (MessageState::MaybeSent, _) => SendStatus::MaybeSent,
        (MessageState::NotSent, Some(Reason::Invalid)) => SendStatus::Invalid,
        (
            MessageState::NotSent | MessageState::Cancelled | MessageState::Queued | MessageState::Attempting,
            _,
        ) => SendStatus::NotSent,
    });
    result.touser.clone_from(&message.touser);
    result.template_id.clone_from(&message.template_id);
    result.scene = message.scene;
    result.errcode = detail.errcode;
    result.errmsg = detail.errmsg.clone().filter(|_| detail.errcode.is_some());
    result.rid = detail.rid.as_deref().and_then(TraceId::new);
    result.remedy = detail.remedy;
    result.stage = detail.stage.map(|stage| match stage {
        Stage::Grant => SendStage::Grant,
        Stage::Claim => SendStage::Claim,
        Stage::Token => SendStage::Token,
        Stage::Send => SendStage::Send,
    });
    result
}

/// How long the pauses of an app last at least; `None` if it is not paused.
pub(super) fn pause_end(pauses: &Pauses, now: UnixMillis) -> Option<Duration> {
    let until = [
        pauses.operator.as_ref().map(|_| now + OPERATOR_PAUSE_RETRY_AFTER),
        pauses.minute_quota_until,
        pauses.daily_quota.map(|pause| pause.next_probe_at),
        pauses.token.map(|pause| pause.until),
    ];
    until.into_iter().flatten().filter(|until| *until > now).max().map(|until| until.since(now))
}

impl From<SendResult> for SendOutcome {
    fn from(result: SendResult) -> Self {
        let problem: Option<(_, Cow<'static, str>)> = match result.outcome {
            SendStatus::Sent => None,
            SendStatus::Refused => {
                Some((ProblemKind::Refused, "Weixin refused the message with errcode; see remedy".into()))
            }
            SendStatus::NotSent if result.errcode.is_some() => Some((
                ProblemKind::NotSent,
                "the message was not sent: Weixin refused the token call with errcode; see remedy, then send it again"
                    .into(),
            )),
            SendStatus::Invalid => {
                Some((ProblemKind::Invalid, "the message is invalid: see problems; correct the fields".into()))
            }
            SendStatus::NotSent => {
                Some((ProblemKind::NotSent, "the message was not sent; it is safe to send it again".into()))
            }
            SendStatus::MaybeSent => Some((
                ProblemKind::MaybeSent,
                "the message may have been sent; do not blindly repeat it".into(),
            )),
        };
        let retry_after = (result.outcome == SendStatus::NotSent).then_some(DEFAULT_RETRY_AFTER);
        Self { result, problem, retry_after, replayed: false }
    }
}

impl SendOutcome {
    /// What came of a send through the outbox.
    pub(super) async fn of_outbox(
        message: &Message,
        sent: Result<Receipt, OutboxError>,
        outbox: &Outbox,
    ) -> Self {
        match sent {
            Ok(receipt) => {
                let current = current(receipt.message(), outbox).await;
                Self { replayed: receipt.replayed(), ..Self::of_message(&current) }
            }
            Err(error) => Self::of_failure(message, &error),
        }
    }

    /// Whether a pause of the app says when to try again.
    pub(super) fn is_paused_or_not_sent(&self) -> bool {
        let waits = [ProblemKind::NotSent, ProblemKind::Paused];
        self.problem.as_ref().is_some_and(|(kind, _)| waits.contains(kind))
    }

    fn of_message(message: &StoredMessage) -> Self {
        let mut result = stored_send(message);
        result.id = Some(message.id.to_string());
        result.decision = message.decision.as_ref().map(|decided| decided.decision.as_str().into());
        match message.state {
            MessageState::Queued | MessageState::Attempting => {
                result.outcome = SendStatus::MaybeSent;
                result.remedy = Some(ProblemKind::InFlight.remedy());
                let detail =
                    "the message of this idempotency key is not final yet; send the same request again later";
                let problem = Some((ProblemKind::InFlight, detail.into()));
                Self { result, problem, retry_after: Some(DEFAULT_RETRY_AFTER), replayed: true }
            }
            MessageState::Cancelled => {
                result.remedy = Some(ProblemKind::Cancelled.remedy());
                let detail = "the message of this idempotency key was cancelled; use another key to send one";
                Self {
                    result,
                    problem: Some((ProblemKind::Cancelled, detail.into())),
                    retry_after: None,
                    replayed: true,
                }
            }
            _ => result.into(),
        }
    }

    fn of_failure(message: &Message, error: &OutboxError) -> Self {
        let OutboxFailure { kind, retry_after, .. } = OutboxFailure::from(error);
        let maybe_sent = kind == ProblemKind::MaybeSent;
        let outcome = if maybe_sent { SendStatus::MaybeSent } else { SendStatus::NotSent };
        let mut result = SendResult::about(message, outcome);
        result.remedy = Some(kind.remedy());
        if matches!(kind, ProblemKind::GrantUnavailable | ProblemKind::NoGrant) {
            result.stage = Some(SendStage::Grant);
        }
        if let OutboxError::NotSettled(id) = error {
            result.id = Some(id.to_string());
        }
        Self { result, problem: Some((kind, error.to_string().into())), retry_after, replayed: false }
    }

    /// Whether the request was to send a message that no request before it was about.
    pub(super) fn is_new(&self) -> bool {
        use ProblemKind::{Cancelled, InFlight, KeyReused};
        let kind = self.problem.as_ref().map(|(kind, _)| *kind);
        !self.replayed && !matches!(kind, Some(InFlight | KeyReused | Cancelled))
    }

    /// What came of its idempotency key, for the metrics.
    pub(super) fn key_result(&self) -> &'static str {
        match &self.problem {
            Some((ProblemKind::InFlight, _)) => "in_flight",
            Some((ProblemKind::KeyReused, _)) => "reused",
            _ if self.replayed => "replayed",
            _ => "new",
        }
    }
}

/// The message, or the one that is sent in its place.
pub(crate) async fn current(message: &StoredMessage, outbox: &Outbox) -> StoredMessage {
    let mut current = message.clone();
    while let Some(child) = current.decision.as_ref().and_then(|decided| decided.child) {
        match outbox.ledger().message(child).await {
            Ok(Some(child)) => current = child,
            _ => break,
        }
    }
    current
}

impl From<&OutboxError> for OutboxFailure {
    fn from(error: &OutboxError) -> Self {
        use ProblemKind as Kind;
        let wait = Some(DEFAULT_RETRY_AFTER);
        let (kind, retry_after) = match error {
            OutboxError::UnknownApp(_) | OutboxError::NoAppChosen | OutboxError::NoSuchMessage(_) => {
                (Kind::NotFound, None)
            }
            OutboxError::KeyRequired => (Kind::KeyRequired, None),
            OutboxError::NotRecorded(NotRecorded::Grant(not_admitted))
            | OutboxError::NotDecided(NotDecided::Grant(not_admitted)) => {
                (kind_of_grant(*not_admitted), None)
            }
            OutboxError::NotRecorded(NotRecorded::KeyReused(_)) => (Kind::KeyReused, None),
            OutboxError::NotRecorded(NotRecorded::ExpiresTooEarly) => (Kind::Invalid, None),
            OutboxError::NotRecorded(NotRecorded::Paused) => (Kind::Paused, wait),
            OutboxError::RateLimited(wait) => (Kind::RateLimited, Some(*wait)),
            OutboxError::NotSettled(_) => (Kind::MaybeSent, None),
            OutboxError::NotCancelled(NotCancelled::NotFound)
            | OutboxError::NotDecided(NotDecided::NotFound) => (Kind::NotFound, None),
            OutboxError::NotCancelled(NotCancelled::Attempting) => (Kind::Attempting, None),
            OutboxError::NotCancelled(NotCancelled::Final) => (Kind::Final, None),
            OutboxError::NotDecided(NotDecided::NotDecidable(not_decidable)) => match not_decidable {
                NotDecidable::Decided => (Kind::Decided, None),
                NotDecidable::NotUndecided => (Kind::NotUndecided, None),
                NotDecidable::TooEarly(_) => (Kind::TooEarly, wait),
                NotDecidable::Stale(_) => (Kind::PreconditionFailed, None),
            },
            // A worker that is gone or does not run cannot write to the ledger.
            _ => (Kind::LedgerUnavailable, wait),
        };
        let may_be_recorded = matches!(error, OutboxError::Ledger(LedgerError::Unknown(_)));
        Self { kind, retry_after, may_be_recorded }
    }
}

fn kind_of_grant(not_admitted: NotAdmitted) -> ProblemKind {
    match not_admitted {
        NotAdmitted::GrantUnavailable => ProblemKind::GrantUnavailable,
        NotAdmitted::NoGrant => ProblemKind::NoGrant,
    }
}
