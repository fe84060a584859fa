//! Sends a message for a client.
//!
//! A started send is finished, audited, counted and logged, even if the client disconnects. It ends at the deadline of the
//! request at the latest, so response, audit, metrics and log agree. With a ledger, the attempt may take longer than the
//! request; the ledger has its outcome.

mod outcome;

use std::sync::Arc;

use tracing::field::Empty;
use tracing::{Instrument, warn, warn_span};
use wxsub_api::{SendResult, SendStatus};
use wxsub_core::clock::MonotonicInstant;
use wxsub_core::token::{Generation, TokenSource};
use wxsub_outbox::Outbox;
use wxsub_outbox::app::StoredApp;
use wxsub_outbox::idempotency::IdempotencyKey;
use wxsub_proto::{Message, Remedy};

use self::outcome::pause_end;
pub(crate) use self::outcome::{OutboxFailure, SendOutcome, current};
pub use self::outcome::{failed_send, stored_send};
use super::{ManagedApp, RequestPermit, ServerState};
use crate::config::ApiClient;
use crate::state::audit::{Line, Unrecorded};

/// One send: its app and sender, and until when it may take.
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
    pub(crate) audit: Line,
    /// The outbox for this app and client, if there is a ledger.
    pub(crate) outbox: Option<Outbox>,
    /// The idempotency key of the request. Only with a ledger.
    pub(crate) key: Option<IdempotencyKey>,
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
        // The library logs a failed send; the span adds the client, and with a ledger the message.
        let client = self.client.as_ref().map(|client| client.name.as_str());
        let span = warn_span!("send", client, message_id = Empty);
        if self.outbox.is_none() && !self.has_token_in_time().await {
            span.in_scope(|| {
                let (appid, remedy) = (self.app.appid().as_str(), Remedy::RetryLater.as_str());
                warn!(appid, text = "no access token in time", remedy, "a message was not sent");
            });
            return Ok(self.record(SendResult::no_token(&message).into()).await);
        }
        self.audit.start().record().await.inspect_err(|Unrecorded| self.audit.discard())?;
        // Of a task that the runtime ends.
        self.audit.change(|audit| audit.outcome = SendStatus::MaybeSent.as_str());
        let message = Arc::new(message);
        let task = {
            let message = Arc::clone(&message);
            async move {
                let _running = self.state.tasks.token();
                let outcome = match &self.outbox {
                    Some(outbox) => self.send_through(outbox, &message).await,
                    None => self.send_directly(&message).await,
                };
                self.record(outcome).await
            }
        };
        // The task ends early only if the runtime shuts down. It is large, and the runtime would move it several times.
        let sent = tokio::spawn(Box::pin(task.instrument(span))).await;
        Ok(sent.unwrap_or_else(|_| SendResult::given_up(&message).into()))
    }

    async fn send_directly(&self, message: &Message) -> SendOutcome {
        let until = self.state.deadline(self.deadline);
        match self.app.client.send_until(message, until).await {
            Ok(()) => SendResult::sent(message).into(),
            Err(error) => {
                let outcome = SendOutcome::from(failed_send(message, &error));
                let retry_after = outcome.retry_after.map(|wait| error.retry_after().unwrap_or(wait));
                SendOutcome { retry_after, ..outcome }
            }
        }
    }

    /// Records the message, posts it once and records how that ended.
    async fn send_through(&self, outbox: &Outbox, message: &Message) -> SendOutcome {
        let sending = async {
            let sent = outbox.send(message.clone(), self.key.clone()).await;
            SendOutcome::of_outbox(message, sent, outbox).await
        };
        let mut outcome = tokio::select! {
            biased;
            outcome = sending => outcome,
            // The attempt goes on, and the ledger has its outcome.
            () = self.state.deadline(self.deadline) => return SendResult::given_up(message).into(),
        };
        if outcome.is_paused_or_not_sent() {
            let app = tokio::select! {
                biased;
                app = outbox.ledger().app(self.app.appid()) => app.unwrap_or_default(),
                () = self.state.deadline(self.deadline) => StoredApp::default(),
            };
            let pause_end = pause_end(&app.pauses, self.state.clock().now().wall);
            outcome.retry_after = pause_end.or(outcome.retry_after);
        }
        outcome
    }

    /// Whether there is a token, or an error that says why not, before the deadline. If not, nothing was posted.
    async fn has_token_in_time(&self) -> bool {
        self.app.token_cache().current().get().is_some()
            || tokio::select! {
                _ = self.app.token() => true,
                () = self.state.deadline(self.deadline) => false,
            }
    }

    /// Counts and audits the outcome, and gives up the place in flight.
    async fn record(self, outcome: SendOutcome) -> SendOutcome {
        drop(self.permit);
        let (metrics, result) = (self.state.metrics(), &outcome.result);
        let client = self.client.as_ref().map(|client| client.name.as_str());
        if outcome.is_new() {
            metrics.record_send(self.app.appid(), client, result.outcome.as_str());
            if self.outbox.is_none() {
                metrics.hourly.count_send(result.outcome.as_str());
            }
            if result.outcome == SendStatus::MaybeSent {
                self.state.record_maybe_sent();
            }
            // A rejected token fetch is counted once, when it happens, not for each message that waits for it. With a ledger, the
            // outcomes of its messages are counted when they are final.
            if let (SendStatus::Refused, Some(errcode), None) = (result.outcome, result.errcode, &self.outbox)
            {
                metrics.record_refusal(self.app.appid(), errcode);
            }
        }
        if self.key.is_some() {
            metrics.record_idempotency(outcome.key_result());
        }
        let mut audit = self.audit;
        audit.change(|audit| {
            let current = || self.app.token_cache().current().get().map(|token| token.generation());
            audit.outcome = result.outcome.as_str();
            audit.generation = self.presented_generation.or_else(current).map(Generation::get);
            audit.errcode = result.errcode;
            audit.rid.clone_from(&result.rid);
            audit.message.clone_from(&result.id);
        });
        // The response tells what happened to the message, also if its line could not be written.
        let _ = audit.record().await;
        outcome
    }
}
