//! The list of messages, and one message.

use std::time::Duration;

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{Html, Response};
use serde::Deserialize;
use serde_json::Value;
use wxsub_console::{MessagePageView, OutboxFilter, OutboxView};
use wxsub_core::clock::UnixMillis;
use wxsub_core::rfc3339;
use wxsub_outbox::LedgerError;
use wxsub_outbox::id::MessageId;
use wxsub_outbox::ledger::MessageQuery;
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::state::AuditAction;
use wxsub_outbox::view::{AppView, GrantView, MessageList, MessageView};
use wxsub_proto::{LocalizedText, OpenId};

use super::ledger::{LedgerSession, OperatorForm};
use super::request::encode;

/// Messages on a page.
const PAGE: usize = 50;

/// The list begins so long ago unless it is asked for another time.
const DEFAULT_RANGE: Duration = Duration::from_secs(24 * 3600);

/// The filter of the list, as a form sends it: an empty field is no condition.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListQuery {
    app: String,
    state: String,
    openid: String,
    from: Option<String>,
    order: String,
    after: String,
}

/// `GET /outbox`.
pub(super) async fn list(
    session: LedgerSession,
    Query(query): Query<ListQuery>,
) -> Result<Html<String>, Response> {
    let (app, now) = (session.app(&query.app)?, session.now());
    let from = query.from.unwrap_or_else(|| rfc3339::format(now.before(DEFAULT_RANGE)));
    let from: String = from.trim().chars().take(16).collect();
    let invalid = |field| {
        let text = match field {
            "from" => {
                LocalizedText::new("Enter a time like 2027-01-31T12:00", "请输入时间，例如 2027-01-31T12:00")
            }
            "openid" => LocalizedText::new("This is no openid", "这不是 openid"),
            "after" => LocalizedText::new(
                "There is no such page; begin at the first one",
                "没有这一页；请从第一页开始",
            ),
            _ => LocalizedText::new("There is no such state", "没有这种状态"),
        };
        session.session.notice(StatusCode::BAD_REQUEST, text)
    };
    let state = optional(&query.state, |text| text.parse().ok()).map_err(|()| invalid("state"))?;
    let openid =
        optional(&query.openid, |text| text.parse::<OpenId>().ok()).map_err(|()| invalid("openid"))?;
    let begin = optional(&from, |text| rfc3339::parse(&format!("{}:00Z", text.get(..16)?)).ok());
    let begin = begin.map_err(|()| invalid("from"))?.map(first_id);
    let after = optional(&query.after, |text| text.parse().ok()).map_err(|()| invalid("after"))?;
    let oldest_first = query.order == "oldest";
    let after = if oldest_first { after.or(begin) } else { after };
    let all = MessageQuery::new(app.clone());
    let asked = MessageQuery { state, openid, newest_first: !oldest_first, after, limit: PAGE, ..all };
    let ledger = session.outbox.ledger();
    let mut messages = session.done(ledger.messages(&asked).await)?;
    messages.retain(|message| begin.is_none_or(|begin| message.id >= begin));
    let stored = session.done(ledger.app(&app).await)?;
    let app_view = AppView::new(app.clone(), &stored, now);
    let MessageList { messages, next, .. } = MessageList::new(&messages, &stored, PAGE, now);
    let list = |order: &str| {
        let (state, openid) = (encode(&query.state), encode(&query.openid));
        let (app, from) = (encode(app.as_str()), encode(&from));
        format!("/outbox?app={app}&state={state}&openid={openid}&from={from}&order={order}")
    };
    let [order, other] = if oldest_first { ["oldest", "newest"] } else { ["newest", "oldest"] };
    let next = next.map(|next| format!("{}&after={next}", list(order)));
    let reversed = list(other);
    let filter = OutboxFilter { app, state, openid: query.openid, from, oldest_first };
    let view = OutboxView { apps: session.apps(), filter, app: app_view, messages, next, reversed };
    Ok(Html(wxsub_console::outbox(&session.session.frame(), &view)))
}

/// The value of a field that may be empty.
fn optional<T>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, ()> {
    match text.trim() {
        "" => Ok(None),
        text => parse(text).map(Some).ok_or(()),
    }
}

/// The ids of all messages that were recorded since this time are larger.
fn first_id(at: UnixMillis) -> MessageId {
    let millis = u128::from(at.get()) << 80;
    MessageId::from_bytes(millis.to_be_bytes())
}

/// The id of the message to show.
#[derive(Debug, Deserialize)]
pub(super) struct FindQuery {
    id: String,
}

/// `GET /outbox/find`.
pub(super) async fn find(
    session: LedgerSession,
    Query(query): Query<FindQuery>,
) -> Result<Response, Response> {
    let message = session.message(&query.id).await?;
    Ok(session.session.visit.redirect(&format!("/outbox/{}", message.id)))
}

/// `GET /outbox/{id}`.
pub(super) async fn show(session: LedgerSession, Path(id): Path<String>) -> Result<Html<String>, Response> {
    let message = session.message(&id).await?;
    page(&session, &message, false).await
}

/// `POST /outbox/{id}/reveal`. The openid is shown only if that is in the audit.
pub(super) async fn reveal(
    Path(id): Path<String>,
    OperatorForm { session, .. }: OperatorForm,
) -> Result<Html<String>, Response> {
    let message = session.message(&id).await?;
    let entry = session.audit_entry(AuditAction::Reveal, Some(message.appid.clone()), message.id.to_string());
    session.done(session.outbox.record_audit(entry).await)?;
    page(&session, &message, true).await
}

/// `POST /outbox/{id}/cancel`.
pub(super) async fn cancel(
    Path(id): Path<String>,
    OperatorForm { session, .. }: OperatorForm,
) -> Result<Response, Response> {
    let message = session.message(&id).await?;
    let outbox = session.outbox_of(&message.appid)?;
    session.done(outbox.cancel(message.id, &session.session.user.name).await)?;
    Ok(session.session.visit.redirect(&format!("/outbox/{}", message.id)))
}

async fn page(
    session: &LedgerSession,
    message: &StoredMessage,
    is_revealed: bool,
) -> Result<Html<String>, Response> {
    let ledger = session.outbox.ledger();
    let read = async {
        let app = ledger.app(&message.appid).await?;
        let history = ledger.history(message.id).await?;
        let grants = match &message.touser {
            Some(openid) if message.grant.is_some() => ledger.grants(&message.appid, openid).await?,
            _ => Vec::new(),
        };
        Ok::<_, LedgerError>((app, history, grants))
    };
    let (app, history, grants) = session.done(read.await)?;
    let grant = grants.iter().find(|grant| message.grant == Some(grant.id)).map(GrantView::from);
    let view = MessagePageView {
        message: MessageView::new(message, &app, session.now()).with_events(&history),
        grant,
        request: message.body.as_ref().and_then(|body| request(&body.to_json())),
        is_revealed,
    };
    Ok(Html(wxsub_console::message(&session.session.frame(), &view)))
}

/// What is posted.
fn request(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let text = serde_json::to_string_pretty(&body).ok()?;
    let lines = text.lines().map(|line| wxsub_proto::redact::sanitize_line(line.chars()));
    Some(lines.collect::<Vec<_>>().join("\n"))
}
