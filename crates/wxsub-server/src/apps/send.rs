//! Sends a message for a client.
//!
//! A started send is finished, audited, counted and logged, even if the client disconnects. It ends at the deadline of the
//! request at the latest, so response, audit, metrics and log agree.

use std::sync::Arc;

use tracing::{Instrument, warn, warn_span};
use wxsub_api::{SendResult, SendStatus};
use wxsub_core::SendError;
use wxsub_core::clock::MonotonicInstant;
use wxsub_core::error::Delivery;
use wxsub_core::token::{Generation, TokenSource};
use wxsub_proto::{Message, Remedy};

use super::{ManagedApp, RequestPermit, ServerState};
use crate::config::ApiClient;
use crate::state::audit::{Entry, Unrecorded};

/// One send: its app and sender, and until when it may take.
#[derive(Debug)]
pub(crate) struct SendJob {
    pub(crate) state: Arc<ServerState>,
    pub(crate) app: Arc<ManagedApp>,
    /// The client, if a key authorized the request.
    pub(crate) client: Option<Arc<ApiClient>>,
    /// The generation of the access token that authorized the request instead.
    pub(crate) presented_generation: Option<Generation>,
    pub(crate) deadline: MonotonicInstant,
    /// The place in flight. It is held until the send ends, also if the client disconnects.
    pub(crate) permit: RequestPermit,
    /// The audit line of the request.
    pub(crate) audit: Option<Box<Entry>>,
}

/// The result of a send, and its error if it failed.
#[derive(Debug)]
pub(crate) struct SendOutcome {
    pub(crate) result: SendResult,
    pub(crate) error: Option<SendError>,
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

impl SendJob {
    /// Sends the message.
    ///
    /// # Errors
    /// [`Unrecorded`] if a required audit cannot record that the send starts. Then nothing is sent.
    ///
    /// # Cancel safety
    /// A started send goes on in its own task.
    pub(crate) async fn run(mut self, message: Message) -> Result<SendOutcome, Unrecorded> {
        if let Some(audit) = &mut self.audit {
            audit.client = self.client.clone();
            audit.appid = Some(self.app.appid().clone());
        }
        // The library logs a failed send; the span adds the client.
        let span = warn_span!("send", client = self.client.as_ref().map(|client| client.name.as_str()));
        if !self.has_token_in_time().await {
            span.in_scope(|| {
                let (appid, remedy) = (self.app.appid().as_str(), Remedy::RetryLater.as_str());
                warn!(appid, text = "no access token in time", remedy, "a message was not sent");
            });
            return Ok(self.record(SendResult::no_token(&message), None).await);
        }
        self.record_start().await?;
        let message = Arc::new(message);
        let task = {
            let message = Arc::clone(&message);
            async move {
                let _guard = self.state.begin_send();
                let until = self.state.deadline(self.deadline);
                let sent = self.app.client.send_until(&message, until).await;
                match sent {
                    Ok(()) => self.record(SendResult::sent(&message), None).await,
                    Err(error) => self.record(failed_send(&message, &error), Some(error)).await,
                }
            }
        };
        // The task ends early only if the runtime shuts down.
        let sent = tokio::spawn(task.instrument(span)).await;
        Ok(sent.unwrap_or_else(|_| SendOutcome { result: SendResult::given_up(&message), error: None }))
    }

    /// Whether there is a token, or an error that says why not, before the deadline. If not, nothing was posted.
    async fn has_token_in_time(&self) -> bool {
        self.app.token_cache.current().get().is_some()
            || tokio::select! {
                _ = self.app.token() => true,
                () = self.state.deadline(self.deadline) => false,
            }
    }

    /// Records that the send starts, if the audit is required. The message cannot be taken back after that.
    async fn record_start(&self) -> Result<(), Unrecorded> {
        match &self.audit {
            Some(audit) if self.state.audit().is_required() => {
                let mut started = audit.clone();
                started.outcome = "started";
                self.state.audit().clone().record(started).await
            }
            _ => Ok(()),
        }
    }

    /// Counts and audits the outcome, and gives up the place in flight.
    async fn record(self, result: SendResult, error: Option<SendError>) -> SendOutcome {
        drop(self.permit);
        let metrics = self.state.metrics();
        let client = self.client.as_ref().map(|client| client.name.as_str());
        metrics.record_send(self.app.appid(), client, result.outcome.as_str());
        if result.outcome == SendStatus::MaybeSent {
            self.state.record_maybe_sent();
        }
        let api_error = error.as_ref().and_then(SendError::api_error);
        // A rejected token fetch is counted once, when it happens, not for each message that waits for it.
        if let (SendStatus::Refused, Some(api_error)) = (result.outcome, api_error) {
            metrics.record_refusal(self.app.appid(), api_error.errcode());
        }
        if let Some(mut audit) = self.audit {
            let current = || self.app.token_cache.current().get().map(|token| token.generation());
            audit.outcome = result.outcome.as_str();
            audit.generation = self.presented_generation.or_else(current).map(Generation::get);
            audit.errcode = result.errcode;
            audit.rid.clone_from(&result.rid);
            // The response tells what happened to the message, also if its line could not be written.
            let _ = self.state.audit().clone().record(audit).await;
        }
        SendOutcome { result, error }
    }
}
