//! Sending for somebody. What has begun is brought to its end, audited, counted and logged, whether or not they wait for
//! it. Its end is the end of the request's time at the latest, so answer, audit, metrics and log say the same.

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

/// Who sends through which API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SendContext<'a> {
    pub(crate) call: &'a RequestContext,
    pub(crate) app: &'a Arc<ManagedApp>,
    pub(crate) client: Option<&'a ApiClient>,
    pub(crate) api: ApiSurface,
    /// The token that was shown in place of a key.
    pub(crate) presented_generation: Option<Generation>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) result: SendResult,
    pub(crate) error: Option<SendError>,
}

/// Sends. Whoever stops waiting stops nothing that has begun.
pub(crate) async fn send(sending: &SendContext<'_>, message: Message) -> Sent {
    let SendContext { call, app, client, api, presented_generation: shown } = *sending;
    // The library logs a failed send; the span adds the client.
    let span = warn_span!("send", client = client.map(|client| client.name.as_str()));
    // Why there is none, the client says. Without an answer in time, nothing can have been posted.
    if app.current().is_none() && call.with_timeout(app.token()).await.is_none() {
        span.in_scope(|| {
            let (appid, remedy) = (app.appid().as_str(), Remedy::RetryLater.as_str());
            warn!(appid, text = "no access token in time", remedy, "a message was not sent");
        });
        let sent = Sent { result: SendResult::no_token(&message), error: None };
        tell(&call.house, app, api, &call.caller(client), shown, &sent);
        return sent;
    }
    let (house, app, client, address) =
        (Arc::clone(&call.house), Arc::clone(app), client.cloned(), call.address);
    let given_up = SendResult::given_up(&message);
    let deadline = call.deadline();
    let sending = async move {
        let stop = house.clock().sleep_until(deadline);
        let error = app.client.send_until(&message, stop).await.err();
        let result = match &error {
            None => SendResult::sent(&message),
            Some(error) => SendResult::failed(&message, error),
        };
        let (sent, caller) = (Sent { result, error }, AuditCaller { client: client.as_ref(), address });
        tell(&house, &app, api, &caller, shown, &sent);
        sent
    };
    // It can only be lost with the runtime.
    tokio::spawn(sending.instrument(span)).await.unwrap_or(Sent { result: given_up, error: None })
}

fn tell(
    house: &ServerState,
    app: &ManagedApp,
    api: ApiSurface,
    caller: &AuditCaller<'_>,
    shown: Option<Generation>,
    sent: &Sent,
) {
    let (outcome, error) = (sent.result.outcome, sent.error.as_ref());
    house.metrics().sent(app.appid(), outcome.as_str());
    // A refused token call is counted once, when it is made, and not for each message that waits for it.
    if let (SendStatus::Refused, Some(errcode)) = (outcome, error.and_then(SendError::errcode)) {
        house.metrics().refused(errcode);
    }
    let current = || app.current().map(|current| current.issued.generation());
    let told = AuditOutcome {
        appid: Some(app.appid()),
        outcome: outcome.as_str(),
        generation: shown.or_else(current).map(Generation::get),
        errcode: error.and_then(SendError::errcode),
        rid: error.and_then(SendError::trace_id),
    };
    house.record_audit(api, Action::Send, caller, &told);
}
