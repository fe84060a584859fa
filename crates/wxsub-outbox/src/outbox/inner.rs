use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wxsub_core::clock::Clock;
use wxsub_proto::AppId;

use super::app::App;
use super::wake::Wake;
use super::watch::Finals;
use super::writer::Writer;
use crate::id::IdGenerator;
use crate::inbox::InboxStatus;
use crate::ledger::Ledger;
use crate::retention::Retention;

/// What the clones of an outbox share with its worker.
pub(crate) struct Inner {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) writer: Writer,
    pub(crate) apps: BTreeMap<AppId, App>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: IdGenerator,
    pub(crate) poll_interval: Duration,
    pub(crate) retention: Retention,
    pub(super) finals: Finals,
    pub(crate) wake: Arc<Wake>,
    /// Of the inbox in the ledger's own database.
    pub(crate) inbox: watch::Sender<InboxStatus>,
}
