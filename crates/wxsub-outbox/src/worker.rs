//! The worker: claims due messages, posts them and settles their attempts.
//!
//! It claims only as many messages as it can post at once, because each claimed one would be `maybe_sent` if the process
//! ended. It posts nothing that it may have lost: not later than half a lease after the claim, not while its heartbeat fails.

mod app_worker;
mod posting;
mod session;

pub(crate) use posting::Posting;
pub(crate) use session::{POST_WINDOW, WorkerSession};

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use wxsub_core::clock::timeout_at;

use self::app_worker::AppWorker;
use crate::inbox::move_rows;
use crate::outbox::{Inner, Outbox, OutboxError};

/// How long attempts under way may take after a worker was asked to end. A send takes up to 30 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Ends the synchronous sends with their worker.
struct AbortSends(Arc<WorkerSession>);

impl Drop for AbortSends {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Outbox {
    /// Sends due messages, and moves the rows of the ledger's own inbox, until `shutdown` is ready. Then it claims no more, and
    /// waits up to 60 s for the attempts under way. While the ledger fails, it goes on trying. Several processes may run on one
    /// ledger, if the ledger allows it.
    ///
    /// From this call on, [`send`](Self::send) waits up to 5 s for the first heartbeat of this worker.
    ///
    /// # Errors
    /// [`OutboxError::NoRandomBytes`] if no id can be made for the worker.
    ///
    /// # Cancel safety
    /// Not cancel safe: the attempts under way end as `maybe_sent`, when the worker's lease is over.
    pub fn run<S: Future<Output = ()> + Send>(
        &self,
        shutdown: S,
    ) -> impl Future<Output = Result<(), OutboxError>> + Send + use<S> {
        let outbox = self.clone();
        let session = WorkerSession::start(Arc::clone(&self.inner)).map(|session| {
            let session = Arc::new(session);
            self.set_session(&session);
            AbortSends(session)
        });
        async move { outbox.work(&session?.0, shutdown).await }
    }

    async fn work(
        &self,
        session: &Arc<WorkerSession>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), OutboxError> {
        let (stop, stopping) = watch::channel(false);
        let apps = self.inner.apps.values().map(|app| {
            let worker = AppWorker::new(Arc::clone(&self.inner), Arc::clone(session), app.clone());
            worker.run(stopping.clone())
        });
        let working = join_all(apps);
        let moving = async {
            let mut stopping = stopping.clone();
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stop| *stop) => {}
                () = move_rows(&self.inner) => {}
            }
            pending::<()>().await;
        };
        let stopped = async {
            shutdown.await;
            session.close();
            stop.send_replace(true);
            let clock = &self.inner.clock;
            clock.sleep_until(clock.now().mono + DRAIN_TIMEOUT).await;
        };
        // An outbox without apps waits all the same.
        let working = async {
            working.await;
            if !*stopping.borrow() {
                pending::<()>().await;
            }
            // The synchronous sends.
            session.drain().await;
        };
        tokio::select! {
            biased;
            ended = session.beat() => ended?,
            () = stopped => {}
            () = moving => {}
            () = working => {}
            () = self.ask_ledger() => {}
        }
        // A ledger that is away must not hold up the end of the process.
        let deadline = self.inner.clock.now().mono + Duration::from_secs(5);
        timeout_at(&*self.inner.clock, deadline, session.stop()).await;
        Ok(())
    }

    /// Asks the ledger, in each interval, which apps have something to claim, and wakes those. Never ends.
    async fn ask_ledger(&self) {
        let Inner { ledger, clock, poll_interval, wake, .. } = &*self.inner;
        loop {
            let next_poll = clock.now().mono + *poll_interval;
            tokio::select! {
                () = wake.wait_for_all() => {}
                () = ledger.notified() => {}
                () = clock.sleep_until(next_poll) => {}
            }
            match ledger.claimable_apps().await {
                Ok(apps) => apps.iter().for_each(|appid| wake.wake_app(appid)),
                Err(error) => tracing::warn!(%error, "reading the apps with due messages failed"),
            }
        }
    }
}
