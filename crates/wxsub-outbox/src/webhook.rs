//! Webhooks: which endpoints are notified of messages, and the deliveries that are recorded for them.
//!
//! The ledger has the endpoints. Each change that ends or decides a message records a delivery for each endpoint that wants it,
//! in the same transaction. A sender claims deliveries and posts their bodies, signed as
//! [Standard Webhooks](https://www.standardwebhooks.com) says.

#![expect(
    clippy::exhaustive_structs,
    clippy::exhaustive_enums,
    reason = "a ledger decides, writes and reads all of it"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wxsub_core::clock::UnixMillis;
use wxsub_proto::{AppId, ErrCode, OpenId};

use crate::id::MessageId;
use crate::idempotency::IdempotencyKey;
use crate::message::StoredMessage;
use crate::state::{Decision, EventKind, MessageState, Reason, WebhookEvent};

/// How long a claimed delivery is not claimed again. An attempt takes 15 s at most.
pub const DELIVERY_LEASE: Duration = Duration::from_secs(60);

/// How long deliveries are kept that did not succeed.
pub const DELIVERY_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

/// Maximum of each count of an [`EndpointStatus`].
pub const MAX_COUNTED_DELIVERIES: u64 = 1_000;

/// Maximum delay of the next attempt that a response can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// No delay before an attempt is longer: the longest of the schedule, a tenth more.
pub const MAX_DELIVERY_DELAY: Duration = Duration::from_secs(27 * 3600);

/// The delays before the second to the tenth attempt, in seconds: the schedule of Standard Webhooks, about three days.
const RETRY_DELAYS_S: [u64; 9] =
    [5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600];

/// An endpoint that gets webhooks: one row of `wxsub_webhook_endpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEndpoint {
    /// Its name in the configuration.
    pub name: String,
    /// The SHA-256 of its URL, which can hold a secret.
    pub url_sha256: [u8; 32],
    /// The apps whose events it gets; `None` for all.
    pub apps: Option<BTreeSet<AppId>>,
    /// The events it gets.
    pub events: BTreeSet<WebhookEvent>,
    /// Whether it gets the user of a message.
    pub with_openid: bool,
    /// When it responded with 410. Deliveries to it wait from then on.
    pub disabled_at: Option<UnixMillis>,
}

/// An endpoint and its deliveries, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointStatus {
    /// The endpoint.
    pub endpoint: StoredEndpoint,
    /// Since when a delivery has been due that no sender has claimed. `None` if none is due.
    pub due_since: Option<UnixMillis>,
    /// Deliveries that are tried (again), up to [`MAX_COUNTED_DELIVERIES`].
    pub pending: u64,
    /// Dead letters, up to [`MAX_COUNTED_DELIVERIES`].
    pub dead: u64,
}

/// Identifies a delivery.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeliveryId {
    /// The name of the endpoint.
    pub endpoint: String,
    /// The message that it is about.
    pub message: MessageId,
    /// The version of the message after the event.
    pub sequence: u32,
}

/// A delivery that has not succeeded: one row of `wxsub_webhook_delivery`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// The name of what happened: of a [`WebhookEvent`], or of one that only a newer version knows.
    pub event: String,
    /// What is posted.
    pub body: String,
    /// When it was recorded.
    pub created_at: UnixMillis,
    /// Counts the claims. It is the fence: a failure of an earlier attempt is ignored.
    pub attempt: u32,
    /// When it may be claimed. `None` for a dead letter, which is not tried again.
    pub due_at: Option<UnixMillis>,
    /// Why the last attempt failed. `None` before the first attempt and during each. It holds no secret and no URL.
    pub error: Option<String>,
}

/// How an attempt to deliver ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The endpoint took it.
    Delivered,
    /// The endpoint responded with 410: it wants no more. An endpoint that has another URL meanwhile is not disabled.
    Gone {
        /// The SHA-256 of the URL that responded.
        url_sha256: [u8; 32],
    },
    /// The endpoint did not take it.
    Failed {
        /// Why.
        error: String,
        /// How long the endpoint wants no other attempt.
        retry_after: Option<Duration>,
    },
}

/// The body of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WebhookPayload {
    /// What happened.
    #[serde(rename = "type")]
    pub event: WebhookEvent,
    /// When.
    #[serde(with = "wxsub_core::rfc3339")]
    pub timestamp: UnixMillis,
    /// To which message.
    pub data: WebhookData,
}

