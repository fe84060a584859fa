//! The requests of callers to the refresh task.
//!
//! A channel of tokio takes 1.3 kB from the start. A server has thousands of caches, and most of them get a request an hour.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::token::{Evidence, Generation, ReportOutcome};

/// A message from a caller to the task.
pub(super) enum Request {
    /// The caller needs a token and sees none.
    Token,
    /// The token of this generation no longer works.
    Report { generation: Generation, evidence: Evidence, response: oneshot::Sender<ReportOutcome> },
    /// The process ends. The sender is dropped when nothing runs any more.
    Close(oneshot::Sender<()>),
}

/// The queue of requests. Each caller waits for its response, so the queue has at most one request for each caller.
#[derive(Default)]
pub(super) struct RequestQueue {
    pending: Mutex<Pending>,
    arrived: Notify,
}

#[derive(Default)]
struct Pending {
    /// Whether callers need a token. One request serves all of them.
    token: bool,
    others: VecDeque<Request>,
    /// Whether all handles of the token cache were dropped.
    is_closed: bool,
}

/// Sends requests. Dropping it closes the queue.
pub(super) struct RequestSender(Arc<RequestQueue>);

impl RequestQueue {
    /// The queue, and its only sender.
    pub(super) fn new() -> (Arc<RequestSender>, Arc<Self>) {
        let queue = Arc::<Self>::default();
        (Arc::new(RequestSender(Arc::clone(&queue))), queue)
    }

    /// Waits for a request. `None` if there is none left and the queue is closed.
    ///
    /// # Cancel safety
    /// No request is lost.
    pub(super) async fn next(&self) -> Option<Request> {
        loop {
            {
                let mut pending = self.locked();
                if let Some(request) = pending.take() {
                    return Some(request);
                }
                if pending.is_closed {
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }

    /// Drops all requests.
    pub(super) fn clear(&self) {
        let mut pending = self.locked();
        while pending.take().is_some() {}
    }

    fn locked(&self) -> MutexGuard<'_, Pending> {
        // Each change is complete before it could panic.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn take(&mut self) -> Option<Request> {
        if std::mem::take(&mut self.token) { Some(Request::Token) } else { self.others.pop_front() }
    }
}

impl RequestSender {
    /// Queues a request and wakes the task. Never waits.
    pub(super) fn send(&self, request: Request) {
        {
            let mut pending = self.0.locked();
            match request {
                Request::Token => pending.token = true,
                other => pending.others.push_back(other),
            }
        }
        self.0.arrived.notify_one();
    }
}

impl Drop for RequestSender {
    fn drop(&mut self) {
        self.0.locked().is_closed = true;
        self.0.arrived.notify_one();
    }
}
