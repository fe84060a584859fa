//! Messages, grants and apps as JSON: the same in HTTP, on the command line and here.
//!
//! Members without a value are absent. Times are text of RFC 3339. Readers must accept members that they do not know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wxsub_core::clock::UnixMillis;
use wxsub_proto::{AppId, ErrCode, OpenId, Remedy, Scene, TemplateId};

use crate::app::StoredApp;
use crate::grant::{Consent, StoredGrant};
use crate::id::{GrantId, MessageId};
use crate::idempotency::IdempotencyKey;
use crate::message::{StoredEvent, StoredMessage, decidable_at};
use crate::state::{Decision, EventKind, GrantState, MessageState, Reason, Stage, WaitingFor};

/// A message, as it is shown. It has no content.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = OutboxMessage))]
#[non_exhaustive]
pub struct MessageView {
    /// Its id.
    pub id: MessageId,
    /// The app that sends it.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub appid: AppId,
    /// Its state.
    pub state: MessageState,
    /// Why it is `not_sent` or `maybe_sent`.
    pub reason: Option<Reason>,
    /// The user it goes to. This and the next two are absent if the message is invalid and they cannot be read.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub touser: Option<OpenId>,
    /// Its template.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub template_id: Option<TemplateId>,
    /// Its scene.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub scene: Option<Scene>,
    /// How often it was claimed.
    pub attempt: u32,
    /// How many attempts were certainly not sent.
    pub failures: u32,
    /// Counts the events.
    pub version: u32,
    /// When it was recorded.
    #[serde(with = "wxsub_core::rfc3339")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub created_at: UnixMillis,
    /// The earliest time for its first attempt.
    #[serde(with = "wxsub_core::rfc3339")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub send_at: UnixMillis,
    /// No attempt begins from here on.
    #[serde(with = "wxsub_core::rfc3339")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub expires_at: UnixMillis,
    /// When it was claimed last.
    #[serde(default, with = "wxsub_core::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub attempted_at: Option<UnixMillis>,
    /// When it became final.
    #[serde(default, with = "wxsub_core::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub settled_at: Option<UnixMillis>,
    /// Weixin's error code.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<i64>))]
    pub errcode: Option<ErrCode>,
    /// Weixin's text, or what failed.
    pub errmsg: Option<String>,
    /// Weixin's id of the request.
    pub rid: Option<String>,
    /// What to do.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub remedy: Option<Remedy>,
    /// The step at which its last attempt ended.
    pub stage: Option<Stage>,
    /// The key under which it was recorded.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The grant that it uses.
    pub grant: Option<GrantId>,
    /// Its decision.
    pub decision: Option<Decision>,
    /// Who decided.
    pub decided_by: Option<String>,
    /// The message in whose place it is sent.
    pub parent_id: Option<MessageId>,
    /// What it waits for, if it is queued.
    pub waiting_for: Option<WaitingFor>,
    /// When that wait ends by itself, so that it is tried (again). Absent if only an operator ends it.
    #[serde(default, with = "wxsub_core::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub waits_until: Option<UnixMillis>,
    /// Its history, oldest first, where it was asked for.
    pub events: Option<Vec<EventView>>,
}

/// One line of a message's history, as it is shown.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = OutboxEvent))]
#[non_exhaustive]
pub struct EventView {
    /// When.
    #[serde(with = "wxsub_core::rfc3339")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub at: UnixMillis,
    /// What happened.
    pub event: EventKind,
    /// The message's attempt at that time.
    pub attempt: u32,
    /// Who did it.
    pub actor: Option<String>,
    /// What else is known of it.
    pub detail: Option<String>,
}

/// A page of messages.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = OutboxPage))]
#[non_exhaustive]
pub struct MessageList {
    /// The messages, oldest first.
    pub messages: Vec<MessageView>,
    /// What the next page begins after; absent on the last page.
    pub next: Option<MessageId>,
}

