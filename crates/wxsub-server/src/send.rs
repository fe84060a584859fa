//! Sends a message for a client.
//!
//! A started send is finished, audited, counted and logged, even if the client disconnects. It ends at the deadline of the
//! request at the latest, so response, audit, metrics and log agree.

use std::sync::Arc;

use tracing::{Instrument, warn, warn_span};
use wxsub_core::SendError;
use wxsub_core::token::Generation;
use wxsub_proto::{Message, Remedy};

use crate::app::ManagedApp;
use crate::audit::{Action, ApiSurface};
use crate::client::ApiClient;
use crate::context::{AuditCaller, RequestContext};
use crate::send_result::{SendResult, SendStatus};
use crate::state::{AuditOutcome, ServerState};

/// The sender of a message, and the API in use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SendContext<'a> {
    pub(crate) request: &'a RequestContext,
    pub(crate) app: &'a Arc<ManagedApp>,
    pub(crate) client: Option<&'a ApiClient>,
    pub(crate) api: ApiSurface,
    /// The generation of the access token that authorized the request instead of a key.
    pub(crate) presented_generation: Option<Generation>,
}

/// The result of a send, and its error if it failed.
#[derive(Debug)]
pub(crate) struct SendOutcome {
    pub(crate) result: SendResult,
    pub(crate) error: Option<SendError>,
}

/// Sends a message.
///
/// # Cancel safety
/// A started send goes on in its own task.
pub(crate) async fn send(context: &SendContext<'_>, message: Message) -> SendOutcome {
    let SendContext { request, app, client, api, presented_generation } = *context;
    // The library logs a failed send; the span adds the client.
    let span = warn_span!("send", client = client.map(|client| client.name.as_str()));
    // If the wait for a token times out, nothing was posted. If it fails, the client below returns the error.
    if app.current().is_none() && request.with_timeout(app.token()).await.is_none() {
        span.in_scope(|| {
            let (appid, remedy) = (app.appid().as_str(), Remedy::RetryLater.as_str());
            warn!(appid, text = "no access token in time", remedy, "a message was not sent");
        });
        let outcome = SendOutcome { result: SendResult::no_token(&message), error: None };
        record(&request.state, app, api, &request.caller(client), presented_generation, &outcome);
        return outcome;
    }
    let (state, app, client, address) =
        (Arc::clone(&request.state), Arc::clone(app), client.cloned(), request.address);
    let given_up = SendResult::given_up(&message);
    let deadline = request.deadline();
    let task = async move {
        let stop = state.clock().sleep_until(deadline);
        let error = app.client.send_until(&message, stop).await.err();
        let result = match &error {
            None => SendResult::sent(&message),
            Some(error) => SendResult::failed(&message, error),
        };
        let outcome = SendOutcome { result, error };
        let caller = AuditCaller { client: client.as_ref(), address };
        record(&state, &app, api, &caller, presented_generation, &outcome);
        outcome
    };
    // The task ends early only if the runtime shuts down.
    tokio::spawn(task.instrument(span)).await.unwrap_or(SendOutcome { result: given_up, error: None })
}

fn record(
    state: &ServerState,
    app: &ManagedApp,
    api: ApiSurface,
    caller: &AuditCaller<'_>,
    presented_generation: Option<Generation>,
    outcome: &SendOutcome,
) {
    let (status, error) = (outcome.result.outcome, outcome.error.as_ref());
    state.metrics().record_send(app.appid(), status.as_str());
    // A rejected token fetch is counted once, when it happens, not for each message that waits for it.
    if let (SendStatus::Refused, Some(errcode)) = (status, error.and_then(SendError::errcode)) {
        state.metrics().record_refusal(errcode);
    }
    let current = || app.current().map(|current| current.cached.generation());
    let audit = AuditOutcome {
        appid: Some(app.appid()),
        outcome: status.as_str(),
        generation: presented_generation.or_else(current).map(Generation::get),
        errcode: error.and_then(SendError::errcode),
        rid: error.and_then(SendError::trace_id),
    };
    state.record_audit(api, Action::Send, caller, &audit);
}
