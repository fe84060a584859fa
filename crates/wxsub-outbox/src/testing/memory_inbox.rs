use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::inbox::{Inbox, InboxError, InboxRow, Rejected};

/// An inbox in memory. A clone is another connection to the same table.
#[derive(Default, derive_more::Debug)]
#[debug("MemoryInbox")]
pub struct MemoryInbox {
    table: Arc<Mutex<BTreeMap<String, Entry>>>,
    /// The rows that this connection has locked.
    locked: Vec<String>,
}

struct Entry {
    row: InboxRow,
    error: Option<String>,
    is_locked: bool,
}

impl MemoryInbox {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Inserts a row, as the commit of an application's transaction. A row whose id is there already is not inserted.
    pub fn insert(&self, row: InboxRow) {
        let entry = Entry { row, error: None, is_locked: false };
        self.table().entry(entry.row.id.clone()).or_insert(entry);
    }

    /// The ids of the rows that are left, and their `error`.
    #[must_use]
    pub fn rows(&self) -> Vec<(String, Option<String>)> {
        self.table().iter().map(|(id, entry)| (id.clone(), entry.error.clone())).collect()
    }

    /// Sets `error` to NULL, as an operator does who has corrected a row.
    pub fn clear_error(&self, id: &str) {
        if let Some(entry) = self.table().get_mut(id) {
            entry.error = None;
        }
    }

    fn unlock(&mut self) {
        let locked = std::mem::take(&mut self.locked);
        let mut table = self.table();
        for id in locked {
            if let Some(entry) = table.get_mut(&id) {
                entry.is_locked = false;
            }
        }
    }
}

impl Clone for MemoryInbox {
    fn clone(&self) -> Self {
        Self { table: Arc::clone(&self.table), locked: Vec::new() }
    }
}

impl Drop for MemoryInbox {
    fn drop(&mut self) {
        self.unlock();
    }
}

#[async_trait]
impl Inbox for MemoryInbox {
    async fn read(&mut self, limit: usize) -> Result<Vec<InboxRow>, InboxError> {
        self.unlock();
        let rows: Vec<_> = {
            let mut table = self.table();
            let free = table.values_mut().filter(|entry| !entry.is_locked && entry.error.is_none());
            let lock = |entry: &mut Entry| {
                entry.is_locked = true;
                entry.row.clone()
            };
            free.take(limit).map(lock).collect()
        };
        self.locked = rows.iter().map(|row| row.id.clone()).collect();
        Ok(rows)
    }

    async fn finish(&mut self, copied: Vec<String>, rejected: Vec<Rejected>) -> Result<(), InboxError> {
        {
            let mut table = self.table();
            copied.iter().for_each(|id| drop(table.remove(id)));
            for Rejected { id, error } in rejected {
                if let Some(entry) = table.get_mut(&id) {
                    entry.error = Some(error);
                }
            }
        }
        self.unlock();
        Ok(())
    }
}
