//! A folder with a ledger, and short ways to fill it.

use std::path::PathBuf;

use tempfile::TempDir;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_outbox::grant::Subject;
use wxsub_outbox::id::{IdGenerator, MessageId, WorkerId};
use wxsub_outbox::ledger::{Applied, Change, FromApplied, MessageQuery, NewConsent, NewMessage};
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::{Ledger, LedgerResult};
use wxsub_proto::{AppId, Grant, Message};
use wxsub_sqlite::{OpenError, SqliteLedger, SqliteOptions};

pub(super) struct Fixture {
    pub(super) folder: TempDir,
    pub(super) ids: IdGenerator,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), ids: IdGenerator::new(None) }
    }

    /// With an open ledger.
    pub(super) async fn opened() -> (Self, SqliteLedger) {
        let fixture = Self::new();
        let ledger = fixture.open().await;
        (fixture, ledger)
    }

    /// The path of a backup of the ledger.
    pub(super) async fn backup(&self) -> PathBuf {
        let copy = self.folder.path().join("backup.db");
        SqliteLedger::backup(self.path(), &copy).await.unwrap();
        copy
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }

    /// The files of the folder.
    pub(super) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    pub(super) async fn open(&self) -> SqliteLedger {
        self.try_open().await.unwrap()
    }

    pub(super) async fn try_open(&self) -> Result<SqliteLedger, OpenError> {
        SqliteLedger::open(self.path(), SqliteOptions::new()).await
    }

    /// Why the file is not opened.
    pub(super) async fn refused(&self) -> OpenError {
        self.try_open().await.map(|_| panic!("it was opened")).unwrap_err()
    }

    pub(super) fn new_message(&self, user: &str) -> NewMessage {
        let id = self.ids.message(SystemClock::new().now().wall).unwrap();
        let body = Message::builder(weixin_grant(user)).title("Title").content("Text").build().unwrap();
        NewMessage::new(id, appid(), body)
    }

    pub(super) async fn enqueue(&self, ledger: &SqliteLedger, user: &str) -> MessageId {
        let new = self.new_message(user);
        let id = new.id;
        apply(ledger, Change::Enqueue(Box::new(new))).await.unwrap();
        id
    }

    pub(super) async fn consent(&self, ledger: &SqliteLedger, user: &str) {
        let grant = self.ids.grant(SystemClock::new().now().wall).unwrap();
        let subject = Subject::new(appid(), &weixin_grant(user));
        let consent = NewConsent { grant, subject, nonce: None };
        apply(ledger, Change::RecordConsent(Box::new(consent))).await.unwrap();
    }

    /// A worker that has claimed all that is due.
    pub(super) async fn claim(&self, ledger: &SqliteLedger) -> (WorkerId, Vec<StoredMessage>) {
        let worker = self.ids.worker(SystemClock::new().now().wall).unwrap();
        apply(ledger, Change::Register(worker)).await.unwrap();
        let claimed = apply(ledger, Change::Claim { worker, appid: appid(), limit: 100 }).await.unwrap();
        (worker, Vec::from_applied(claimed).unwrap())
    }
}

pub(super) fn appid() -> AppId {
    "wx1".parse().unwrap()
}

fn weixin_grant(user: &str) -> Grant {
    Grant::assume_verified(user, "T", 7).unwrap()
}

pub(super) async fn apply(ledger: &SqliteLedger, change: Change) -> LedgerResult<Applied> {
    ledger.commit(vec![change]).await.map(|mut results| results.remove(0).unwrap())
}

pub(super) async fn all(ledger: &SqliteLedger) -> Vec<StoredMessage> {
    ledger.messages(&MessageQuery::new(appid())).await.unwrap()
}
