//! What ends the wait of an idle worker.

use std::collections::BTreeMap;

use tokio::sync::Notify;
use wxsub_proto::AppId;

use crate::ledger::{Applied, Recorded};
use crate::message::StoredMessage;
use crate::state::MessageState;

/// Wakes the worker: for one app, or to ask the ledger for all of them. A wake before the wait is not lost.
#[derive(Debug)]
pub(crate) struct Wake {
    apps: BTreeMap<AppId, Notify>,
    ask: Notify,
}

impl Wake {
    pub(super) fn new<'a>(apps: impl Iterator<Item = &'a AppId>) -> Self {
        Self { apps: apps.map(|appid| (appid.clone(), Notify::new())).collect(), ask: Notify::new() }
    }

    /// This app may have something to claim. Apps of other processes are ignored.
    pub(crate) fn app(&self, appid: &AppId) {
        if let Some(app) = self.apps.get(appid) {
            app.notify_one();
        }
    }

    /// Any app may have something to claim.
    pub(crate) fn ask(&self) {
        self.ask.notify_one();
    }

    /// Waits until this app may have something to claim.
    pub(crate) async fn of_app(&self, appid: &AppId) {
        match self.apps.get(appid) {
            Some(app) => app.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until the ledger is to be asked.
    pub(crate) async fn asked(&self) {
        self.ask.notified().await;
    }

    /// What a commit changed.
    pub(super) fn publish(&self, applied: &Applied) {
        match applied {
            Applied::Recorded(Ok(Recorded::New(message))) | Applied::Decided(Ok((_, Some(message)))) => {
                self.queued(message);
            }
            Applied::Moved(rows) => rows.new.iter().for_each(|message| self.queued(message)),
            // An app may have been resumed.
            Applied::Done => self.ask(),
            _ => {}
        }
    }

    fn queued(&self, message: &StoredMessage) {
        if message.state == MessageState::Queued {
            self.app(&message.appid);
        }
    }
}
