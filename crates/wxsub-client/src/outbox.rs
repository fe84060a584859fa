//! Consents, grants and the outbox of the control server.

use futures_util::stream::{self, Stream, TryStreamExt};
use http::header::{CONTENT_TYPE, HeaderValue, IF_MATCH};
use serde_json::{Map, Value};
use wxsub_api::{
    DecisionRequest, IssuedConsent, LineResult, NewConsent, NewGrant, OutboxApps, PauseRequest, path,
};
use wxsub_core::clock::UnixMillis;
use wxsub_core::rfc3339;
use wxsub_outbox::id::{GrantId, MessageId};
use wxsub_outbox::idempotency::IdempotencyKey;
use wxsub_outbox::state::{Decision, MessageState, Priority};
use wxsub_outbox::view::{AppView, ConsentView, DecidedView, GrantList, MessageList, MessageView};
use wxsub_proto::{AppId, Message, OpenId};

use crate::control_server::{json, key_header, read_success};
use crate::{ControlServer, ControlServerError};

/// The media type of many messages, one a line.
const LINES: &str = "application/x-ndjson";

/// When a queued message is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a caller sets each of them")]
pub struct Schedule {
    /// The earliest time for its first attempt. Now unless given.
    pub send_at: Option<UnixMillis>,
    /// No attempt begins from here on. 7 days after `send_at` unless given.
    pub expires_at: Option<UnixMillis>,
    /// Which of the due messages goes first. `normal` unless given.
    pub priority: Option<Priority>,
}

/// One of many messages to queue.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_structs, reason = "a caller sets each of them")]
pub struct OutboxLine<'a> {
    /// The message.
    pub message: &'a Message,
    /// When it is sent.
    pub schedule: Schedule,
    /// Its idempotency key.
    pub key: &'a IdempotencyKey,
}

/// Which messages to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a caller sets each of them")]
pub struct MessageFilter {
    /// In this state only.
    pub state: Option<MessageState>,
    /// To this user only.
    pub openid: Option<OpenId>,
    /// `maybe_sent` without a decision only.
    pub undecided: bool,
    /// After this message: the `next` of the page before.
    pub after: Option<MessageId>,
    /// At most so many, 1 to 1000. 100 unless given.
    pub limit: Option<u32>,
}

impl ControlServer {
    /// Has the server sign a request for consent. The key needs the scope `consent`, as for all changes of grants.
    ///
    /// # Errors
    /// [`ControlServerError`] if the server did not sign it.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is recorded.
    pub async fn issue_consent(
        &self,
        appid: &AppId,
        consent: &NewConsent,
    ) -> Result<IssuedConsent, ControlServerError> {
        self.post(&fill(path::CONSENTS, appid, None), json(consent)?, &[]).await
    }

    /// Has the server verify and record a callback, or record a consent that was verified elsewhere, which needs a key.
    ///
    /// # Errors
    /// [`ControlServerError`] if the server did not record it, for example because the callback is forged.
    ///
    /// # Cancel safety
    /// The consent may or may not have been recorded; recording it again is safe.
    pub async fn record_grant(
        &self,
        appid: &AppId,
        grant: &NewGrant,
        key: Option<&IdempotencyKey>,
    ) -> Result<ConsentView, ControlServerError> {
        self.post(&fill(path::GRANTS, appid, None), json(grant)?, &key_header(key)).await
    }

    /// Lists the grants of one user, oldest first. The key needs the scope `consent` or `outbox:read`.
    ///
    /// # Errors
    /// [`ControlServerError`] if the server did not return them.
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    pub async fn grants(&self, appid: &AppId, openid: &OpenId) -> Result<GrantList, ControlServerError> {
        let path = format!("{}?openid={openid}", fill(path::GRANTS, appid, None));
        self.get(&path).await
    }

    /// Voids an open grant.
    ///
    /// # Errors
    /// [`ControlServerError`] if the server has no open grant with this id.
    ///
    /// # Cancel safety
    /// The grant may or may not have been voided.
    pub async fn void_grant(&self, appid: &AppId, id: GrantId) -> Result<(), ControlServerError> {
        self.delete(&fill(path::GRANT, appid, Some(&id.to_string()))).await
    }