/// The message that a webhook is about. Members without a value are absent.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WebhookData {
    /// Its id.
    pub id: MessageId,
    /// The app that sends it.
    pub appid: AppId,
    /// The user it goes to, if the endpoint wants to know.
    pub openid: Option<OpenId>,
    /// The key under which it was recorded.
    pub idempotency_key: Option<IdempotencyKey>,
    /// How it ended.
    pub outcome: MessageState,
    /// Why it is `not_sent` or `maybe_sent`.
    pub reason: Option<Reason>,
    /// Weixin's error code.
    pub errcode: Option<ErrCode>,
    /// Its decision.
    pub decision: Option<Decision>,
    /// The message that is sent in its place.
    pub child_id: Option<MessageId>,
    /// The message in whose place it was sent.
    pub parent_id: Option<MessageId>,
    /// How often it was claimed.
    pub attempt: u32,
    /// Grows with every event of the message, so that webhooks can be put in order.
    pub sequence: u32,
}

impl WebhookEvent {
    /// The event of a change of a message, if endpoints are notified of it.
    #[must_use]
    pub fn of(before: Option<MessageState>, after: MessageState, kind: EventKind) -> Option<Self> {
        if kind == EventKind::Decided {
            return Some(Self::Decided);
        }
        match after {
            _ if before == Some(after) => None,
            MessageState::Sent => Some(Self::Sent),
            MessageState::Refused => Some(Self::Refused),
            MessageState::MaybeSent => Some(Self::MaybeSent),
            MessageState::NotSent => Some(Self::NotSent),
            MessageState::Cancelled => Some(Self::Cancelled),
            MessageState::Queued | MessageState::Attempting => None,
        }
    }
}

impl StoredEndpoint {
    /// Whether it gets this event of a message of this app.
    #[must_use]
    pub fn wants(&self, appid: &AppId, event: WebhookEvent) -> bool {
        self.events.contains(&event) && self.apps.as_ref().is_none_or(|apps| apps.contains(appid))
    }

    /// The apps as a ledger stores them: separated by spaces; `None` for all.
    #[must_use]
    pub fn app_names(&self) -> Option<String> {
        self.apps.as_ref().map(|apps| apps.iter().map(AppId::as_str).collect::<Vec<_>>().join(" "))
    }

