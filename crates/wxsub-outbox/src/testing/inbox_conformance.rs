//! What every [`Inbox`] must keep to. Run it against yours.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a broken rule fails its test")]

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::MemoryInbox;
use crate::inbox::{Inbox, InboxRow, MAX_MESSAGE_BYTES, Rejected};

/// A table of its own for one case, as the application and an operator see it.
#[async_trait]
pub trait InboxTable: Send + Sync {
    /// Another connection of the copier.
    async fn connect(&self) -> Box<dyn Inbox>;
    /// Inserts a row, as the application does.
    async fn insert(&self, row: InboxRow);
    /// The ids of the rows that are left, and their `error`.
    async fn rows(&self) -> Vec<(String, Option<String>)>;
    /// Sets `error` to NULL.
    async fn clear_error(&self, id: &str);
}

#[async_trait]
impl InboxTable for MemoryInbox {
    async fn connect(&self) -> Box<dyn Inbox> {
        Box::new(self.clone())
    }

    async fn insert(&self, row: InboxRow) {
        MemoryInbox::insert(self, row);
    }

    async fn rows(&self) -> Vec<(String, Option<String>)> {
        MemoryInbox::rows(self)
    }

    async fn clear_error(&self, id: &str) {
        MemoryInbox::clear_error(self, id);
    }
}

/// Every case in turn, each on an empty table from `make`.
///
/// # Panics
/// If the inbox breaks a rule.
///
/// # Cancel safety
/// Dropping it stops the test.
pub async fn run<T: InboxTable>(make: impl AsyncFn() -> T) {
    rows_are_read_as_they_were_inserted(&make().await).await;
    rows_are_read_in_batches(&make().await).await;
    rows_are_read_in_the_order_of_their_ids(&make().await).await;
    rows_of_another_reader_are_skipped(&make().await).await;
    rows_that_were_not_finished_are_read_again(&make().await).await;
    a_rejected_row_waits_until_its_error_is_cleared(&make().await).await;
    a_long_message_shows_that_it_is_long(&make().await).await;
}

/// A row with an id that ends with this number, for a user of its own.
#[must_use]
pub fn numbered_row(number: u32) -> InboxRow {
    InboxRow {
        id: format!("0190c2a0-0000-7000-8000-{number:012x}"),
        appid: "wx1".to_owned(),
        message: format!(
            r#"{{"touser":"o{number}","template_id":"T","scene":"7","title":"包裹","data":{{"content":{{"value":"到了"}}}}}}"#
        ),
        send_at_ms: None,
        expires_at_ms: None,
        priority: "normal".to_owned(),
    }
}

async fn read_ids(inbox: &mut Box<dyn Inbox>, limit: usize) -> BTreeSet<String> {
    inbox.read(limit).await.unwrap().into_iter().map(|row| row.id).collect()
}

async fn rows_are_read_as_they_were_inserted(table: &impl InboxTable) {
    let rows = [
        numbered_row(1),
        InboxRow {
            send_at_ms: Some(0),
            expires_at_ms: Some(i64::MAX),
            priority: "low".to_owned(),
            ..numbered_row(2)
        },
        InboxRow { id: "no id".to_owned(), ..numbered_row(3) },
    ];
    for row in &rows {
        table.insert(row.clone()).await;
    }
    let mut read = table.connect().await.read(9).await.unwrap();
    for (row, inserted) in read.iter_mut().zip(&rows) {
        // A database may write the same JSON otherwise, and fill an id with spaces.
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&row.message), value(&inserted.message));
        row.message.clone_from(&inserted.message);
        row.id.truncate(row.id.trim_end().len());
    }
    assert_eq!(read, rows);
}

async fn rows_are_read_in_batches(table: &impl InboxTable) {
    for number in 0..5 {
        table.insert(numbered_row(number)).await;
    }
    let (mut inbox, mut seen) = (table.connect().await, BTreeSet::new());
    for expected in [2, 2, 1, 0] {
        let ids = read_ids(&mut inbox, 2).await;
        assert_eq!(ids.len(), expected);
        if expected > 0 {
            inbox.finish(ids.iter().cloned().collect(), Vec::new()).await.unwrap();
        }
        seen.extend(ids);
    }
    assert_eq!((seen.len(), table.rows().await), (5, Vec::new()));
}

async fn rows_are_read_in_the_order_of_their_ids(table: &impl InboxTable) {
    for number in [3, 1, 2] {
        table.insert(numbered_row(number)).await;
    }
    let rows = table.connect().await.read(2).await.unwrap();
    assert_eq!(
        rows.iter().map(|row| &row.id).collect::<Vec<_>>(),
        [&numbered_row(1).id, &numbered_row(2).id]
    );
}

async fn rows_of_another_reader_are_skipped(table: &impl InboxTable) {
    for number in 0..4 {
        table.insert(numbered_row(number)).await;
    }
    let (mut one, mut two) = (table.connect().await, table.connect().await);
    let first = read_ids(&mut one, 2).await;
    let second = read_ids(&mut two, 9).await;
    assert!(first.len() == 2 && first.is_disjoint(&second), "{first:?} {second:?}");
    two.finish(second.into_iter().collect(), Vec::new()).await.unwrap();
    one.finish(first.into_iter().collect(), Vec::new()).await.unwrap();
    let mut left: BTreeSet<_> = table.rows().await.into_iter().map(|(id, _)| id).collect();
    // A database may skip more than what is locked, for a moment.
    let rest = read_ids(&mut one, 9).await;
    left.retain(|id| !rest.contains(id));
    assert_eq!(left, BTreeSet::new());
}

async fn rows_that_were_not_finished_are_read_again(table: &impl InboxTable) {
    table.insert(numbered_row(1)).await;
    let mut inbox = table.connect().await;
    assert_eq!(read_ids(&mut inbox, 9).await.len(), 1);
    assert_eq!(read_ids(&mut inbox, 9).await.len(), 1, "the second read ends the first");
    drop(inbox);
    let mut next = table.connect().await;
    let mut tries = 0;
    // The database needs a moment to find that the connection is gone.
    while read_ids(&mut next, 9).await.is_empty() {
        tries += 1;
        assert!(tries < 10_000, "the row stays locked");
    }
    next.finish(vec![numbered_row(1).id], Vec::new()).await.unwrap();
    assert_eq!(table.rows().await, []);
}

async fn a_rejected_row_waits_until_its_error_is_cleared(table: &impl InboxTable) {
    table.insert(numbered_row(1)).await;
    table.insert(numbered_row(2)).await;
    let mut inbox = table.connect().await;
    let mut ids = read_ids(&mut inbox, 9).await;
    let rejected = ids.pop_first().unwrap();
    let error = "appid: 未配置".to_owned();
    let marks = vec![Rejected { id: rejected.clone(), error: error.clone() }];
    inbox.finish(ids.into_iter().collect(), marks).await.unwrap();
    assert_eq!(table.rows().await, [(rejected.clone(), Some(error))]);
    assert_eq!(read_ids(&mut inbox, 9).await, BTreeSet::new());
    table.clear_error(&rejected).await;
    assert_eq!(read_ids(&mut inbox, 9).await, BTreeSet::from([rejected]));
}

async fn a_long_message_shows_that_it_is_long(table: &impl InboxTable) {
    let long = serde_json::json!({ "title": "界".repeat(MAX_MESSAGE_BYTES) }).to_string();
    table.insert(InboxRow { message: long, ..numbered_row(1) }).await;
    let rows = table.connect().await.read(9).await.unwrap();
    let Some(row) = rows.first() else { panic!("no row") };
    assert!(row.message.len() > MAX_MESSAGE_BYTES);
}
