//! One attempt: post a claimed message, and settle it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use wxsub_core::clock::{ClockReading, timeout_at};

use super::session::WorkerSession;
use crate::ledger::Change;
use crate::message::{Detail, NotAccepted, Settlement, StoredMessage};
use crate::outbox::{App, Inner};

/// The pauses between attempts to settle, while the ledger fails.
const SETTLE_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A claimed message on its way.
pub(crate) struct Posting {
    pub(crate) inner: Arc<Inner>,
    pub(crate) session: Arc<WorkerSession>,
    pub(crate) app: App,
    pub(crate) message: StoredMessage,
    /// No POST begins from here on.
    pub(crate) deadline: ClockReading,
}

impl Posting {
    /// Posts the message, and says how that ended.
    pub(crate) async fn post(&self) -> Settlement {
        // After a panic the request may have left.
        let posted = AssertUnwindSafe(self.try_post()).catch_unwind().await;
        posted.unwrap_or_else(|_| Settlement::Unknown(Detail::unknown("the send panicked")))
    }

    async fn try_post(&self) -> Settlement {
        let Some(body) = &self.message.body else {
            return Settlement::NotSent(Detail::not_posted("the ledger has no body for it"));
        };
        if let Err(not_posted) = self.may_post() {
            return not_posted;
        }
        // With a token at hand, the POST follows at once. Without one, the token's own error is the outcome.
        let tokens = self.app.client.token_source();
        if tokens.current().get().is_none() {
            let waited = timeout_at(&*self.inner.clock, self.deadline.mono, tokens.token()).await;
            if waited.is_none() {
                return Settlement::NotAccepted(NotAccepted::NoToken, Detail::no_token());
            }
            if let Err(not_posted) = self.may_post() {
                return not_posted;
            }
        }
        // Also the replay after a stale token begins within the window.
        let window_over = self.inner.clock.sleep_until(self.deadline.mono);
        Settlement::of_result(&self.app.client.send_until(body, window_over).await)
    }

    /// Whether a POST may begin now.
    fn may_post(&self) -> Result<(), Settlement> {
        let not_posted = |why| Err(Settlement::NotSent(Detail::not_posted(why)));
        if self.deadline.is_past(self.inner.clock.now()) {
            return not_posted("more than 30 s had passed since its claim");
        }
        if !self.message.worker.is_some_and(|worker| self.session.may_post(worker)) {
            return not_posted("the worker's heartbeat had failed");
        }
        Ok(())
    }

    /// Tries until the ledger has taken it: an outcome that is known must not get lost. Gives the message if the
    /// settlement changed it.
    pub(crate) async fn settle(&self, settlement: Settlement) -> Option<StoredMessage> {
        let Self { inner, message, .. } = self;
        let change = Change::Settle {
            message: message.id,
            worker: message.worker?,
            attempt: message.attempt,
            settlement,
            max_failures: self.app.max_failures,
        };
        let settled: Option<StoredMessage> = loop {
            match inner.writer.submit(change.clone()).await {
                Ok(settled) => break settled,
                Err(error) => tracing::warn!(%error, message_id = %message.id, "settle failed"),
            }
            inner.clock.sleep_until(inner.clock.now().mono + SETTLE_RETRY_INTERVAL).await;
        };
        self.session.end_attempt((message.id, message.attempt));
        self.app.end_attempt(settled.as_ref(), inner.clock.now().mono);
        settled
    }
}