/// A grant, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Grant))]
#[non_exhaustive]
pub struct GrantView {
    /// Its id.
    pub id: GrantId,
    /// The app.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub appid: AppId,
    /// The user.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub openid: OpenId,
    /// The template.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub template_id: TemplateId,
    /// The scene.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub scene: Scene,
    /// Its state.
    pub state: GrantState,
    /// When it was recorded.
    #[serde(with = "wxsub_core::rfc3339")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub consented_at: UnixMillis,
}

/// The grants of one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Grants))]
#[non_exhaustive]
pub struct GrantList {
    /// The grants, oldest first.
    pub grants: Vec<GrantView>,
}

/// What became of a consent, as it is shown.
#[skip_serializing_none]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = RecordedConsent))]
#[non_exhaustive]
pub struct ConsentView {
    /// What became of it.
    pub outcome: ConsentOutcome,
    /// The grant that it made or belongs to. Absent if the user declined.
    pub grant: Option<GrantId>,
}

/// What became of a consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "each is a response of its own")]
pub enum ConsentOutcome {
    /// It made a new open grant.
    Recorded,
    /// It was recorded before.
    AlreadyRecorded,
    /// It adds nothing to a grant that no message has used yet.
    Absorbed,
    /// The user declined.
    Declined,
}

/// A decided message, as it is shown, and the one that is sent in its place.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = DecidedMessage))]
#[non_exhaustive]
pub struct DecidedView {
    /// The message.
    #[serde(flatten)]
    pub message: MessageView,
    /// The message that is sent in its place.
    pub child: Option<MessageView>,
}

/// An app, as it is shown.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = OutboxApp))]
#[non_exhaustive]
pub struct AppView {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub appid: AppId,
    /// What its due messages wait for.
    pub waiting_for: Option<WaitingFor>,
    /// Who paused it, if an operator did.
    pub paused_by: Option<String>,
    /// Why the operator paused it.
    pub note: Option<String>,
    /// Since when the operator pauses it.
    #[serde(default, with = "wxsub_core::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub paused_at: Option<UnixMillis>,
    /// When the wait ends by itself: after errcode 45009 at midnight in Beijing, after 45011 a minute later, without a token with
    /// the next attempt. Absent if only an operator ends it.
    #[serde(default, with = "wxsub_core::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub waits_until: Option<UnixMillis>,
    /// After errcode 45009, when the next message tries whether Weixin takes messages again.
    #[serde(default, with = "wxsub_core::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub next_probe_at: Option<UnixMillis>,
    /// How many messages it has in each state; none in a state that is missing.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, u64>))]
    pub counts: BTreeMap<MessageState, u64>,
    /// How many of its `maybe_sent` messages are undecided.
    pub undecided: u64,
}

impl MessageView {
    /// A message of this app, without its history.
    #[must_use]
    pub fn new(message: &StoredMessage, app: &StoredApp, now: UnixMillis) -> Self {
        let decision = message.decision.as_ref();
        Self {
            id: message.id,
            appid: message.appid.clone(),
            state: message.state,
            reason: message.reason,
            touser: message.touser.clone(),
            template_id: message.template_id.clone(),
            scene: message.scene,
            attempt: message.attempt,
            failures: message.failures,
            version: message.version,
            created_at: message.created_at,
            send_at: message.send_at,
            expires_at: message.expires_at,
            attempted_at: message.attempted_at,
            settled_at: message.settled_at,
            errcode: message.detail.errcode,
            errmsg: message.detail.errmsg.clone(),
            rid: message.detail.rid.clone(),
            remedy: message.detail.remedy,
            stage: message.detail.stage,
            idempotency_key: message.idempotency_key.clone(),
            grant: message.grant,
            decision: decision.map(|decided| decided.decision),
            decided_by: decision.map(|decided| decided.by.clone()),
            parent_id: message.parent_id,
            waiting_for: app.waiting_for(message, now),
            waits_until: app.waits_until(message, now),
            events: None,
        }
    }

