//! The task that writes: one batch of changes after the other. It ends what it began, also if the caller has gone.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use wxsub_core::clock::Clock;
use wxsub_outbox::ledger::{Change, Results};
use wxsub_outbox::{LedgerError, LedgerResult};

use crate::commit;
use crate::connection::Connector;
use crate::error::Failure;
use crate::session::Session;

/// How often a transaction is tried whose rows others change at the same time.
const MAX_TRIES: u32 = 5;

/// To so many shards processes add the numbers of messages.
const SHARDS: u8 = 16;

type Batch = (Vec<Change>, oneshot::Sender<LedgerResult<Results>>);

/// The writing task. It ends after the commit under way when this is dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    batches: mpsc::UnboundedSender<Batch>,
}

impl Writer {
    /// Starts the task on an open session.
    pub(crate) fn start(
        connector: Connector,
        session: Session,
        clock: Option<Arc<dyn Clock>>,
        shard: u8,
    ) -> Self {
        let (batches, waiting) = mpsc::unbounded_channel();
        let shard = i16::from(shard % SHARDS);
        tokio::spawn(Writing { connector, session: Some(session), clock, shard }.run(waiting));
        Self { batches }
    }

    pub(crate) async fn commit(&self, changes: Vec<Change>) -> LedgerResult<Results> {
        let (reply, replied) = oneshot::channel();
        let ended = || "its task has ended: restart the program, whose log has the cause".to_owned();
        if self.batches.send((changes, reply)).is_err() {
            return Err(LedgerError::Unavailable(ended()));
        }
        replied.await.unwrap_or_else(|_| Err(LedgerError::Unknown(ended())))
    }
}

struct Writing {
    connector: Connector,
    session: Option<Session>,
    clock: Option<Arc<dyn Clock>>,
    shard: i16,
}

impl Writing {
    async fn run(mut self, mut waiting: mpsc::UnboundedReceiver<Batch>) {
        while let Some((changes, reply)) = waiting.recv().await {
            // A caller that has gone needs no reply.
            let _ = reply.send(self.commit(&changes).await);
        }
    }

    /// Commits all changes together; or, if a row of one of them breaks a rule, each by itself.
    async fn commit(&mut self, changes: &[Change]) -> LedgerResult<Results> {
        match self.try_commit(changes).await {
            Err(Failure::Row(_)) if changes.len() > 1 => {
                let (mut results, mut lost) = (Vec::with_capacity(changes.len()), None);
                for change in changes {
                    let committed = match lost {
                        // The others would wait for a connection, too, one after the other.
                        Some(lost) => Err(lost),
                        None => self.try_commit(std::slice::from_ref(change)).await,
                    };
                    let is_lost = |failure: &&Failure| matches!(failure, Failure::Disconnected(_));
                    lost = committed.as_ref().err().filter(is_lost).cloned();
                    results.push(match committed {
                        Ok(mut one) => one
                            .pop()
                            .unwrap_or_else(|| Err(LedgerError::Inconsistent("no result".to_owned()))),
                        Err(failure) => Err(failure.into_error()),
                    });
                }
                Ok(results)
            }
            Err(Failure::Row(what)) => Ok(vec![Err(LedgerError::Inconsistent(what))]),
            committed => committed.map_err(Failure::into_error),
        }
    }

    async fn try_commit(&mut self, changes: &[Change]) -> Result<Results, Failure> {
        let mut tries = 0;
        loop {
            let was_open = self.session.as_ref().is_some_and(|session| !session.is_closed());
            let (clock, shard) = (self.clock.clone(), self.shard);
            let session = self.session().await?;
            let failure = match commit::commit(session, clock.as_deref(), shard, changes).await {
                Ok(results) => return Ok(results),
                Err(failure) => failure,
            };
            tries += 1;
            match failure {
                Failure::Conflict(_) if tries < MAX_TRIES => {}
                // A rule that others break each time is broken by this change.
                Failure::Conflict(what) => return Err(Failure::Row(what)),
                // Nothing was changed. A connection that was new is not replaced once more.
                Failure::Disconnected(what) => {
                    self.session = None;
                    if !was_open || tries >= MAX_TRIES {
                        return Err(Failure::Disconnected(what));
                    }
                }
                Failure::Unknown(what) => {
                    self.session = None;
                    return Err(Failure::Unknown(what));
                }
                failure => return Err(failure),
            }
        }
    }

    /// The session; a new one if it was lost.
    async fn session(&mut self) -> Result<&Session, Failure> {
        if self.session.as_ref().is_none_or(Session::is_closed) {
            let session = self.connector.connect().await;
            self.session = Some(session.map_err(|error| Failure::Disconnected(error.to_string()))?);
        }
        self.session.as_ref().ok_or_else(|| Failure::Disconnected("no session".to_owned()))
    }
}
