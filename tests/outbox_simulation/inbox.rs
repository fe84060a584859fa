//! The table of the application: its rows, and a connection of a copier on which calls fail.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use fastrand::Rng;
use wxsub_core::proto::{AppId, Message};
use wxsub_outbox::OutboxMessage;
use wxsub_outbox::id::MessageId;
use wxsub_outbox::inbox::{Inbox, InboxError, InboxRow, Rejected};
use wxsub_outbox::testing::MemoryInbox;

use super::fault_window::fault_at;
use super::oracle::Oracle;
use super::plan::{Defect, InboxFault};
use super::scenario::Node;

/// The row of this message. Its id tells the number.
pub(super) fn row(number: u32, message: Message, appid: &AppId) -> InboxRow {
    OutboxMessage::new(message).inbox_row(id_of(number), appid)
}

pub(super) fn id_of(number: u32) -> MessageId {
    MessageId::from_bytes((1_u128 << 64 | u128::from(number)).to_be_bytes())
}

/// A connection of one process.
#[derive(derive_more::Debug)]
#[debug("InboxLink")]
pub(super) struct InboxLink {
    pub(super) table: MemoryInbox,
    pub(super) node: Arc<Node>,
    pub(super) rng: Mutex<Rng>,
    /// The transaction has ended, and with it its locks.
    pub(super) is_lost: bool,
}

impl InboxLink {
    async fn meets(&self) -> Option<InboxFault> {
        let Node { scenario, clock, .. } = &*self.node;
        let millis = self.rng.lock().unwrap().u64(1..10);
        self.node.wait(millis).await;
        let fault = fault_at(&scenario.plan.inbox, clock.elapsed(), &mut self.rng.lock().unwrap());
        if let Some(fault) = fault {
            scenario.oracle.trace(|| format!("inbox: {fault:?}"));
        }
        fault
    }

    /// The next call has another connection.
    fn lose(&mut self) -> InboxError {
        self.table = self.table.clone();
        self.is_lost = true;
        InboxError::Unavailable("reset".to_owned())
    }
}

#[async_trait]
impl Inbox for InboxLink {
    async fn read(&mut self, limit: usize) -> Result<Vec<InboxRow>, InboxError> {
        self.is_lost = false;
        let fault = self.meets().await;
        match fault {
            Some(InboxFault::Unavailable) => return Err(self.lose()),
            Some(InboxFault::Hangs) => return pending().await,
            _ => {}
        }
        let rows = self.table.read(limit).await?;
        if self.node.scenario.plan.defect == Some(Defect::DeletesBeforeItRecords) {
            self.table.finish(rows.iter().map(|row| row.id.clone()).collect(), Vec::new()).await?;
        }
        if fault == Some(InboxFault::LocksAreLost) {
            let _ = self.lose();
        }
        Ok(rows)
    }

    async fn finish(&mut self, copied: Vec<String>, rejected: Vec<Rejected>) -> Result<(), InboxError> {
        let fault = self.meets().await;
        match fault {
            _ if self.is_lost => return Err(self.lose()),
            Some(InboxFault::Unavailable | InboxFault::LocksAreLost) => return Err(self.lose()),
            Some(InboxFault::Hangs) => return pending().await,
            Some(InboxFault::CrashBefore) => return self.node.end_of_process().await,
            Some(InboxFault::ReplyIsLost | InboxFault::CrashAfter) | None => {}
        }
        self.node.scenario.oracle.noted().summary.copied += copied.len();
        self.table.finish(copied, rejected).await?;
        match fault {
            Some(InboxFault::ReplyIsLost) => Err(self.lose()),
            Some(InboxFault::CrashAfter) => self.node.end_of_process().await,
            _ => Ok(()),
        }
    }
}

/// Rows that no message can be made of. They stay, each with its error.
#[derive(Debug, Default)]
pub(super) struct PoisonRows(Mutex<BTreeMap<String, &'static str>>);

impl PoisonRows {
    /// A copy of a row, spoiled, and with an id of its own.
    pub(super) fn spoil(&self, row: &InboxRow, rng: &mut Rng) -> InboxRow {
        let number = format!("{:08}", rng.u32(0..99_999_999));
        let (poison, error) = match rng.bool() {
            true => (InboxRow { id: number, ..row.clone() }, "id: "),
            false => {
                let id = format!("{}{number}", &row.id[..28]);
                (InboxRow { id, appid: "wxother".to_owned(), ..row.clone() }, "appid: ")
            }
        };
        self.0.lock().unwrap().insert(poison.id.clone(), error);
        poison
    }

    /// At the end only these are left in the table.
    pub(super) fn check(&self, table: &MemoryInbox, oracle: &Oracle) {
        let (left, poison) = (table.rows(), self.0.lock().unwrap());
        for (id, begins) in &*poison {
            let is_named = |(left, error): &(String, Option<String>)| {
                left == id && error.as_ref().is_some_and(|error| error.starts_with(begins))
            };
            if !left.iter().any(is_named) {
                oracle.violation(&format!("the row {id} is lost, or has no error"));
            }
        }
        for (id, error) in left.iter().filter(|(id, _)| !poison.contains_key(id)) {
            oracle.violation(&format!("the row {id} was not copied: {error:?}"));
        }
    }
}
