//! Rows of an application's own table.

use std::future::pending;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::future::join;
use tokio::sync::oneshot;
use wxsub_outbox::inbox::{Inbox, InboxCopier, InboxError, InboxRow, Rejected};
use wxsub_outbox::ledger::{Change, MessageQuery};
use wxsub_outbox::state::{MessageState, Reason};
use wxsub_outbox::testing::MemoryInbox;
use wxsub_outbox::testing::inbox_conformance::numbered_row as row;
use wxsub_outbox::{Ledger, LedgerError};

use super::harness::{Fault, Harness, MINUTE, SECOND, SEND};

/// A table of which a step fails, or never ends.
#[derive(Debug, Clone)]
struct FaultyInbox {
    inbox: MemoryInbox,
    faults: Arc<Mutex<Vec<Broken>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Read,
    ReadHangs,
    Finish,
    FinishHangs,
    FinishReplyIsLost,
}

impl FaultyInbox {
    fn new(faults: &[Broken]) -> Self {
        Self { inbox: MemoryInbox::new(), faults: Arc::new(Mutex::new(faults.to_vec())) }
    }

    fn next(&self, wanted: &[Broken]) -> Option<Broken> {
        let mut faults = self.faults.lock().unwrap();
        let fault = faults.first().copied().filter(|fault| wanted.contains(fault))?;
        faults.remove(0);
        Some(fault)
    }
}

fn away() -> InboxError {
    InboxError::Unavailable("connection refused".to_owned())
}

#[async_trait]
impl Inbox for FaultyInbox {
    async fn read(&mut self, limit: usize) -> Result<Vec<InboxRow>, InboxError> {
        match self.next(&[Broken::Read, Broken::ReadHangs]) {
            Some(Broken::Read) => Err(away()),
            Some(_) => pending().await,
            None => self.inbox.read(limit).await,
        }
    }

    async fn finish(&mut self, copied: Vec<String>, rejected: Vec<Rejected>) -> Result<(), InboxError> {
        match self.next(&[Broken::Finish, Broken::FinishHangs, Broken::FinishReplyIsLost]) {
            Some(Broken::Finish) => Err(away()),
            Some(Broken::FinishHangs) => pending().await,
            Some(_) => self.inbox.finish(copied, rejected).await.and(Err(away())),
            None => self.inbox.finish(copied, rejected).await,
        }
    }
}

async fn messages(harness: &Harness) -> Vec<(String, MessageState)> {
    let all = MessageQuery::new("wx1".parse().unwrap());
    let messages = harness.ledger.messages(&all).await.unwrap();
    messages.iter().map(|message| (message.id.to_string(), message.state)).collect()
}

#[tokio::test]
async fn a_row_is_recorded_deleted_and_sent() {
    let harness = Harness::new();
    let inbox = MemoryInbox::new();
    let (stop, stopped) = oneshot::channel::<()>();
    let copier = InboxCopier::new(&harness.outbox, inbox.clone());
    let copying = tokio::spawn(copier.run(async move { drop(stopped.await) }));
    let worker = harness.run();
    let mut outcomes = harness.outbox.outcomes();
    inbox.insert(row(1));
    let message = outcomes.next().await.unwrap();
    assert_eq!((message.id.to_string(), message.state), (row(1).id, MessageState::Sent));
    assert_eq!((inbox.rows(), harness.weixin.count(SEND)), (Vec::new(), 1));
    stop.send(()).unwrap();
    copying.await.unwrap();
    worker.abort();
}

#[tokio::test]
async fn ten_thousand_rows_of_one_transaction_are_copied() {
    let (harness, inbox) = (Harness::new(), MemoryInbox::new());
    (0..10_000).for_each(|number| inbox.insert(row(number)));
    let mut copier = InboxCopier::new(&harness.outbox, inbox.clone());
    for _ in 0..10 {
        assert_eq!(copier.copy().await, Ok(1_000));
    }
    assert_eq!(copier.copy().await, Ok(0));
    assert_eq!((inbox.rows(), messages(&harness).await.len()), (Vec::new(), 10_000));
    let status = copier.status().borrow().clone();
    assert!(status.is_empty && status.copied == 10_000 && status.rejected == 0);
}

/// Whatever fails between the copy and the deletion, the row is recorded once.
#[tokio::test]
async fn a_row_is_recorded_once_whatever_fails() {
    for faults in [
        vec![Broken::Read, Broken::ReadHangs],
        vec![Broken::Finish],
        vec![Broken::FinishHangs, Broken::FinishHangs],
        vec![Broken::FinishReplyIsLost],
    ] {
        let harness = Harness::new();
        let inbox = FaultyInbox::new(&faults);
        inbox.inbox.insert(row(1));
        let copier = InboxCopier::new(&harness.outbox, inbox.clone());
        let status = copier.status();
        let copying = tokio::spawn(copier.run(pending()));
        harness.clock.advance_and_run(5 * MINUTE).await;
        copying.abort();
        assert!(status.borrow().is_empty && status.borrow().error.is_none(), "{faults:?}");
        assert_eq!(inbox.faults.lock().unwrap().len(), 0, "{faults:?}");
        assert_eq!(inbox.inbox.rows(), [], "{faults:?}");
        assert_eq!(messages(&harness).await, [(row(1).id, MessageState::Queued)], "{faults:?}");
    }
}

