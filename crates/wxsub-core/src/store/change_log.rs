//! Reads the change log of a shared store, once for all apps of this process.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use wxsub_proto::AppId;

use super::error::{StoreError, StoreErrorKind};
use crate::clock::{Clock, MonotonicInstant, timeout_at};

/// How long reads of the store may fail until that is a problem. A failure that time will not end is one at once.
pub(crate) const MAX_SILENT_READ_FAILURES: Duration = Duration::from_secs(10);

/// How often the change log is read.
const READ_INTERVAL: Duration = Duration::from_secs(2);

/// Timeout of one read. It is long enough for a new connection to a slow store.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// How many apps look at once, when all of them do.
const MAX_LOOKS_AT_ONCE: usize = 500;

/// Minimum time between two looks of one app without a change.
const SPARE_LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// The list of the records that changed. The store appends to it in the same step in which it changes a record.
#[async_trait]
pub trait ChangeLog: Send + Sync {
    /// Reads the changes from this position on, oldest first. 0 is before all changes.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read.
    ///
    /// # Cancel safety
    /// Changes nothing.
    async fn read_changes(&self, from: u64) -> Result<LoggedChanges, StoreError>;
}

/// A part of a [`ChangeLog`].
#[derive(Debug, Clone, Default)]
#[expect(clippy::exhaustive_structs, reason = "each store creates it")]
pub struct LoggedChanges {
    /// Identifies the log. It differs from that of the last read if changes may be missing: the log was lost, or there
    /// is a new connection, perhaps to another server.
    pub epoch: String,
    /// The apps whose records changed, and the positions of their last changes. Positions only grow. The change at
    /// the requested position is included, unless its app has changed again.
    pub changes: Vec<(AppId, u64)>,
    /// Whether more changes follow.
    pub has_more: bool,
}

/// Why [`wait_for_change`](super::TokenStore::wait_for_change) returned.
#[derive(Debug, Clone, Default)]
#[expect(clippy::exhaustive_structs, reason = "each store creates it")]
pub struct StoreChange {
    /// The mark of this change, for the next wait.
    pub mark: u64,
    /// Why changes cannot be seen at present. Without it, the record may have changed.
    pub failure: Option<StoreError>,
}

/// Tells the token caches of this process when their records may have changed. Reads the [`ChangeLog`] of the store every
/// 2 s, once for all apps. Nothing is read while no cache waits.
///
/// All apps look at their records if changes may have been missed: after the first read, after a read that failed,
/// and if the log is another one. Without a change, one app looks after each read, and each app at most once a
/// minute. That finds a record that changed without an entry in the log.
#[derive(derive_more::Debug)]
#[debug("ChangeWatcher({} apps)", apps.lock().changes.len())]
pub struct ChangeWatcher {
    clock: Arc<dyn Clock>,
    apps: Mutex<WatchedApps>,
    /// The waiter with this lock reads the log for all of them.
    reader: AsyncMutex<LogReader>,
}

#[derive(Default)]
struct WatchedApps {
    changes: BTreeMap<AppId, AppChange>,
    /// The last mark that was used.
    last_mark: u64,
    /// The app that looked last without a change. The next one in the order of their names follows.
    last_look: Option<AppId>,
    /// How many apps have yet to look, because changes may have been missed.
    pending_looks: usize,
    /// When the first app looked, in this turn of looks without a change.
    turn_began: MonotonicInstant,
    /// Whether the log was read before.
    has_read: bool,
}

/// The last change of an app. A watch channel would take 300 bytes more, and a server has thousands of apps.
#[derive(Default)]
struct AppChange {
    last: StoreChange,
    /// Wakes the cache of the app. The cache has a copy while it waits.
    changed: Arc<Notify>,
}

/// What is known of the log.
#[derive(Default)]
struct LogReader {
    /// The epoch of the last read. `None` if it failed.
    epoch: Option<String>,
    /// The position of the last change that was seen.
    position: u64,
    next_read: Option<MonotonicInstant>,
    failing_since: Option<MonotonicInstant>,
    /// The failure that the caches know, and whether they know that it lasts.
    known_failure: Option<(StoreErrorKind, bool)>,
}

