//! What the routes of consents, grants and the outbox share: their extractors, and what the outbox did not do as a problem.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use wxsub_api::{ProblemExtensions, ProblemKind};
use wxsub_core::clock::UnixMillis;
use wxsub_outbox::id::{GrantId, MessageId};
use wxsub_outbox::idempotency::IdempotencyKey;
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::{LedgerError, Outbox, OutboxError};

use super::apps::ScopedClient;
use super::members::{Members, invalid_field};
use super::{AuthorizedClient, ProblemResponse, path_param};
use crate::api::request::RequestContext;
use crate::apps::{ManagedApp, OutboxFailure, SharedState};
use crate::config::ApiClient;

/// The header of an idempotency key.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const NO_LEDGER: &str =
    "this server has no ledger, so it records no grants and messages; add [ledger] to its configuration";

/// A client of a server with a ledger, for a request about no app in particular. An axum extractor.
pub(in crate::api) struct LedgerClient<A = ()> {
    pub(super) context: RequestContext,
    pub(super) client: Arc<ApiClient>,
    pub(super) app: A,
    pub(super) outbox: Outbox,
}

/// A client that may do this with the app, and the outbox of both. An axum extractor.
pub(in crate::api) type OutboxClient = LedgerClient<Arc<ManagedApp>>;

/// The client of a list, and the query that selects from it. An axum extractor.
pub(in crate::api) struct ListClient {
    pub(super) client: OutboxClient,
    pub(super) query: Members,
}

/// The id of a message in the path. An axum extractor.
pub(in crate::api) struct MessagePath(pub(super) MessageId);

/// The id of a grant in the path. An axum extractor.
pub(in crate::api) struct GrantPath(pub(super) GrantId);

/// The idempotency key of a request, if it has one. An axum extractor.
pub(in crate::api) struct RequestKey(pub(super) Option<IdempotencyKey>);

impl FromRequestParts<SharedState> for OutboxClient {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, state: &SharedState) -> Result<Self, ProblemResponse> {
        Self::new(AuthorizedClient::from_request_parts(parts, state).await?)
    }
}

impl FromRequestParts<SharedState> for LedgerClient {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, state: &SharedState) -> Result<Self, ProblemResponse> {
        let ScopedClient { context, client } = ScopedClient::from_request_parts(parts, state).await?;
        let outbox = context.snapshot().outbox.as_ref().map(|outbox| outbox.outbox().clone());
        let outbox = outbox.ok_or_else(|| audit_no_ledger(&context))?;
        Ok(Self { context, client, app: (), outbox })
    }
}

impl FromRequestParts<SharedState> for ListClient {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, state: &SharedState) -> Result<Self, ProblemResponse> {
        let client = OutboxClient::new(AuthorizedClient::authorize(parts, state).await?)?;
        Ok(Self { client, query: Members::of_query(parts) })
    }
}

/// The outbox of this app for calls of this client; `None` without a ledger.
pub(super) fn outbox_of(context: &RequestContext, client: &ApiClient, app: &ManagedApp) -> Option<Outbox> {
    let outbox = context.snapshot().outbox.as_ref()?.outbox().for_app(app.appid()).ok()?;
    Some(outbox.for_client(&client.name))
}

pub(super) fn no_ledger() -> ProblemResponse {
    ProblemResponse::new(ProblemKind::NoLedger, NO_LEDGER)
}

fn audit_no_ledger(context: &RequestContext) -> ProblemResponse {
    context.audit(|entry| entry.outcome = "no_ledger");
    no_ledger()
}

impl<A> LedgerClient<A> {
    /// The time for the views.
    pub(super) fn now(&self) -> UnixMillis {
        self.context.state().clock().now().wall
    }

    /// Takes a place in flight and does this work on the ledger, until the deadline of the request. Audits its outcome.
    pub(super) async fn work<T>(
        &self,
        work: impl Future<Output = Result<T, OutboxError>>,
    ) -> Result<T, ProblemResponse> {
        let _permit = self.context.try_acquire_permit()?;
        let done = in_time(&self.context, work).await;
        self.context.audit(|entry| {
            entry.outcome = match &done {
                Ok(_) => "ok",
                Err(problem) => problem.problem.kind.as_str(),
            };
        });
        done
    }
}

impl OutboxClient {
    fn new(authorized: AuthorizedClient) -> Result<Self, ProblemResponse> {
        let AuthorizedClient { context, client, app } = authorized;
        let outbox = outbox_of(&context, &client, &app).ok_or_else(|| audit_no_ledger(&context))?;
        Ok(Self { context, client, app, outbox })
    }

