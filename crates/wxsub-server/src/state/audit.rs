//! The audit log: one line for every token read, report and send, with client, app and outcome.
//!
//! A thread of its own writes the lines of many requests at once. A request gets its response after its line was written.

mod entry;
mod line_limiter;
mod target;
mod writer;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::sync::oneshot;
use wxsub_core::clock::{Clock, UnixMillis, timeout_at};
use wxsub_core::rfc3339;
use wxsub_proto::{LocalizedText, localized_text};

pub(crate) use self::entry::{Action, ApiSurface, Entry};
use self::target::Target;
use self::writer::{AuditMessage, AuditState, Failing, QUEUE_CAPACITY, Writer};
use crate::config::{AuditConfig, AuditTo};
use crate::state::locked;

/// Maximum time that a request waits until its line is written.
const RECORD_TIMEOUT: Duration = Duration::from_secs(2);

/// An audit is required, and this request could not be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unrecorded;

/// The handle to the audit thread. Empty if the audit is off.
#[derive(Clone, Default)]
pub(crate) struct Audit(Option<Arc<Inner>>);

struct Inner {
    queue: SyncSender<AuditMessage>,
    state: Arc<AuditState>,
}

/// The line of a request. One that is dropped is recorded too: the request has no response, because its client has disconnected.
#[derive(Default)]
pub(crate) struct Line {
    /// `None` if the audit is off, or it is queued.
    entry: Option<Box<Entry>>,
    audit: Audit,
}

impl Line {
    pub(crate) fn entry(&self) -> Option<&Entry> {
        self.entry.as_deref()
    }

    /// Changes the entry, if there is one.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = &mut self.entry {
            change(entry);
        }
    }

    /// The line that says that a send or a change starts: it cannot be taken back after that. Empty unless the audit is required.
    pub(crate) fn start(&self) -> Self {
        let is_required = self.audit.0.as_ref().is_some_and(|inner| inner.state.is_required);
        let mut start = Self { entry: self.entry.clone().filter(|_| is_required), audit: self.audit.clone() };
        start.change(|entry| entry.outcome = "started");
        start
    }

    /// The request is not handled, because its start could not be recorded.
    pub(crate) fn discard(&mut self) {
        self.entry = None;
    }

    /// Queues the line and waits until it is written; until it is on the disk if the audit is required.
    ///
    /// # Errors
    /// [`Unrecorded`] only if the audit is required.
    ///
    /// # Cancel safety
    /// A queued line is written even if the future is dropped.
    pub(crate) async fn record(mut self) -> Result<(), Unrecorded> {
        match (self.audit.0.as_deref(), self.entry.take()) {
            (Some(inner), Some(entry)) => inner.record(entry).await,
            _ => Ok(()),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let entry = self.entry.take().filter(|entry| entry.has_known_caller());
        if let (Some(inner), Some(mut entry)) = (&self.audit.0, entry) {
            if entry.outcome == Entry::FIRST_OUTCOME {
                entry.outcome = "unfinished";
            }
            inner.queue(entry, inner.state.clock.now().wall);
        }
    }
}

impl Inner {
    /// Queues a line. The receiver gets whether it was written. `None` if the queue is full: the line is lost and counted.
    fn queue(&self, mut entry: Box<Entry>, at: UnixMillis) -> Option<oneshot::Receiver<bool>> {
        entry.at = at;
        let (done, written) = oneshot::channel();
        if self.queue.try_send(AuditMessage::Line(entry, done)).is_err() {
            self.state.failures.inc();
            return None;
        }
        Some(written)
    }