impl ChangeWatcher {
    /// Creates a watcher. It reads nothing yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, apps: Mutex::default(), reader: AsyncMutex::default() }
    }

    /// Waits for a change of this app with another mark than `seen`. The first waiter reads the log meanwhile, for all
    /// waiters.
    ///
    /// # Cancel safety
    /// Changes nothing. An unseen change is returned to the next caller.
    pub async fn wait_for_change(&self, log: &dyn ChangeLog, app: &AppId, seen: u64) -> StoreChange {
        let notify = self.apps.lock().subscribe(app);
        let changed = async {
            loop {
                // It completes if the app changes from now on, also before it is polled.
                let notified = notify.notified();
                if let Some(change) = self.apps.lock().change_since(app, seen) {
                    return change;
                }
                notified.await;
            }
        };
        // Reads the log until it is dropped, when no other waiter does. The read is in a box: the waiter of each other app has
        // room for it too, and never needs it.
        let read_for_all = async {
            let mut reader = self.reader.lock().await;
            Box::pin(self.read_repeatedly(log, &mut reader)).await
        };
        tokio::select! {
            biased;
            change = changed => change,
            never = read_for_all => match never {},
        }
    }

    /// Lets the cache of this app look at its record, because the store has sent a notification.
    pub fn notify(&self, app: &AppId) {
        self.apps.lock().tell(app, None);
    }

    async fn read_repeatedly(&self, log: &dyn ChangeLog, reader: &mut LogReader) -> Infallible {
        loop {
            let now = self.clock.now().mono;
            let next_read = *reader.next_read.get_or_insert(now + READ_INTERVAL);
            if now < next_read {
                self.clock.sleep_until(next_read).await;
            }
            let deadline = self.clock.now().mono + READ_TIMEOUT;
            let read = timeout_at(&*self.clock, deadline, log.read_changes(reader.position)).await;
            let read = read
                .unwrap_or_else(|| Err(StoreError::new(StoreErrorKind::Unreachable, "no response in time")));
            let now = self.clock.now().mono;
            let at_once = match read {
                Ok(found) => self.on_read(reader, found, now),
                Err(error) => self.on_failure(reader, &error, now),
            };
            reader.next_read = Some(if at_once { now } else { now + READ_INTERVAL });
        }
    }

    /// Tells the apps in the log. Returns whether to read on at once.
    fn on_read(&self, reader: &mut LogReader, found: LoggedChanges, now: MonotonicInstant) -> bool {
        let mut apps = self.apps.lock();
        let went_back = found.changes.is_empty() && reader.position > 0;
        if went_back || reader.epoch.as_ref() != Some(&found.epoch) {
            apps.pending_looks = apps.changes.len();
        }
        let last = found.changes.last().map_or(0, |(_, position)| *position);
        for (app, position) in &found.changes {
            if *position > reader.position {
                apps.tell(app, None);
            }
        }
        *reader = LogReader { epoch: Some(found.epoch), position: last, ..LogReader::default() };
        apps.has_read = true;
        apps.look_without_change(now);
        found.has_more || apps.pending_looks > 0
    }

    /// Tells all apps of a failure: at its start, and again when it has lasted so long that it is a problem.
    fn on_failure(&self, reader: &mut LogReader, error: &StoreError, now: MonotonicInstant) -> bool {
        reader.epoch = None;
        let since = *reader.failing_since.get_or_insert(now);
        let lasts = now.duration_since(since) >= MAX_SILENT_READ_FAILURES;
        if reader.known_failure.replace((error.kind(), lasts)) != Some((error.kind(), lasts)) {
            let mut apps = self.apps.lock();
            let all: Vec<_> = apps.changes.keys().cloned().collect();
            all.iter().for_each(|app| apps.tell(app, Some(error)));
        }
        false
    }
}

impl WatchedApps {
    /// An app that is new after the first read looks at once.
    fn subscribe(&mut self, app: &AppId) -> Arc<Notify> {
        if let Some(known) = self.changes.get(app) {
            return Arc::clone(&known.changed);
        }
        let mut new = AppChange::default();
        if self.has_read {
            self.last_mark += 1;
            new.last.mark = self.last_mark;
        }
        let changed = Arc::clone(&new.changed);
        self.changes.insert(app.clone(), new);
        changed
    }

    fn change_since(&self, app: &AppId, seen: u64) -> Option<StoreChange> {
        let change = self.changes.get(app)?;
        (change.last.mark != seen).then(|| change.last.clone())
    }

    fn tell(&mut self, app: &AppId, failure: Option<&StoreError>) {
        if let Some(change) = self.changes.get_mut(app) {
            self.last_mark += 1;
            change.last = StoreChange { mark: self.last_mark, failure: failure.cloned() };
            change.changed.notify_waiters();
        }
    }

    /// Lets the next app look, or many if changes may have been missed. Forgets apps whose cache does not wait.
    fn look_without_change(&mut self, now: MonotonicInstant) {
        let is_missing = self.pending_looks > 0;
        for _ in 0..self.pending_looks.clamp(1, MAX_LOOKS_AT_ONCE) {
            let after = self.last_look.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let next = self.changes.range((after, Bound::Unbounded)).next();
            let next = match next.map(|(app, _)| app.clone()) {
                Some(next) => next,
                None if !is_missing && now.duration_since(self.turn_began) < SPARE_LOOK_INTERVAL => return,
                None => {
                    self.turn_began = now;
                    match self.changes.keys().next() {
                        Some(first) => first.clone(),
                        None => break,
                    }
                }
            };
            if self.changes.get(&next).is_some_and(|change| Arc::strong_count(&change.changed) == 1) {
                self.changes.remove(&next);
            } else {
                self.tell(&next, None);
            }
            self.pending_looks = self.pending_looks.saturating_sub(1);
            self.last_look = Some(next);
        }
        self.pending_looks = self.pending_looks.min(self.changes.len());
    }
}
