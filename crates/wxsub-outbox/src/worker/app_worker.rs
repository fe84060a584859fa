//! The messages of one app: claim as many as there are free slots, post each in a task of its own, settle.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{self, JoinSet};
use wxsub_core::clock::{ClockReading, timeout_at};

use super::heart::{Heart, POST_WINDOW};
use crate::ledger::{Applied, Change};
use crate::message::{Detail, Settlement, StoredMessage};
use crate::outbox::{App, Inner};

/// The pauses between attempts to settle, while the ledger fails.
const SETTLE_RETRY_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct AppWorker {
    inner: Arc<Inner>,
    heart: Arc<Heart>,
    app: App,
}

/// A claimed message on its way.
#[derive(Clone)]
struct Posting {
    inner: Arc<Inner>,
    heart: Arc<Heart>,
    app: App,
    message: Arc<StoredMessage>,
    /// No POST begins from here on.
    deadline: ClockReading,
}

impl AppWorker {
    pub(super) fn new(inner: Arc<Inner>, heart: Arc<Heart>, app: App) -> Self {
        Self { inner, heart, app }
    }

    /// Works until it is asked to stop and nothing is under way any more.
    pub(super) async fn run(self, mut stopping: watch::Receiver<bool>) {
        let clock = &self.inner.clock;
        let mut queued = self.inner.writer.finals().queued();
        let mut tasks = JoinSet::new();
        let mut postings: HashMap<task::Id, Posting> = HashMap::new();
        loop {
            let stop = *stopping.borrow_and_update();
            if stop && tasks.is_empty() {
                return;
            }
            queued.mark_unchanged();
            let free = if stop { 0 } else { self.free_slots(tasks.len()) };
            if free > 0 {
                for posting in self.claim(free).await {
                    let id = tasks.spawn(posting.clone().carry_out()).id();
                    postings.insert(id, posting);
                }
            }
            let next_poll = clock.now().mono + self.inner.poll_interval;
            // A token may come while the one message that fetches it is under way.
            let idle = !stop && tasks.len() < self.app.concurrency.get();
            tokio::select! {
                biased;
                Some(ended) = tasks.join_next_with_id() => match ended {
                    Ok((id, ())) => drop(postings.remove(&id)),
                    Err(panic) => {
                        // Its request may have left.
                        if let Some(posting) = postings.remove(&panic.id()) {
                            let unknown = Settlement::Unknown(Detail::unknown("the send panicked"));
                            let id = tasks.spawn(posting.clone().settle(unknown)).id();
                            postings.insert(id, posting);
                        }
                    }
                },
                Ok(()) = queued.changed(), if idle => {}
                () = clock.sleep_until(next_poll), if idle => {}
                Ok(()) = stopping.changed(), if !stop => {}
            }
        }
    }

    /// Without a token at hand, one message at a time fetches one.
    fn free_slots(&self, taken: usize) -> usize {
        let has_token = self.app.client.token_source().current().get().is_some();
        let slots = if has_token { self.app.concurrency.get() } else { 1 };
        slots.saturating_sub(taken)
    }

    async fn claim(&self, limit: usize) -> Vec<Posting> {
        // Before the claim, so that a slow commit makes the window shorter, never longer.
        let deadline = self.inner.clock.now() + POST_WINDOW;
        let Some((worker, number)) = self.heart.begin_claim() else { return Vec::new() };
        let claim = Change::Claim { worker, appid: self.app.appid.clone(), limit };
        let messages = match self.inner.writer.submit(claim).await {
            Ok(Applied::Messages(messages)) => messages,
            Ok(other) => {
                tracing::error!(?other, "unexpected result of a claim");
                Vec::new()
            }
            Err(error) => {
                tracing::warn!(%error, appid = self.app.appid.as_str(), "claim failed");
                Vec::new()
            }
        };
        self.heart.end_claim(number, messages.iter().map(|message| (message.id, message.attempt)));
        let posting = |message| Posting {
            inner: Arc::clone(&self.inner),
            heart: Arc::clone(&self.heart),
            app: self.app.clone(),
            message: Arc::new(message),
            deadline,
        };
        messages.into_iter().map(posting).collect()
    }
}

impl Posting {
    async fn carry_out(self) {
        let settlement = self.post().await;
        self.settle(settlement).await;
    }

    async fn post(&self) -> Settlement {
        // With a token at hand, the POST follows at once. Without one, the token's own error is the outcome.
        let tokens = self.app.client.token_source();
        if tokens.current().get().is_none() {
            let _ = timeout_at(&*self.inner.clock, self.deadline.mono, tokens.token()).await;
        }
        let Some(body) = &self.message.body else {
            return Settlement::NotSent(Detail::not_posted("the ledger has no body for it"));
        };
        if self.deadline.is_past(self.inner.clock.now()) {
            return Settlement::NotSent(Detail::not_posted("more than 30 s had passed since its claim"));
        }
        if !self.message.worker.is_some_and(|worker| self.heart.may_post(worker)) {
            return Settlement::NotSent(Detail::not_posted("the worker's heartbeat had failed"));
        }
        // Also the replay after a stale token begins within the window.
        let window_over = self.inner.clock.sleep_until(self.deadline.mono);
        Settlement::of_result(&self.app.client.send_until(body, window_over).await)
    }

    /// Until the ledger has taken it: an outcome that is known must not get lost.
    async fn settle(self, settlement: Settlement) {
        let Self { inner, message, .. } = &self;
        let Some(worker) = message.worker else { return };
        let change = Change::Settle {
            message: message.id,
            worker,
            attempt: message.attempt,
            settlement,
            max_failures: self.app.max_failures,
        };
        while let Err(error) = inner.writer.submit(change.clone()).await {
            tracing::warn!(%error, message = %message.id, "settle failed");
            inner.clock.sleep_until(inner.clock.now().mono + SETTLE_RETRY_INTERVAL).await;
        }
        self.heart.end_attempt((message.id, message.attempt));
    }
}
