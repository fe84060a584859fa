//! The messages of one app: claim as many as there are free slots, post each in a task of its own, settle.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinSet, yield_now};
use tracing::Instrument;

use super::posting::Posting;
use super::session::{POST_WINDOW, WorkerSession};
use crate::ledger::Change;
use crate::message::StoredMessage;
use crate::outbox::{App, Inner};
use crate::state::MessageState;

pub(super) struct AppWorker {
    inner: Arc<Inner>,
    session: Arc<WorkerSession>,
    app: App,
    slots: Arc<Slots>,
}

/// How many messages are posted at a time.
struct Slots {
    free: Arc<Semaphore>,
    /// A slot has become free.
    freed: Notify,
}

impl Slots {
    fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }

    fn free(&self, slot: Option<OwnedSemaphorePermit>) {
        drop(slot);
        self.freed.notify_one();
    }
}

impl AppWorker {
    pub(super) fn new(inner: Arc<Inner>, session: Arc<WorkerSession>, app: App) -> Self {
        let free = Arc::new(Semaphore::new(app.concurrency.get()));
        let slots = Arc::new(Slots { free, freed: Notify::new() });
        Self { inner, session, app, slots }
    }

    /// Works until it is asked to stop and nothing is under way any more.
    pub(super) async fn run(self, mut stopping: watch::Receiver<bool>) {
        let (clock, wake, appid) = (&self.inner.clock, &self.inner.wake, &self.app.appid);
        let mut tasks = JoinSet::new();
        // The last claim found nothing, and nothing has woken this app since.
        let mut is_idle = true;
        loop {
            // All slots that are free by now are filled by one claim: each claim waits for a commit. Attempts that end
            // together end first.
            yield_now().await;
            while tasks.try_join_next().is_some() {}
            let stop = *stopping.borrow_and_update();
            if stop && tasks.is_empty() {
                return;
            }
            is_idle &= wake.wait_for_app(appid).now_or_never().is_none();
            let free = if stop || is_idle { 0 } else { self.free_slots(tasks.len()) };
            let mut next_permit = None;
            if free > 0 {
                let permits = self.app.take_permits(free, clock.now().mono);
                let postings = if permits > 0 { self.claim(permits).await } else { Vec::new() };
                self.app.give_back(permits - postings.len());
                is_idle = permits > 0 && postings.is_empty();
                if postings.len() == permits && permits < free {
                    // More may be due, and wait for the rate.
                    next_permit = self.app.next_permit_at();
                }
                for posting in postings {
                    let slot = self.slots.take();
                    tasks.spawn(post_and_settle(posting, slot, Arc::clone(&self.slots)));
                }
            }
            let permitted = async {
                match next_permit {
                    Some(at) => clock.sleep_until(at).await,
                    None => pending().await,
                }
            };
            // A token may come while the one message that fetches it is under way.
            let has_slot = !stop && self.slots.free.available_permits() > 0;
            tokio::select! {
                biased;
                Some(_) = tasks.join_next() => {}
                () = self.slots.freed.notified() => {}
                () = wake.wait_for_app(appid), if has_slot => is_idle = false,
                () = permitted, if has_slot => {}
                Ok(()) = stopping.changed(), if !stop => {}
            }
        }
    }

    /// Without a token at hand, one message at a time fetches one. While settlements wait for a ledger that fails, nothing is
    /// claimed beyond as many again.
    fn free_slots(&self, unsettled: usize) -> usize {
        if self.session.is_queue_closed() {
            return 0;
        }
        let concurrency = self.app.concurrency.get();
        match self.app.client.token_source().current().get() {
            Some(_) => {
                let max = concurrency.saturating_mul(2).saturating_sub(unsettled);
                self.slots.free.available_permits().min(max)
            }
            None => usize::from(unsettled == 0),
        }
    }

    async fn claim(&self, limit: usize) -> Vec<Posting> {
        // Before the claim, so that a slow commit makes the window shorter, never longer.
        let deadline = self.inner.clock.now() + POST_WINDOW;
        let Some((worker, number)) = self.session.begin_claim() else { return Vec::new() };
        let claim = Change::Claim { worker, appid: self.app.appid.clone(), limit };
        let mut messages = self.inner.writer.submit(claim).await.unwrap_or_else(|error| {
            tracing::warn!(%error, appid = self.app.appid.as_str(), "claim failed");
            Vec::<StoredMessage>::new()
        });
        messages.retain(|message| message.state == MessageState::Attempting);
        self.session.end_claim(number, messages.iter().map(|message| (message.id, message.attempt)));
        let posting = |message| Posting {
            inner: Arc::clone(&self.inner),
            session: Arc::clone(&self.session),
            app: self.app.clone(),
            message,
            deadline,
        };
        messages.into_iter().map(posting).collect()
    }
}

/// The slot is free when the settlement waits for its commit: it comes before the next claim there. A gate gets the outcome
/// first.
async fn post_and_settle(posting: Posting, mut slot: Option<OwnedSemaphorePermit>, slots: Arc<Slots>) {
    // The client logs a failed send; the span adds the message.
    let span = tracing::warn_span!("send", message_id = %posting.message.id);
    let settlement = posting.post().instrument(span).await;
    let mut settling = pin!(posting.settle(settlement));
    if settling.as_mut().now_or_never().is_none() {
        if !posting.app.has_gate() {
            slots.free(slot.take());
        }
        settling.await;
    }
    slots.free(slot);
}