    /// The events as a ledger stores them: separated by spaces.
    #[must_use]
    pub fn event_names(&self) -> String {
        self.events.iter().map(|event| event.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// The delivery of an event that has just happened to a message.
    pub(crate) fn delivery(
        &self,
        message: &StoredMessage,
        event: WebhookEvent,
        now: UnixMillis,
    ) -> StoredDelivery {
        let decision = message.decision.as_ref();
        let data = WebhookData {
            id: message.id,
            appid: message.appid.clone(),
            openid: message.touser.clone().filter(|_| self.with_openid),
            idempotency_key: message.idempotency_key.clone(),
            outcome: message.state,
            reason: message.reason,
            errcode: message.detail.errcode,
            decision: decision.map(|decided| decided.decision),
            child_id: decision.and_then(|decided| decided.child),
            parent_id: message.parent_id,
            attempt: message.attempt,
            sequence: message.version,
        };
        // All its members can be written as JSON.
        let body = serde_json::to_string(&WebhookPayload { event, timestamp: now, data }).unwrap_or_default();
        let id = DeliveryId { endpoint: self.name.clone(), message: message.id, sequence: message.version };
        let event = event.to_string();
        StoredDelivery { id, event, body, created_at: now, attempt: 0, due_at: Some(now), error: None }
    }
}

impl DeliveryId {
    /// The value of the header `webhook-id`: the same for every attempt, and for every endpoint.
    #[must_use]
    pub fn webhook_id(&self) -> String {
        format!("{}-{}", self.message, self.sequence)
    }
}

impl StoredDelivery {
    /// Whether it may be claimed.
    #[must_use]
    pub fn is_due(&self, now: UnixMillis) -> bool {
        self.due_at.is_some_and(|due_at| due_at <= now)
    }

    /// Whether it waits for a time that no delay explains: the ledger's clock was ahead when the time was set.
    #[must_use]
    pub fn waits_too_long(&self, now: UnixMillis) -> bool {
        self.due_at.is_some_and(|due_at| due_at > now + MAX_DELIVERY_DELAY)
    }

    /// Its place among the deliveries to its endpoint: by time, message and sequence.
    #[must_use]
    pub fn position(&self) -> (UnixMillis, MessageId, u32) {
        (self.created_at, self.id.message, self.id.sequence)
    }

    /// A sender takes it.
    pub(crate) fn claim(self, now: UnixMillis) -> Self {
        let attempt = self.attempt.saturating_add(1);
        Self { attempt, due_at: Some(now + DELIVERY_LEASE), error: None, ..self }
    }

    /// An attempt failed. It is tried again later, or is a dead letter.
    pub(crate) fn fail(self, error: String, retry_after: Option<Duration>, now: UnixMillis) -> Self {
        let wait = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
        let due_at = self.retry_delay().map(|delay| now + delay.max(wait));
        Self { due_at, error: Some(error), ..self }
    }

    /// The endpoint is disabled. The delivery waits until an operator or a new URL enables it.
    pub(crate) fn hold(self, error: &str, now: UnixMillis) -> Self {
        Self { due_at: Some(now), error: Some(error.to_owned()), ..self }
    }

    /// An operator makes it due again, with all attempts.
    pub(crate) fn renew(self, now: UnixMillis) -> Self {
        Self { attempt: 0, due_at: Some(now), error: None, ..self }
    }

    /// The delay after the attempts so far: that of the schedule and up to a tenth more, by the message's id.
    fn retry_delay(&self) -> Option<Duration> {
        let index = usize::try_from(self.attempt).ok()?.checked_sub(1)?;
        let delay = Duration::from_secs(*RETRY_DELAYS_S.get(index)?);
        let [.., random] = *self.id.message.as_bytes();
        Some(delay + delay / 10 * u32::from(random) / 256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(random: u8) -> StoredDelivery {
        let message = MessageId::from_bytes([random; 16]);
        StoredDelivery {
            id: DeliveryId { endpoint: "shop".to_owned(), message, sequence: 3 },
            event: WebhookEvent::Sent.to_string(),
            body: "{}".to_owned(),
            created_at: UnixMillis::new(0),
            attempt: 0,
            due_at: Some(UnixMillis::new(0)),
            error: None,
        }
    }

    #[test]
    fn ten_attempts_within_three_days_follow_the_schedule_with_jitter() {
        for random in [0, 1, 255] {
            let (mut delivery, mut now, mut delays) = (delivery(random), UnixMillis::new(0), Vec::new());
            while let Some(due_at) = delivery.due_at {
                delays.push(due_at.since(now).as_secs());
                now = due_at;
                delivery = delivery.claim(now).fail("503".to_owned(), None, now);
            }
            assert_eq!(delays.len(), 10, "the first attempt and nine more");
            for (delay, middle) in delays.iter().skip(1).zip(RETRY_DELAYS_S) {
                assert!((middle..=middle + middle / 10).contains(delay), "{delay} for {middle}");
            }
            let hours = now.get() / 3_600_000;
            assert!((75..=84).contains(&hours), "{hours}");
        }
    }

    #[test]
    fn retry_after_puts_off_the_next_attempt_and_never_hastens_it() {
        let now = UnixMillis::new(1_000_000);
        for (retry_after_s, expected_s) in [(60, 60), (1, 5), (u64::MAX, 24 * 3600)] {
            let failed =
                delivery(0).claim(now).fail("429".to_owned(), Some(Duration::from_secs(retry_after_s)), now);
            assert_eq!(failed.due_at, Some(now + Duration::from_secs(expected_s)));
        }
    }

    #[test]
    fn only_a_new_outcome_or_a_decision_has_an_event() {
        use MessageState::{Attempting, MaybeSent, NotSent, Queued, Sent};
        for (before, after, kind, expected) in [
            (None, Queued, EventKind::Enqueued, None),
            (Some(Queued), Attempting, EventKind::Claimed, None),
            (Some(Attempting), Queued, EventKind::Requeued, None),
            (Some(Attempting), Sent, EventKind::Sent, Some(WebhookEvent::Sent)),
            (None, NotSent, EventKind::NotSent, Some(WebhookEvent::NotSent)),
            (Some(Attempting), MaybeSent, EventKind::Reclaimed, Some(WebhookEvent::MaybeSent)),
            (Some(Queued), MaybeSent, EventKind::Restored, Some(WebhookEvent::MaybeSent)),
            (Some(MaybeSent), MaybeSent, EventKind::Restored, None),
            (Some(MaybeSent), MaybeSent, EventKind::Decided, Some(WebhookEvent::Decided)),
            (Some(MaybeSent), MaybeSent, EventKind::LateAnswer, None),
            (Some(MaybeSent), Sent, EventKind::Sent, Some(WebhookEvent::Sent)),
        ] {
            assert_eq!(WebhookEvent::of(before, after, kind), expected, "{kind}");
        }
    }

    #[test]
    fn the_id_of_a_webhook_has_no_full_stop() {
        let id = delivery(1).id.webhook_id();
        assert!(id.ends_with("-3") && !id.contains('.'), "{id}");
    }
}
