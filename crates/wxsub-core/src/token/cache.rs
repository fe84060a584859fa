//! The token cache: the refresh state, and the one task that carries out its actions.

mod builder;
mod control_server;
mod fetch;
mod refresh_task;
mod task;

pub use builder::TokenCacheBuilder;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};
use wxsub_proto::AppId;

use self::refresh_task::Request;
use self::task::TaskSlot;
use super::{
    CachedToken, CurrentToken, Evidence, Generation, ReportOutcome, TokenError, TokenErrorKind, TokenSource,
    TokenStatus,
};
use crate::clock::{Clock, ClockReading};

/// Keeps the token of one app fresh. It fetches the next token ahead of time and serves the current one meanwhile.
///
/// A clone is cheap and is the same cache. The constructor starts nothing. The first [`token`](TokenSource::token)
/// starts the refresh task on the caller's tokio runtime, whose timer must be enabled.
///
/// The task makes all fetches and ends with the last clone. If its runtime ends first, the next caller starts it on
/// their runtime. After a panic it starts again some seconds later.
#[derive(Clone)]
pub struct TokenCache {
    appid: AppId,
    requests: mpsc::Sender<Request>,
    status: watch::Receiver<TokenStatus>,
    current: Arc<ArcSwapOption<CachedToken>>,
    task_slot: Arc<TaskSlot>,
    clock: Arc<dyn Clock>,
}

impl TokenCache {
    /// Returns the current token, the last failure and the planned attempt.
    #[must_use]
    pub fn status(&self) -> TokenStatus {
        self.status.borrow().clone()
    }

    /// Returns the time on the clock of this cache.
    #[must_use]
    pub fn now(&self) -> ClockReading {
        self.clock.now()
    }

    /// Starts the task unless it is running.
    fn ensure_running(&self) -> Result<(), TokenError> {
        self.task_slot.ensure_running(&*self.clock)
    }

    /// Starts the task again if it has ended. An error does not matter while there is a valid token.
    fn keep_running(&self) {
        if self.task_slot.has_stopped() {
            let _ = self.ensure_running();
        }
    }

    /// Waits until `check` returns a value for the status. Starts the task again if it ends meanwhile.
    async fn wait_until<T>(
        &self,
        mut check: impl FnMut(&TokenStatus, ClockReading) -> Option<T>,
    ) -> Result<T, TokenError> {
        let mut status = self.status.clone();
        loop {
            let fetching = {
                let status = status.borrow_and_update();
                if let Some(found) = check(&status, self.clock.now()) {
                    return Ok(found);
                }
                status.fetching
            };
            self.ensure_running()?;
            if !fetching {
                // If the queue is full, other requests wake the task.
                let _ = self.requests.try_send(Request::Token);
            }
            if status.changed().await.is_err() {
                return Err(TokenError::new(TokenErrorKind::Interrupted, None));
            }
        }
    }

    /// Sends a report to the task and returns its outcome.
    async fn report(&self, generation: Generation, evidence: Evidence) -> Result<ReportOutcome, TokenError> {
        let mut status = self.status.clone();
        loop {
            status.mark_unchanged();
            self.ensure_running()?;
            let (response, mut outcome) = oneshot::channel();
            let _ = self.requests.send(Request::Report { generation, evidence, response }).await;
            // If the runtime of the task ends, the report is dropped or waits for the next task.
            let outcome = loop {
                tokio::select! {
                    biased;
                    outcome = &mut outcome => break outcome,
                    _ = status.changed() => self.ensure_running()?,
                }
            };
            if let Ok(outcome) = outcome {
                return Ok(outcome);
            }
        }
    }
}

#[async_trait]
impl TokenSource for TokenCache {
    fn appid(&self) -> Option<&AppId> {
        Some(&self.appid)
    }

    fn current(&self) -> CurrentToken {
        self.keep_running();
        CurrentToken::from_guard(self.current.load(), self.clock.now())
    }

    async fn token(&self) -> Result<Arc<CachedToken>, TokenError> {
        self.keep_running();
        self.wait_until(|status, now| match (status.usable(now), &status.failure) {
            (Some(token), _) => Some(Ok(Arc::clone(token))),
            (None, Some(failure)) => Some(Err(failure.with_remaining_delay(status.next_attempt_at, now))),
            (None, None) => None,
        })
        .await?
    }

    async fn refresh(
        &self,
        generation: Generation,
        evidence: Evidence,
    ) -> Result<Arc<CachedToken>, TokenError> {
        let (after_generation, reported_at_seq) = match self.report(generation, evidence).await? {
            ReportOutcome::AlreadyRefreshed(token) => return Ok(token),
            ReportOutcome::Rejected(error) => return Err(error),
            ReportOutcome::Pending { after_generation, failure_seq } => (after_generation, failure_seq),
        };
        self.wait_until(|status, now| match (status.usable(now), &status.failure) {
            (Some(token), _) if token.generation() > after_generation => Some(Ok(Arc::clone(token))),
            (_, Some(failure)) if status.failure_seq > reported_at_seq => Some(Err(failure.clone())),
            _ => None,
        })
        .await?
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenCache").field(&*self.status.borrow()).finish()
    }
}