    /// Whether it may have been sent and waits for a decision.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        self.state == MessageState::MaybeSent && self.decision.is_none()
    }

    /// When this last happened to it, if its history is given.
    #[must_use]
    pub fn last_event(&self, kind: EventKind) -> Option<&EventView> {
        self.events.as_ref()?.iter().rfind(|event| event.event == kind)
    }

    /// From when on it can be decided, by its history; `None` if it can be now.
    #[must_use]
    pub fn decidable_at(&self, now: UnixMillis) -> Option<UnixMillis> {
        decidable_at(self.last_event(EventKind::Restored).map(|event| event.at), self.attempted_at, now)
    }

    /// With its history.
    #[must_use]
    pub fn with_events(self, events: &[StoredEvent]) -> Self {
        Self { events: Some(events.iter().map(EventView::from).collect()), ..self }
    }
}

impl MessageList {
    /// A page of messages of one app. `limit` is how many were asked for: a full page may have a next one.
    #[must_use]
    pub fn new(messages: &[StoredMessage], app: &StoredApp, limit: usize, now: UnixMillis) -> Self {
        let next = messages.last().filter(|_| messages.len() >= limit).map(|message| message.id);
        Self { messages: messages.iter().map(|message| MessageView::new(message, app, now)).collect(), next }
    }
}

impl GrantList {
    /// These grants.
    #[must_use]
    pub fn new(grants: &[StoredGrant]) -> Self {
        Self { grants: grants.iter().map(GrantView::from).collect() }
    }
}

impl DecidedView {
    /// A decided message, and the one that is sent in its place.
    #[must_use]
    pub fn new(message: MessageView, child: Option<MessageView>) -> Self {
        Self { message, child }
    }
}

impl From<Option<Consent>> for ConsentView {
    fn from(consent: Option<Consent>) -> Self {
        let outcome = match &consent {
            Some(Consent::Recorded(_)) => ConsentOutcome::Recorded,
            Some(Consent::AlreadyRecorded(_)) => ConsentOutcome::AlreadyRecorded,
            Some(Consent::Absorbed(_)) => ConsentOutcome::Absorbed,
            None => ConsentOutcome::Declined,
        };
        Self { outcome, grant: consent.as_ref().map(Consent::grant) }
    }
}

impl From<&StoredEvent> for EventView {
    fn from(event: &StoredEvent) -> Self {
        Self {
            at: event.at,
            event: event.kind,
            attempt: event.attempt,
            actor: event.actor.clone(),
            detail: event.detail.clone(),
        }
    }
}

impl From<&StoredGrant> for GrantView {
    fn from(grant: &StoredGrant) -> Self {
        Self {
            id: grant.id,
            appid: grant.subject.appid.clone(),
            openid: grant.subject.openid.clone(),
            template_id: grant.subject.template_id.clone(),
            scene: grant.subject.scene,
            state: grant.state,
            consented_at: grant.consented_at,
        }
    }
}

impl AppView {
    /// An app, now.
    #[must_use]
    pub fn new(appid: AppId, app: &StoredApp, now: UnixMillis) -> Self {
        let operator = app.pauses.operator.as_ref();
        Self {
            appid,
            waiting_for: app.pauses.waiting_for(now),
            paused_by: operator.map(|pause| pause.by.clone()),
            note: operator.map(|pause| pause.note.clone()),
            paused_at: operator.map(|pause| pause.since),
            waits_until: app.pauses.waits_until(now),
            next_probe_at: app.pauses.daily_quota.map(|quota| quota.next_probe_at),
            counts: app.counts.clone(),
            undecided: app.undecided,
        }
    }
}

#[cfg(test)]
mod tests {
    use wxsub_proto::{Grant, Message};

    use super::*;
    use crate::app::{OperatorPause, Pauses};
    use crate::grant::Subject;
    use crate::ledger::{Applied, Change, Ledger, MemoryLedger, NewMessage};

