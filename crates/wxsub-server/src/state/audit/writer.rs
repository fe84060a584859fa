//! The audit thread: it collects lines, writes them together, and says how each request's line ended.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use tokio::sync::oneshot;
use wxsub_core::clock::{Clock, MonotonicInstant, UnixMillis};

use super::entry::Entry;
use super::line_limiter::LineLimiter;
use super::target::Target;
use crate::state::locked;

/// Maximum number of queued lines. Lines beyond it are lost and counted.
pub(super) const QUEUE_CAPACITY: usize = 8192;

/// Minimum time between two writes. It lets lines collect under load: one write for each line would cost half of a token read.
const WRITE_INTERVAL: Duration = Duration::from_micros(200);

/// How often the thread looks for summaries while there are no lines.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// Minimum time between two log lines about failed writes.
const FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// What the thread does next.
pub(super) enum AuditMessage {
    /// Writes the line, and says whether it was written.
    Line(Box<Entry>, oneshot::Sender<bool>),
    /// Opens the file anew.
    Reopen,
    /// Replies once all lines before it are written.
    Flush(SyncSender<()>),
}

/// Why lines are lost, while they are.
#[derive(Debug, Clone)]
pub(super) struct Failing {
    pub(super) since: UnixMillis,
    pub(super) error: String,
    /// Lines lost since then.
    pub(super) lost: u64,
}

/// What the thread shares with the requests.
pub(super) struct AuditState {
    pub(super) is_required: bool,
    /// Set while the thread has not written a line in time. Requests do not wait meanwhile.
    pub(super) is_stalled: AtomicBool,
    /// Set until the thread opens the file anew.
    pub(super) must_reopen: AtomicBool,
    pub(super) line_limiter: Mutex<LineLimiter>,
    pub(super) clock: Arc<dyn Clock>,
    /// Lines that were not recorded.
    pub(super) failures: Counter,
    pub(super) failing: Mutex<Option<Failing>>,
}

impl AuditState {
    pub(super) fn new(is_required: bool, clock: Arc<dyn Clock>, failures: Counter) -> Self {
        let (is_stalled, must_reopen, line_limiter, failing) = Default::default();
        Self { is_required, is_stalled, must_reopen, line_limiter, clock, failures, failing }
    }
}

pub(super) struct Writer {
    target: Target,
    batch: Batch,
    state: Arc<AuditState>,
    logged_at: Option<MonotonicInstant>,
}

/// Lines that are written together.
#[derive(Default)]
struct Batch {
    text: Vec<u8>,
    /// Where each line ends, and the request that waits for it.
    ends: Vec<(usize, Option<oneshot::Sender<bool>>)>,
}

impl Batch {
    fn add(&mut self, line: &impl Serialize, done: Option<oneshot::Sender<bool>>) {
        if serde_json::to_writer(&mut self.text, line).is_ok() {
            self.text.push(b'\n');
            self.ends.push((self.text.len(), done));
        }
    }
}

impl Writer {
    pub(super) fn new(target: Target, state: Arc<AuditState>) -> Self {
        Self { target, batch: Batch::default(), state, logged_at: None }
    }

    /// Runs until all handles are dropped.
    pub(super) fn run(mut self, messages: &Receiver<AuditMessage>) {
        loop {
            let first = match messages.recv_timeout(IDLE_INTERVAL) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let is_idle = first.is_none();
            let mut flushes = Vec::new();
            for message in first.into_iter().chain(messages.try_iter()).take(QUEUE_CAPACITY) {
                match message {
                    AuditMessage::Line(entry, done) => self.batch.add(&entry, Some(done)),
                    AuditMessage::Flush(done) => flushes.push(done),
                    AuditMessage::Reopen => self.reopen_if_due(),
                }
            }
            self.add_summaries(!flushes.is_empty());
            self.write_batch();
            self.reopen_if_due();
            self.state.is_stalled.store(false, Ordering::Relaxed);
            for done in flushes {
                let _ = done.send(());
            }
            if !is_idle {
                thread::park_timeout(WRITE_INTERVAL);
            }
        }
    }

    /// Adds the lines that stand for refused requests without lines of their own.
    fn add_summaries(&mut self, are_all_due: bool) {
        let now = self.state.clock.now();
        for summary in locked(&self.state.line_limiter).take_summaries(now, are_all_due) {
            self.batch.add(&summary, None);
        }
    }

    /// Opens the file anew if that was requested. Lines that were collected before go to the old file.
    fn reopen_if_due(&mut self) {
        if !self.state.must_reopen.swap(false, Ordering::Relaxed) {
            return;
        }
        self.write_batch();
        if let Err(error) = self.target.reopen() {
            tracing::error!(%error, "reopening the audit file failed; lines go on to the file that is open");
        }
    }

    fn write_batch(&mut self) {
        let Batch { text, ends } = mem::take(&mut self.batch);
        if ends.is_empty() {
            return;
        }
        let (written, result) = self.target.write_lines(&text);
        let lost = ends.iter().map(|(end, _)| u64::from(*end > written)).sum();
        self.state.failures.inc_by(lost);
        self.log_result(lost, result);
        for (end, done) in ends {
            if let Some(done) = done {
                let _ = done.send(end <= written);
            }
        }
    }

    /// Notes what fails. Logs the first failure, then one a minute, and that lines are written again.
    fn log_result(&mut self, lost: u64, result: io::Result<()>) {
        let now = self.state.clock.now();
        let mut failing = locked(&self.state.failing);
        let Err(error) = result else {
            if let Some(Failing { lost, .. }) = failing.take() {
                self.logged_at = None;
                tracing::warn!(lost, "the audit is written again");
            }
            return;
        };
        let failing =
            failing.get_or_insert_with(|| Failing { since: now.wall, error: String::new(), lost: 0 });
        (failing.error, failing.lost) = (error.to_string(), failing.lost + lost);
        if self.logged_at.is_some_and(|logged_at| now.mono.duration_since(logged_at) < FAILURE_LOG_INTERVAL) {
            return;
        }
        self.logged_at = Some(now.mono);
        tracing::error!(
            lost = failing.lost,
            path = %self.target.name(),
            %error,
            "writing the audit failed; free space on its disk, or set audit to another path and restart"
        );
    }
}
