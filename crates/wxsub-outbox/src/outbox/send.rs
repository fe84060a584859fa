//! The synchronous send: recorded before its one attempt, and never queued.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::field::display;
use tracing::{Instrument, Span};
use wxsub_core::clock::{ClockReading, timeout_at};
use wxsub_proto::Message;

use super::{App, Inner, Outbox, OutboxError, Receipt};
use crate::id::WorkerId;
use crate::idempotency::IdempotencyKey;
use crate::ledger::{Change, NewMessage, NotRecorded, Recorded};
use crate::message::StoredMessage;
use crate::state::MessageState;
use crate::worker::{POST_WINDOW, Posting, WorkerSession};

/// How long a caller waits for the first heartbeat of the worker.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a caller waits for the ledger after the attempt.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// A synchronous send under way, in a task of its own: its caller may give up.
struct Sending {
    inner: Arc<Inner>,
    session: Arc<WorkerSession>,
    app: App,
    worker: WorkerId,
    claim: u64,
    /// No POST begins from here on.
    deadline: ClockReading,
}

impl Outbox {
    /// Sends a message now, and gives it as it ended: sent, refused, `maybe_sent` or `not_sent`. It is recorded before its
    /// one attempt and is never queued. A [`worker`](Self::run) of this outbox must be running.
    ///
    /// With a key that was used before, nothing is sent: the [receipt](Receipt::replayed) has the message of that key,
    /// which may still be under way. A message that was certainly not sent is sent again.
    ///
    /// # Errors
    /// [`OutboxError::NotRecorded`] if its grant, its key or a pause of the app does not allow it,
    /// [`OutboxError::RateLimited`] and [`OutboxError::NotRunning`]: nothing was sent. Nor was it if the ledger failed,
    /// but after [`LedgerError::Unknown`](crate::LedgerError::Unknown) the message may be recorded, and becomes
    /// `not_sent`. Only after [`OutboxError::NotSettled`] may the message have been sent.
    ///
    /// # Cancel safety
    /// The attempt goes on with the worker, and its outcome is recorded. Send it again with the same idempotency key to
    /// get it.
    pub async fn send(
        &self,
        message: Message,
        key: impl Into<Option<IdempotencyKey>>,
    ) -> Result<Receipt, OutboxError> {
        let new = self.with_key(self.new_message(message)?, "messages", key.into())?;
        let (app, id) = (self.app()?.clone(), new.id);
        let session = self.session().ok_or(OutboxError::NotRunning)?;
        let clock = &*self.inner.clock;
        // Without a heartbeat, the claim below is refused.
        timeout_at(clock, clock.now().mono + START_TIMEOUT, session.started()).await;
        // Before the claim, so that a slow commit makes the window shorter, never longer.
        let now = clock.now();
        if app.take_permits(1, now.mono) == 0 {
            let next = app.next_permit_at().unwrap_or_default();
            return Err(OutboxError::RateLimited(next.duration_since(now.mono)));
        }
        let Some((worker, claim)) = session.begin_claim() else {
            app.give_back(1);
            return Err(OutboxError::NotRunning);
        };
        let (inner, deadline) = (Arc::clone(&self.inner), now + POST_WINDOW);
        let (reply, replied) = oneshot::channel();
        let sending = Sending { inner, session: Arc::clone(&session), app, worker, claim, deadline };
        // Its log lines have the span of the caller.
        session.spawn(sending.run(new, reply).instrument(Span::current()));
        // Its worker has ended.
        replied.await.unwrap_or(Err(OutboxError::NotSettled(id)))
    }
}

impl Sending {
    async fn run(self, new: NewMessage, reply: oneshot::Sender<Result<Receipt, OutboxError>>) {
        let begun = match self.begin(new).await {
            Ok(Recorded::New(begun)) if begun.state == MessageState::Attempting => begun,
            other => {
                self.app.give_back(1);
                // A caller that has gone needs no reply.
                let _ = reply.send(other);
                return;
            }
        };
        Span::current().record("message_id", display(begun.id));
        let Self { inner, session, app, deadline, .. } = self;
        let posting = Posting { inner, session, app, message: *begun, deadline };
        let settlement = posting.post().await;
        let mut settling = pin!(posting.settle(settlement));
        let clock = &*posting.inner.clock;
        match timeout_at(clock, clock.now().mono + SETTLE_TIMEOUT, settling.as_mut()).await {
            Some(settled) => {
                let _ = reply.send(receipt(&posting, settled).await);
            }
            None => {
                let _ = reply.send(Err(OutboxError::NotSettled(posting.message.id)));
                settling.await;
            }
        }
    }

    /// Records the message, with its attempt.
    async fn begin(&self, new: NewMessage) -> Result<Recorded, OutboxError> {
        let begin = Change::Begin(Box::new(new), self.worker);
        let recorded = self.inner.writer.submit::<Result<Recorded, NotRecorded>>(begin).await;
        let recorded =
            recorded.map_err(OutboxError::from).and_then(|recorded| recorded.map_err(OutboxError::from));
        let attempt = match &recorded {
            Ok(Recorded::New(message)) if message.state == MessageState::Attempting => {
                Some((message.id, message.attempt))
            }
            _ => None,
        };
        self.session.end_claim(self.claim, attempt);
        recorded
    }
}

/// The message as it ended; as it is now, if another process has ended the attempt.
async fn receipt(posting: &Posting, settled: Option<StoredMessage>) -> Result<Receipt, OutboxError> {
    let id = posting.message.id;
    let message = match settled {
        Some(settled) => settled,
        None => posting.inner.ledger.message(id).await?.ok_or(OutboxError::NoSuchMessage(id))?,
    };
    Ok(Recorded::New(Box::new(message)))
}