#[tokio::test]
async fn rows_stay_while_the_ledger_fails() {
    for fault in [Fault::Unavailable, Fault::LostReply, Fault::Slow(50 * SECOND)] {
        let (harness, inbox) = (Harness::new(), MemoryInbox::new());
        inbox.insert(row(1));
        harness.plan(move |change| matches!(change, Change::Enqueue(_)).then_some(fault));
        let mut copier = InboxCopier::new(&harness.outbox, inbox.clone());
        let (copied, ()) = join(copier.copy(), harness.clock.advance_and_run(MINUTE)).await;
        let error = copied.unwrap_err();
        match fault {
            Fault::Unavailable => {
                assert!(matches!(error, InboxError::Ledger(LedgerError::Unavailable(_))), "{error}");
            }
            Fault::LostReply => {
                assert!(matches!(error, InboxError::Ledger(LedgerError::Unknown(_))), "{error}");
            }
            Fault::Slow(_) => assert!(error.to_string().contains("longer than 30 s"), "{error}"),
        }
        assert_eq!(inbox.rows().len(), 1);
        harness.plan(|_| None);
        assert_eq!(copier.copy().await, Ok(1));
        assert_eq!((inbox.rows(), messages(&harness).await.len()), (Vec::new(), 1), "{fault:?}");
    }
}

#[tokio::test]
async fn pauses_between_attempts_grow_while_the_inbox_is_away() {
    let harness = Harness::new();
    let inbox = FaultyInbox::new(&[Broken::Read; 9]);
    let copier = InboxCopier::new(&harness.outbox, inbox);
    let status = copier.status();
    let copying = tokio::spawn(copier.run(pending()));
    // The attempts begin after 0, 1, 3, 7, 15, 31, 63, 123, 183 and 243 s.
    for (seconds, failures) in [(0, 1), (62, 6), (1, 7), (59, 7), (1, 8), (60, 9), (59, 9), (1, 0)] {
        harness.clock.advance_and_run(seconds * SECOND).await;
        assert_eq!(status.borrow().failures, failures, "after {seconds} s more");
    }
    assert_eq!(status.borrow().error, None);
    copying.abort();
}

#[tokio::test]
async fn a_row_that_cannot_be_read_does_not_hold_up_the_others() {
    let (harness, inbox) = (Harness::new(), MemoryInbox::new());
    inbox.insert(InboxRow { id: "17".to_owned(), ..row(1) });
    inbox.insert(InboxRow { appid: "wx2".to_owned(), ..row(2) });
    inbox.insert(InboxRow { message: "{}".to_owned(), ..row(3) });
    inbox.insert(row(4));
    let mut copier = InboxCopier::new(&harness.outbox, inbox.clone());
    assert_eq!(copier.copy().await, Ok(4));
    let status = copier.status().borrow().clone();
    assert_eq!((status.copied, status.not_sent, status.rejected), (2, 1, 2));
    assert_eq!(status.last_rejected.unwrap().id, "17");
    let left: Vec<_> = inbox.rows().into_iter().map(|(id, error)| (id, error.unwrap())).collect();
    assert!(left[0].0 == row(2).id && left[0].1.starts_with("appid: wx2 is not served"), "{left:?}");
    assert!(left[1].0 == "17" && left[1].1.starts_with("id: is not a UUID"), "{left:?}");
    let invalid = harness.get(row(3).id.parse().unwrap()).await;
    assert_eq!((invalid.state, invalid.reason), (MessageState::NotSent, Some(Reason::Invalid)));
    assert!(invalid.detail.errmsg.unwrap().contains("touser"));
    assert_eq!(harness.get(row(4).id.parse().unwrap()).await.state, MessageState::Queued);
    assert_eq!(copier.copy().await, Ok(0), "a row with an error is not read again");
}

#[tokio::test]
async fn an_id_that_is_used_again_is_the_same_message_or_an_error() {
    let (harness, inbox) = (Harness::new(), MemoryInbox::new());
    let mut copier = InboxCopier::new(&harness.outbox, inbox.clone());
    for _ in 0..2 {
        // The application repeats its transaction, because it does not know that it was committed.
        inbox.insert(row(1));
        assert_eq!(copier.copy().await, Ok(1));
        assert_eq!((inbox.rows(), messages(&harness).await.len()), (Vec::new(), 1));
    }
    inbox.insert(InboxRow { id: row(1).id, ..row(2) });
    assert_eq!(copier.copy().await, Ok(1));
    let error = "id: it was used for another message; insert the row with another id";
    assert_eq!(inbox.rows(), [(row(1).id, Some(error.to_owned()))]);
    assert_eq!(messages(&harness).await.len(), 1);
}

#[tokio::test]
async fn only_the_apps_of_an_inbox_are_served() {
    let (harness, inbox) = (Harness::new(), MemoryInbox::new());
    inbox.insert(row(1));
    let mut copier = InboxCopier::new(&harness.outbox, inbox.clone()).apps(vec!["wx3".parse().unwrap()]);
    assert_eq!(copier.copy().await, Ok(1));
    assert!(inbox.rows()[0].1.as_ref().unwrap().starts_with("appid: wx1 is not served"));
}

#[tokio::test]
async fn two_copiers_of_one_table_record_each_row_once() {
    let (harness, inbox) = (Harness::new(), MemoryInbox::new());
    (0..3_000).for_each(|number| inbox.insert(row(number)));
    let copier = || InboxCopier::new(&harness.outbox, inbox.clone());
    let (one, two) = (copier(), copier());
    let statuses = [one.status(), two.status()];
    let copying = [tokio::spawn(one.run(pending())), tokio::spawn(two.run(pending()))];
    for mut status in statuses.clone() {
        status.wait_for(|status| status.is_empty && status.copied > 0).await.unwrap();
    }
    copying.iter().for_each(tokio::task::JoinHandle::abort);
    let copied: u64 = statuses.iter().map(|status| status.borrow().copied).sum();
    assert_eq!((copied, inbox.rows(), messages(&harness).await.len()), (3_000, Vec::new(), 3_000));
}
