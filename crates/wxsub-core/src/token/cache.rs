//! The keeper: the lifecycle, wrapped in the one task that carries out what it decides.

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

/// Keeps one valid token of one app, fetches its successor ahead of time, and serves the old one meanwhile. Cheap to
/// clone; all clones are the same keeper.
///
/// Constructing it does nothing yet: the first [`token`](TokenSource::token) starts its one task, on the tokio runtime of
/// that caller, whose timer must be enabled. The task owns every fetch and ends with the last clone; if its runtime ends
/// first, the next caller starts it again on theirs, and so they do some seconds after a panic.
#[derive(Clone)]
pub struct TokenCache {
    appid: AppId,
    asks: mpsc::Sender<Request>,
    status: watch::Receiver<TokenStatus>,
    current: Arc<ArcSwapOption<CachedToken>>,
    berth: Arc<TaskSlot>,
    clock: Arc<dyn Clock>,
}

impl TokenCache {
    /// What is known right now: token, failure, plan.
    #[must_use]
    pub fn status(&self) -> TokenStatus {
        self.status.borrow().clone()
    }

    /// Now, on the keeper's clock.
    #[must_use]
    pub fn now(&self) -> ClockReading {
        self.clock.now()
    }

    /// Starts the task unless it is running.
    fn ensure_running(&self) -> Result<(), TokenError> {
        self.berth.ensure_running(&*self.clock)
    }

    /// Starts the task again if it has ended. A reader whose token is good does not care if that fails.
    fn keep_running(&self) {
        if self.berth.has_stopped() {
            let _ = self.ensure_running();
        }
    }

    /// Waits until the status says enough. Spurious wake-ups are harmless, and so is a task that has to be started again.
    async fn wait_until<T>(
        &self,
        mut enough: impl FnMut(&TokenStatus, ClockReading) -> Option<T>,
    ) -> Result<T, TokenError> {
        let mut status = self.status.clone();
        loop {
            let fetching = {
                let status = status.borrow_and_update();
                if let Some(found) = enough(&status, self.clock.now()) {
                    return Ok(found);
                }
                status.fetching
            };
            self.ensure_running()?;
            if !fetching {
                // A full queue means that the task has plenty to wake up for.
                let _ = self.asks.try_send(Request::Wanted);
            }
            if status.changed().await.is_err() {
                return Err(TokenError::new(TokenErrorKind::Interrupted, None));
            }
        }
    }

    /// Hands the report to the task and takes its verdict.
    async fn report(&self, failed: Generation, evidence: Evidence) -> Result<ReportOutcome, TokenError> {
        let mut status = self.status.clone();
        loop {
            status.mark_unchanged();
            self.ensure_running()?;
            let (answer, mut verdict) = oneshot::channel();
            let _ = self.asks.send(Request::Report { failed, evidence, answer }).await;
            // If the task ends with its runtime, the report is dropped unread, or waits for the next task.
            let verdict = loop {
                tokio::select! {
                    biased;
                    verdict = &mut verdict => break verdict,
                    _ = status.changed() => self.ensure_running()?,
                }
            };
            if let Ok(verdict) = verdict {
                return Ok(verdict);
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
        CurrentToken::new(self.current.load(), self.clock.now())
    }

    async fn token(&self) -> Result<Arc<CachedToken>, TokenError> {
        self.keep_running();
        self.wait_until(|status, now| match (status.usable(now), &status.failure) {
            (Some(issued), _) => Some(Ok(Arc::clone(issued))),
            (None, Some(failure)) => Some(Err(failure.with_remaining_delay(status.next_attempt_at, now))),
            (None, None) => None,
        })
        .await?
    }

    async fn refresh(&self, failed: Generation, evidence: Evidence) -> Result<Arc<CachedToken>, TokenError> {
        let (newer_than, announced_then) = match self.report(failed, evidence).await? {
            ReportOutcome::AlreadyRefreshed(issued) => return Ok(issued),
            ReportOutcome::Rejected(error) => return Err(error),
            ReportOutcome::Pending { newer_than, announced } => (newer_than, announced),
        };
        self.wait_until(|status, now| match (status.usable(now), &status.failure) {
            (Some(issued), _) if issued.generation() > newer_than => Some(Ok(Arc::clone(issued))),
            (_, Some(failure)) if status.announced > announced_then => Some(Err(failure.clone())),
            _ => None,
        })
        .await?
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keeper").field(&*self.status.borrow()).finish()
    }
}
