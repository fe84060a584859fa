//! Ends the wait of an idle worker.

use std::collections::BTreeMap;

use tokio::sync::Notify;
use wxsub_proto::AppId;

use crate::ledger::{Applied, Recorded};
use crate::message::StoredMessage;
use crate::state::MessageState;

/// Wakes the worker: to claim for one app, or to ask the ledger about all apps. A wake before the wait is not lost.
#[derive(Debug)]
pub(crate) struct Wake {
    apps: BTreeMap<AppId, Notify>,
    all: Notify,
}

impl Wake {
    pub(super) fn new<'a>(apps: impl Iterator<Item = &'a AppId>) -> Self {
        Self { apps: apps.map(|appid| (appid.clone(), Notify::new())).collect(), all: Notify::new() }
    }

    /// Reports that this app may have something to claim. Apps of other processes are ignored.
    pub(crate) fn wake_app(&self, appid: &AppId) {
        if let Some(app) = self.apps.get(appid) {
            app.notify_one();
        }
    }

    /// Reports that any app may have something to claim.
    pub(crate) fn wake_all(&self) {
        self.all.notify_one();
    }

    /// Waits until this app may have something to claim.
    pub(crate) async fn wait_for_app(&self, appid: &AppId) {
        match self.apps.get(appid) {
            Some(app) => app.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until any app may have something to claim.
    pub(crate) async fn wait_for_all(&self) {
        self.all.notified().await;
    }

    /// Wakes the worker for what a commit changed.
    pub(super) fn publish(&self, applied: &Applied) {
        match applied {
            Applied::Recorded(Ok(Recorded::New(message))) | Applied::Decided(Ok((_, Some(message)))) => {
                self.wake_if_queued(message);
            }
            Applied::Moved(rows) => rows.new.iter().for_each(|message| self.wake_if_queued(message)),
            // An app may have been resumed.
            Applied::Done => self.wake_all(),
            _ => {}
        }
    }

    fn wake_if_queued(&self, message: &StoredMessage) {
        if message.state == MessageState::Queued {
            self.wake_app(&message.appid);
        }
    }
}