    /// Queues a message. With a key, the same call again gives the same message. The key of the client needs the scope
    /// `outbox:write`.
    ///
    /// # Errors
    /// [`ControlServerError`] if the server did not record it. If
    /// [`may_have_taken_effect`](ControlServerError::may_have_taken_effect) is true, it may have: repeat the call with the
    /// same idempotency key.
    ///
    /// # Cancel safety
    /// The message may or may not have been recorded: repeat the call with the same idempotency key.
    pub async fn enqueue(
        &self,
        appid: &AppId,
        message: &Message,
        schedule: Schedule,
        key: Option<&IdempotencyKey>,
    ) -> Result<MessageView, ControlServerError> {
        let body = json(&members(message, schedule))?;
        self.post(&fill(path::OUTBOX, appid, None), body, &key_header(key)).await
    }

    /// Queues up to 1000 messages, at most 1 MiB of them. Returns the result of each line, in their order. A line that is not
    /// recorded does not stop the others. The key of the client needs the scope `outbox:write`.
    ///
    /// # Errors
    /// [`ControlServerError`] if the server recorded none of them. If
    /// [`may_have_taken_effect`](ControlServerError::may_have_taken_effect) is true, it may have recorded some: repeat the call
    /// with the same idempotency keys.
    ///
    /// # Cancel safety
    /// Some messages may have been recorded: repeat the call with the same idempotency keys.
    pub async fn enqueue_lines(
        &self,
        appid: &AppId,
        lines: &[OutboxLine<'_>],
    ) -> Result<Vec<LineResult<MessageView>>, ControlServerError> {
        let mut body = Vec::new();
        for OutboxLine { message, schedule, key } in lines {
            let mut line = members(message, *schedule);
            line.insert("idempotency_key".to_owned(), key.as_str().into());
            body.append(&mut json(&line)?);
            body.push(b'\n');
        }
        let (path, media_type) = (fill(path::OUTBOX, appid, None), HeaderValue::from_static(LINES));
        let response = self.call(http::Method::POST, &path, body, &[(CONTENT_TYPE, media_type)]).await?;
        read_success(&response, |body| {
            let results = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            let results: Result<Vec<_>, _> = results.map(serde_json::from_slice).collect();
            results.ok().filter(|results| results.len() == lines.len())
        })
    }

    /// Lists the apps of the key that have or had messages, or are paused: how many messages each has in each state, and what
    /// they wait for. The key needs the scope `outbox:read`.
    ///
    /// # Errors
    /// [`ControlServerError`] if the server did not return them.
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    pub async fn outbox_apps(&self) -> Result<Vec<AppView>, ControlServerError> {
        let OutboxApps { apps } = self.get(path::OUTBOX_APPS).await?;
        Ok(apps)
    }

    /// Lists a page of messages, oldest first. The key needs the scope `outbox:read`.
    ///
    /// # Errors
    /// [`ControlServerError`] if the server did not return them.
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    pub async fn messages(
        &self,
        appid: &AppId,
        filter: &MessageFilter,
    ) -> Result<MessageList, ControlServerError> {
        let MessageFilter { state, openid, undecided, after, limit } = filter;
        let pairs = [
            ("state", state.map(|state| state.to_string())),
            ("openid", openid.as_ref().map(OpenId::to_string)),
            ("undecided", undecided.then(|| "true".to_owned())),
            ("after", after.map(|after| after.to_string())),
            ("limit", limit.map(|limit| limit.to_string())),
        ];
        // None of these values has a character that a query must escape.
        let pairs = pairs.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)));
        let query = pairs.collect::<Vec<_>>().join("&");
        let path = format!("{}?{query}", fill(path::OUTBOX, appid, None));
        self.get(&path).await
    }

    /// Lists all messages, oldest first, page by page. `limit` of the filter is the size of a page. The key needs the scope
    /// `outbox:read`.
    ///
    /// # Errors
    /// The stream ends with the [`ControlServerError`] of the first page that the server did not return.
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    pub fn all_messages<'a>(
        &'a self,
        appid: &'a AppId,
        filter: MessageFilter,
    ) -> impl Stream<Item = Result<MessageView, ControlServerError>> + 'a {
        let pages = stream::try_unfold(Some(filter), move |filter| async move {
            let Some(filter) = filter else { return Ok(None) };
            let page = self.messages(appid, &filter).await?;
            let next = page.next.map(|after| MessageFilter { after: Some(after), ..filter });
            Ok(Some((stream::iter(page.messages.into_iter().map(Ok)), next)))
        });
        pages.try_flatten()
    }

    /// Shows one message with its history. The key needs the scope `outbox:read`.
    ///
    /// # Errors
    /// [`ControlServerError`] if the server did not return it.
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    pub async fn message(&self, appid: &AppId, id: MessageId) -> Result<MessageView, ControlServerError> {
        self.get(&fill(path::OUTBOX_MESSAGE, appid, Some(&id.to_string()))).await
    }

    /// Withdraws a queued message. The key needs the scope `outbox:write`.
    ///
    /// # Errors
    /// [`ControlServerError`] if the message is not queued any more.
    ///
    /// # Cancel safety
    /// The message may or may not have been withdrawn.
    pub async fn cancel(&self, appid: &AppId, id: MessageId) -> Result<(), ControlServerError> {
        self.delete(&fill(path::OUTBOX_MESSAGE, appid, Some(&id.to_string()))).await
    }

    /// Decides a message that may have been sent. `seen` is the version that the operator has looked at. The key needs the
    /// scope `outbox:decide`.
    ///
    /// # Errors
    /// [`ControlServerError`] if the message stays as it is.
    ///
    /// # Cancel safety
    /// The message may or may not have been decided: look at it again.
    pub async fn decide(
        &self,
        appid: &AppId,
        id: MessageId,
        decision: Decision,
        note: &str,
        seen: u32,
    ) -> Result<DecidedView, ControlServerError> {
        let path = fill(path::DECISION, appid, Some(&id.to_string()));
        let body = json(&DecisionRequest { decision: decision.as_str(), note })?;
        let version = HeaderValue::try_from(format!("\"{seen}\"")).ok().map(|version| (IF_MATCH, version));
        let headers: Vec<_> = version.into_iter().collect();
        self.post(&path, body, &headers).await
    }

    /// Pauses the app: its messages wait. The key needs the scope `outbox:decide`.
    ///
    /// # Errors
    /// [`ControlServerError`] if the server did not pause it.
    ///
    /// # Cancel safety
    /// The app may or may not have been paused.
    pub async fn pause(&self, appid: &AppId, note: &str) -> Result<AppView, ControlServerError> {
        self.post(&fill(path::PAUSE, appid, None), json(&PauseRequest { note })?, &[]).await
    }

    /// Lifts every pause of the app. The key needs the scope `outbox:decide`.
    ///
    /// # Errors
    /// [`ControlServerError`] if the server did not resume it.
    ///
    /// # Cancel safety
    /// The app may or may not have been resumed.
    pub async fn resume(&self, appid: &AppId) -> Result<AppView, ControlServerError> {
        self.post(&fill(path::RESUME, appid, None), Vec::new(), &[]).await
    }

    /// Deletes what is at this path. The server confirms it with 204.
    async fn delete(&self, path: &str) -> Result<(), ControlServerError> {
        let response = self.call(http::Method::DELETE, path, Vec::new(), &[]).await?;
        read_success(&response, |_| (response.status == 204).then_some(()))
    }
}

/// The JSON object of a message with its schedule.
fn members(message: &Message, schedule: Schedule) -> Map<String, Value> {
    let mut members: Map<String, Value> = serde_json::from_slice(&message.to_json()).unwrap_or_default();
    let Schedule { send_at, expires_at, priority } = schedule;
    let times = [("send_at", send_at), ("expires_at", expires_at)];
    let times = times.into_iter().filter_map(|(name, at)| Some((name, rfc3339::format(at?))));
    let priority = priority.map(|priority| ("priority", priority.as_str().to_owned()));
    members.extend(times.chain(priority).map(|(name, text)| (name.to_owned(), text.into())));
    members
}

/// The path of a template.
fn fill(template: &str, appid: &AppId, id: Option<&str>) -> String {
    template.replace("{appid}", appid.as_str()).replace("{id}", id.unwrap_or_default())
}