    async fn record(&self, entry: Box<Entry>) -> Result<(), Unrecorded> {
        let state = &*self.state;
        let now = state.clock.now();
        if entry.is_refused() && !locked(&state.line_limiter).admit(&entry, now.mono) {
            return Ok(());
        }
        let unrecorded = if state.is_required { Err(Unrecorded) } else { Ok(()) };
        let is_stalled = state.is_stalled.load(Ordering::Relaxed);
        if is_stalled && state.is_required {
            state.failures.inc();
            return unrecorded;
        }
        let Some(written) = self.queue(entry, now.wall) else { return unrecorded };
        if is_stalled {
            return Ok(());
        }
        match timeout_at(&*state.clock, now.mono + RECORD_TIMEOUT, written).await {
            Some(Ok(true)) => Ok(()),
            Some(_) => unrecorded,
            None => {
                if !state.is_stalled.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        timeout_s = RECORD_TIMEOUT.as_secs(),
                        "writing the audit took too long; check the disk, or the reader of standard error"
                    );
                }
                unrecorded
            }
        }
    }
}

impl Audit {
    /// Opens the target and starts the thread. `failures` counts the lines that are not recorded.
    pub(crate) fn start(config: &AuditConfig, clock: Arc<dyn Clock>, failures: Counter) -> io::Result<Self> {
        let target = match &config.to {
            AuditTo::Off => return Ok(Self(None)),
            AuditTo::Stderr => Target::stderr(),
            AuditTo::File(path) => Target::file(path, config.is_required)?,
        };
        Self::start_on(target, config.is_required, clock, failures)
    }

    fn start_on(
        target: Target,
        is_required: bool,
        clock: Arc<dyn Clock>,
        failures: Counter,
    ) -> io::Result<Self> {
        let (queue, messages) = sync_channel(QUEUE_CAPACITY);
        let state = Arc::new(AuditState::new(is_required, clock, failures));
        let writer = Writer::new(target, Arc::clone(&state));
        thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(&messages))?;
        Ok(Self(Some(Arc::new(Inner { queue, state }))))
    }

    /// Tries what [`start`](Self::start) needs. A file that did not exist is removed again.
    pub(crate) fn check(config: &AuditConfig) -> io::Result<()> {
        let AuditTo::File(path) = &config.to else { return Ok(()) };
        let exists = path.exists();
        let opened = Target::file(path, config.is_required);
        // Of a link, the file that it leads to.
        let removed = if exists { Ok(()) } else { path.canonicalize().and_then(std::fs::remove_file) };
        opened.and(removed)
    }

    /// Begins the line of a request.
    pub(crate) fn begin(&self, api: ApiSurface, action: Action, address: Option<IpAddr>) -> Line {
        let entry = self.0.as_ref().map(|_| Box::new(Entry::new(api, action, address)));
        Line { entry, audit: self.clone() }
    }

    /// What is wrong, if lines are lost or written too slowly.
    pub(crate) fn problem(&self) -> Option<LocalizedText<String>> {
        let state = &self.0.as_ref()?.state;
        let failing = locked(&state.failing).clone();
        match failing {
            Some(Failing { since, error, lost }) => {
                let since = rfc3339::format(since);
                Some(localized_text!(
                    "audit lines are lost since {since}: {error}; lost so far: {lost}; free space on the disk of the \
                     audit file, or set audit to another path and restart",
                    "自 {since} 起审计日志无法写入：{error}；已丢失 {lost} 行；请清理审计文件所在磁盘，\
                     或把 audit 改为其他路径后重启"
                ))
            }
            None => state.is_stalled.load(Ordering::Relaxed).then(|| {
                localized_text!(
                    "writing the audit takes too long; check the disk of the audit file, or the reader of standard error",
                    "审计日志写入过慢；请检查审计文件所在磁盘，或标准错误的读取方"
                )
            }),
        }
    }

    /// Opens the file anew, after it was renamed.
    pub(crate) fn reopen(&self) {
        if let Some(inner) = &self.0 {
            // The thread looks at it after what it writes now, also if the queue is full.
            inner.state.must_reopen.store(true, Ordering::Relaxed);
            let _ = inner.queue.try_send(AuditMessage::Reopen);
        }
    }

    /// Blocks until all lines queued before are written.
    pub(crate) fn flush(&self) {
        let Some(inner) = &self.0 else { return };
        let (done, wait) = sync_channel(1);
        if inner.queue.send(AuditMessage::Flush(done)).is_ok() {
            // An error means that the thread is gone; then there is nothing left to write.
            let _ = wait.recv();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
