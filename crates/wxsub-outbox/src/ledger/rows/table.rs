//! A table in memory, and what it takes to undo its writes.

use std::collections::{BTreeMap, BTreeSet};

/// A row that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write<T> {
    /// As it was loaded; `None` if it is new.
    pub before: Option<T>,
    /// As it is now; `None` if it was deleted.
    pub after: Option<T>,
}

#[derive(Debug, Clone)]
pub(in crate::ledger) struct Table<K, V> {
    pub(in crate::ledger) rows: BTreeMap<K, V>,
    /// The row of each write, and what stood there before.
    pub(super) undo: Vec<(K, Option<V>)>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), undo: Vec::new() }
    }
}

impl<K: Ord + Clone, V: Clone> Table<K, V> {
    pub(in crate::ledger) fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key)
    }

    pub(in crate::ledger) fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.rows.values()
    }

    /// Writes a row, or deletes it. Returns what stood there before.
    pub(super) fn put(&mut self, key: K, row: Option<V>) -> Option<&V> {
        let before = set(&mut self.rows, key.clone(), row);
        self.undo.push((key, before));
        self.undo.last().and_then(|(_, before)| before.as_ref())
    }

    /// The rows that were written, each once, in the order of its first write. They cannot be undone any more.
    pub(super) fn take_written(&mut self) -> impl Iterator<Item = (K, Write<V>)> {
        let mut seen = BTreeSet::new();
        let first =
            std::mem::take(&mut self.undo).into_iter().filter(move |(key, _)| seen.insert(key.clone()));
        first.map(|(key, before)| {
            let after = self.rows.get(&key).cloned();
            (key, Write { before, after })
        })
    }
}

/// The writes of a table, whatever its rows are.
pub(super) trait Writes {
    /// The number of writes.
    fn count(&self) -> usize;

    /// Undoes all writes but the first ones.
    fn undo_to(&mut self, count: usize);
}

impl<K: Ord, V> Writes for Table<K, V> {
    fn count(&self) -> usize {
        self.undo.len()
    }

    fn undo_to(&mut self, count: usize) {
        for (key, before) in self.undo.drain(count..).rev() {
            set(&mut self.rows, key, before);
        }
    }
}

fn set<K: Ord, V>(rows: &mut BTreeMap<K, V>, key: K, row: Option<V>) -> Option<V> {
    match row {
        Some(row) => rows.insert(key, row),
        None => rows.remove(&key),
    }
}
