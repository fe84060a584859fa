//! The messages of one app: claim as many as there are free slots, post each in a task of its own, settle.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::posting::Posting;
use super::session::{POST_WINDOW, WorkerSession};
use crate::ledger::{Applied, Change};
use crate::outbox::{App, Inner};

pub(super) struct AppWorker {
    inner: Arc<Inner>,
    session: Arc<WorkerSession>,
    app: App,
}

impl AppWorker {
    pub(super) fn new(inner: Arc<Inner>, session: Arc<WorkerSession>, app: App) -> Self {
        Self { inner, session, app }
    }

    /// Works until it is asked to stop and nothing is under way any more.
    pub(super) async fn run(self, mut stopping: watch::Receiver<bool>) {
        let clock = &self.inner.clock;
        let mut queued = self.inner.writer.finals().queued();
        let mut tasks = JoinSet::new();
        loop {
            // All slots that are free by now are filled by one claim: each claim waits for a commit.
            while tasks.try_join_next().is_some() {}
            let stop = *stopping.borrow_and_update();
            if stop && tasks.is_empty() {
                return;
            }
            queued.mark_unchanged();
            let free = if stop { 0 } else { self.free_slots(tasks.len()) };
            let mut next_poll = clock.now().mono + self.inner.poll_interval;
            if free > 0 {
                let permits = self.app.take_permits(free, clock.now().mono);
                let postings = if permits > 0 { self.claim(permits).await } else { Vec::new() };
                self.app.give_back(permits - postings.len());
                if let Some(next) = self.app.next_permit_at()
                    && postings.len() == permits
                    && permits < free
                {
                    // More may be due, and wait for the rate.
                    next_poll = next_poll.min(next);
                }
                for posting in postings {
                    tasks.spawn(async move {
                        let settlement = posting.post().await;
                        posting.settle(settlement).await;
                    });
                }
            }
            // A token may come while the one message that fetches it is under way.
            let idle = !stop && tasks.len() < self.app.concurrency.get();
            tokio::select! {
                biased;
                Some(_) = tasks.join_next() => {}
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
        let Some((worker, number)) = self.session.begin_claim() else { return Vec::new() };
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