    fn weixin_grant() -> Grant {
        Grant::assume_verified("o", "T", 7).unwrap()
    }

    async fn queued(ledger: &MemoryLedger) -> StoredMessage {
        let body = Message::builder(weixin_grant()).title("t").content("c").build().unwrap();
        let new = NewMessage::new(MessageId::from_bytes([1; 16]), "wx1".parse().unwrap(), body);
        let applied = ledger.commit(vec![Change::Enqueue(Box::new(new))]).await.unwrap().remove(0);
        let Ok(Applied::Recorded(Ok(recorded))) = applied else { panic!("{applied:?}") };
        let mut message = recorded.message().clone();
        (message.created_at, message.send_at) = (UnixMillis::new(1_000), UnixMillis::new(2_000));
        message.expires_at = UnixMillis::new(3_000);
        message
    }

    #[tokio::test]
    async fn a_message_shows_only_what_it_has() {
        let ledger = MemoryLedger::new();
        let message = queued(&ledger).await;
        let view = MessageView::new(&message, &StoredApp::default(), UnixMillis::new(1_500));
        let json = serde_json::to_string(&view).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"id":"01010101-0101-0101-0101-010101010101","appid":"wx1","state":"queued","touser":"o","#,
                r#""template_id":"T","scene":"7","attempt":0,"failures":0,"version":1,"#,
                r#""created_at":"1970-01-01T00:00:01Z","send_at":"1970-01-01T00:00:02Z","#,
                r#""expires_at":"1970-01-01T00:00:03Z","waiting_for":"send_at","waits_until":"1970-01-01T00:00:02Z"}"#
            )
        );
        assert_eq!(serde_json::from_str::<MessageView>(&json).unwrap(), view);
        let history = ledger.history(message.id).await.unwrap();
        let with_events = view.clone().with_events(&history);
        assert_eq!(with_events.events.as_ref().unwrap()[0].event, EventKind::Enqueued);
        let json = serde_json::to_string(&with_events).unwrap();
        assert_eq!(serde_json::from_str::<MessageView>(&json).unwrap(), with_events);
    }

    #[tokio::test]
    async fn a_full_page_may_have_a_next_one() {
        let messages = [queued(&MemoryLedger::new()).await];
        let page = |limit| MessageList::new(&messages, &StoredApp::default(), limit, UnixMillis::new(1));
        assert_eq!(page(1).next, Some(messages[0].id));
        assert_eq!(page(2).next, None);
    }

    #[test]
    fn grants_and_apps_are_shown() {
        let grant = StoredGrant {
            id: GrantId::from_bytes([2; 16]),
            subject: Subject::new("wx1".parse().unwrap(), &weixin_grant()),
            state: GrantState::InDoubt,
            consented_at: UnixMillis::new(1_500),
            callback_expires_at: UnixMillis::new(9_000),
        };
        assert_eq!(
            serde_json::to_string(&GrantView::from(&grant)).unwrap(),
            concat!(
                r#"{"id":"02020202-0202-0202-0202-020202020202","appid":"wx1","openid":"o","template_id":"T","#,
                r#""scene":"7","state":"in_doubt","consented_at":"1970-01-01T00:00:01.5Z"}"#
            )
        );
        let operator =
            OperatorPause { by: "ops".to_owned(), note: "night".to_owned(), since: grant.consented_at };
        let app = StoredApp {
            pauses: Pauses { operator: Some(operator), ..Pauses::default() },
            counts: [(MessageState::Queued, 2)].into(),
            undecided: 0,
        };
        assert_eq!(
            serde_json::to_string(&AppView::new("wx1".parse().unwrap(), &app, grant.consented_at)).unwrap(),
            r#"{"appid":"wx1","waiting_for":"paused","paused_by":"ops","note":"night","paused_at":"1970-01-01T00:00:01.5Z","counts":{"queued":2},"undecided":0}"#
        );
    }
}
