//! What the pages of the ledger share: their extractors, and what the ledger did not do as a page.

use std::sync::Arc;

use axum::RequestExt;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use wxsub_core::clock::UnixMillis;
use wxsub_outbox::audit::AuditEntry;
use wxsub_outbox::id::{GrantId, MessageId};
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::state::AuditAction;
use wxsub_outbox::view::AppView;
use wxsub_outbox::{Outbox, OutboxError};
use wxsub_proto::{AppId, LocalizedText, localized_text};

use super::context::Console;
use super::request::{Fields, Session, SessionForm};

/// A session on a server with a ledger. An axum extractor.
pub(super) struct LedgerSession {
    pub(super) session: Session,
    /// What it does is in the audit.
    pub(super) outbox: Outbox,
}

/// The form of an operator on a server with a ledger. An axum extractor.
pub(super) struct OperatorForm {
    pub(super) session: LedgerSession,
    pub(super) fields: Fields,
}

impl FromRequestParts<Arc<Console>> for LedgerSession {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Response> {
        Self::of(Session::from_request_parts(parts, console).await?)
    }
}

impl FromRequest<Arc<Console>> for OperatorForm {
    type Rejection = Response;

    async fn from_request(mut request: Request, console: &Arc<Console>) -> Result<Self, Response> {
        let action = request.extensions_mut().remove::<AuditAction>();
        let id = request.extract_parts::<Path<String>>().await.ok();
        let SessionForm { session, fields } = SessionForm::from_request(request, console).await?;
        let is_operator = session.is_operator();
        let form = Self { session: LedgerSession::of(session)?, fields };
        if is_operator {
            return Ok(form);
        }
        if let Some(action) = action {
            form.record_denied(action, id.map(|Path(id)| id).unwrap_or_default()).await?;
        }
        let text = LocalizedText::new(
            "You may only read, and the attempt is in the audit. Ask an operator.",
            "当前用户只能查看，这次尝试已记入操作记录；请联系操作员。",
        );
        Err(form.session.session.notice(StatusCode::FORBIDDEN, text))
    }
}

impl OperatorForm {
    /// Records that the role does not allow this form. Only what the server knows gets into the audit.
    async fn record_denied(&self, action: AuditAction, id: String) -> Result<(), Response> {
        let Self { session, fields } = self;
        let snapshot = &session.session.visit.snapshot;
        let appid = snapshot.apps.keys().find(|appid| appid.as_str() == fields.get("app"));
        let mut endpoints = snapshot.webhooks.iter().map(|webhook| &webhook.endpoint.name);
        let endpoint = endpoints.find(|name| *name == fields.get("endpoint"));
        let id = Some(id).filter(|id| id.parse::<MessageId>().is_ok() || id.parse::<GrantId>().is_ok());
        let subject = id.or_else(|| endpoint.cloned()).unwrap_or_default();
        let denied = session.audit_entry(AuditAction::Denied, appid.cloned(), subject);
        let entry = AuditEntry { detail: action.as_str().to_owned(), ..denied };
        session.done(session.outbox.record_audit(entry).await)
    }
}

#[expect(clippy::result_large_err, reason = "the error is the response, once a request")]
impl LedgerSession {
    fn of(session: Session) -> Result<Self, Response> {
        let Some(outbox) = &session.visit.snapshot.outbox else {
            let text = LocalizedText::new(
                "This server has no ledger; add [ledger] to its configuration",
                "服务器没有消息库；请在配置中添加 [ledger]",
            );
            return Err(session.notice(StatusCode::NOT_FOUND, text));
        };
        let outbox = outbox.outbox().for_operator(&session.user.name, &session.visit.address_text());
        Ok(Self { session, outbox })
    }

    pub(super) fn now(&self) -> UnixMillis {
        self.session.visit.now().wall
    }

    /// What the ledger can store as a note, or a page that says why not.
    pub(super) fn check_note(&self, note: &str) -> Result<(), Response> {
        crate::apps::check_note(note).map_err(|rule| {
            let text = localized_text!("The note {rule}", "备注{rule}"; rule);
            self.session.notice(StatusCode::BAD_REQUEST, text)
        })
    }

    /// All apps.
    pub(super) fn apps(&self) -> Vec<AppId> {
        self.session.visit.snapshot.apps.keys().cloned().collect()
    }

    /// The app with this name; the first one if it is empty.
    pub(super) fn app(&self, name: &str) -> Result<AppId, Response> {
        let mut apps = self.session.visit.snapshot.apps.keys();
        let found = match name {
            "" => apps.next(),
            name => apps.find(|appid| appid.as_str() == name),
        };
        found.cloned().ok_or_else(|| {
            let text = LocalizedText::new("The server has no such app", "服务器没有这个应用");
            self.session.notice(StatusCode::NOT_FOUND, text)
        })
    }

    /// The outbox of this app.
    pub(super) fn outbox_of(&self, appid: &AppId) -> Result<Outbox, Response> {
        self.done(self.outbox.for_app(appid))
    }

    /// The counts and pauses of an app.
    pub(super) async fn app_view(&self, appid: &AppId) -> Result<AppView, Response> {
        let app = self.done(self.outbox.ledger().app(appid).await)?;
        Ok(AppView::new(appid.clone(), &app, self.now()))
    }

    /// The message with this id, if it is one of a configured app.
    pub(super) async fn message(&self, id: &str) -> Result<StoredMessage, Response> {
        let found = match id.trim().parse::<MessageId>() {
            Ok(id) => self.done(self.outbox.ledger().message(id).await)?,
            Err(_) => None,
        };
        let is_known =
            |message: &StoredMessage| self.session.visit.snapshot.apps.contains_key(&message.appid);
        found.filter(is_known).ok_or_else(|| {
            let text = LocalizedText::new("There is no message with this id", "没有这个 id 的消息");
            self.session.notice(StatusCode::NOT_FOUND, text)
        })
    }

    /// A line for the audit.
    pub(super) fn audit_entry(
        &self,
        action: AuditAction,
        appid: Option<AppId>,
        subject: String,
    ) -> AuditEntry {
        let entry = self.session.visit.audit_entry(&self.session.user.name, action);
        AuditEntry { appid, subject, ..entry }
    }

    /// What the ledger returned, or a page that says what it did not do.
    pub(super) fn done<T>(&self, result: Result<T, impl Into<OutboxError>>) -> Result<T, Response> {
        result.map_err(|error| {
            let error = error.into();
            let status = match &error {
                OutboxError::NotDecided(_) | OutboxError::NotCancelled(_) => StatusCode::CONFLICT,
                OutboxError::NoSuchMessage(_) => StatusCode::NOT_FOUND,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            self.session.notice(status, error.localized())
        })
    }
}