    /// The message with this id, if it is one of the app.
    pub(super) async fn message(&self, id: MessageId) -> Result<StoredMessage, OutboxError> {
        let message = self.outbox.ledger().message(id).await?;
        message.filter(|message| message.appid == *self.app.appid()).ok_or(OutboxError::NoSuchMessage(id))
    }
}

/// Does this work on the ledger, until the deadline of the request.
pub(super) async fn in_time<T>(
    context: &RequestContext,
    work: impl Future<Output = Result<T, OutboxError>>,
) -> Result<T, ProblemResponse> {
    let no_reply = || OutboxError::from(LedgerError::Unknown("no reply in time".to_owned()));
    let done = context.with_timeout(work).await.unwrap_or_else(|| Err(no_reply()));
    done.map_err(ProblemResponse::from)
}

/// The member `id` of the path.
async fn path_id<T: std::str::FromStr>(
    parts: &mut Parts,
    state: &SharedState,
    what: &str,
) -> Result<T, ProblemResponse> {
    let id = path_param(parts, state, "id").await;
    id.and_then(|id| id.parse().ok()).ok_or_else(|| {
        let detail = format!(
            "there is no {what} with this id: it is not a UUID; copy it from the response that names it"
        );
        ProblemResponse::new(ProblemKind::NotFound, detail)
    })
}

impl FromRequestParts<SharedState> for MessagePath {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, state: &SharedState) -> Result<Self, ProblemResponse> {
        let id = path_id(parts, state, "message").await?;
        let Ok(context) = RequestContext::from_request_parts(parts, state).await;
        context.audit(|entry| entry.message = Some(MessageId::to_string(&id)));
        Ok(Self(id))
    }
}

impl FromRequestParts<SharedState> for GrantPath {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, state: &SharedState) -> Result<Self, ProblemResponse> {
        let id = path_id(parts, state, "grant").await?;
        let Ok(context) = RequestContext::from_request_parts(parts, state).await;
        context.audit(|entry| entry.grant = Some(GrantId::to_string(&id)));
        Ok(Self(id))
    }
}

impl FromRequestParts<SharedState> for RequestKey {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, _: &SharedState) -> Result<Self, ProblemResponse> {
        parse_key(&parts.headers).map(Self)
    }
}

fn parse_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ProblemResponse> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none()).and_then(unquoted);
    match text.and_then(|text| IdempotencyKey::new(text).ok()) {
        Some(key) => Ok(Some(key)),
        None => {
            let rule = "must be one header with 1 to 255 visible ASCII characters, quoted or not; choose another key";
            Err(invalid_field("Idempotency-Key", rule))
        }
    }
}

/// The text of a value that may be quoted: a string of RFC 8941.
fn unquoted(value: &str) -> Option<String> {
    let Some(quoted) = value.strip_prefix('"') else { return Some(value.to_owned()) };
    let (mut text, mut rest) = (String::new(), quoted.strip_suffix('"')?.chars());
    while let Some(next) = rest.next() {
        match next {
            '\\' => text.push(rest.next().filter(|escaped| ['"', '\\'].contains(escaped))?),
            '"' => return None,
            other => text.push(other),
        }
    }
    Some(text)
}

impl From<OutboxError> for ProblemResponse {
    fn from(error: OutboxError) -> Self {
        let OutboxFailure { kind, retry_after, may_be_recorded } = OutboxFailure::from(&error);
        let mut problem = Self::new(kind, error.to_string());
        problem.retry_after = retry_after.or(problem.retry_after);
        match may_be_recorded {
            true => problem.with(ProblemExtensions::Unrecorded { recorded: "unknown".into() }),
            false => problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_is_quoted_or_bare() {
        let parse = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IDEMPOTENCY_KEY, value.parse().unwrap());
            }
            parse_key(&headers)
                .map(|key| key.map(|key| key.as_str().to_owned()))
                .map_err(|problem| problem.problem.kind)
        };
        assert_eq!(parse(&[]), Ok(None));
        for (value, key) in [
            ("order-1", "order-1"),
            (r#""order-1""#, "order-1"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            ("a\"b", "a\"b"),
        ] {
            assert_eq!(parse(&[value]), Ok(Some(key.to_owned())), "{value}");
        }
        for values in
            [&[""][..], &["\"\""], &["\""], &["a b"], &["\"a\"b\""], &["a", "a"], &[&"k".repeat(256)]]
        {
            assert_eq!(parse(values), Err(ProblemKind::Invalid), "{values:?}");
        }
    }
}
