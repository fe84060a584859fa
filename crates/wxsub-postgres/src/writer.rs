//! The task that writes. What is asked for while it commits goes into the next transaction.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use wxsub_core::clock::Clock;
use wxsub_outbox::ledger::{Change, Results};
use wxsub_outbox::{LedgerError, LedgerResult};

use crate::commit;
use crate::connection::Connector;
use crate::error::Failure;
use crate::session::Session;

/// The most changes of one transaction, unless one batch has more.
const MAX_CHANGES: usize = 1024;

/// How often a transaction is tried whose rows others change at the same time.
const MAX_TRIES: u32 = 5;

/// To so many shards processes add the numbers of messages.
const SHARDS: u8 = 16;

struct Batch {
    changes: Vec<Change>,
    reply: oneshot::Sender<LedgerResult<Results>>,
}

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
        if self.batches.send(Batch { changes, reply }).is_err() {
            return Err(LedgerError::Unavailable("the runtime of the ledger has ended".to_owned()));
        }
        replied
            .await
            .unwrap_or_else(|_| Err(LedgerError::Unknown("the runtime of the ledger has ended".to_owned())))
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
        while let Some(first) = waiting.recv().await {
            let mut changes = first.changes;
            let mut replies = vec![(first.reply, changes.len())];
            while changes.len() < MAX_CHANGES
                && let Ok(next) = waiting.try_recv()
            {
                replies.push((next.reply, next.changes.len()));
                changes.extend(next.changes);
            }
            match self.commit(&changes).await {
                Ok(mut results) => {
                    for (reply, count) in replies {
                        let rest = results.split_off(count.min(results.len()));
                        // A caller that has gone needs no reply.
                        let _ = reply.send(Ok(std::mem::replace(&mut results, rest)));
                    }
                }
                Err(error) => {
                    for (reply, _) in replies {
                        let _ = reply.send(Err(error.clone()));
                    }
                }
            }
        }
    }

    /// Commits all changes together; or, if a row of one of them breaks a rule, each by itself.
    async fn commit(&mut self, changes: &[Change]) -> LedgerResult<Results> {
        match self.try_commit(changes).await {
            Err(Failure::Row(_)) if changes.len() > 1 => {
                let mut results = Vec::with_capacity(changes.len());
                for change in changes {
                    let committed = self.try_commit(std::slice::from_ref(change)).await;
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
