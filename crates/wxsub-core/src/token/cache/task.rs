//! Starts the refresh task, and starts it again after its runtime ended or it panicked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use super::refresh_task::RefreshTask;
use crate::clock::{Clock, MonotonicInstant};
use crate::token::{TokenError, TokenErrorKind};

/// Holds the refresh task while it is not running.
pub(super) struct TaskSlot {
    parked: Mutex<Option<Parked>>,
    /// Whether a task has ended and must be started again.
    stopped: AtomicBool,
}

struct Parked {
    task: RefreshTask,
    /// The earliest next start. After a panic it bounds how often the task starts.
    restart_not_before: MonotonicInstant,
}

impl TaskSlot {
    /// Creates a slot with a task that has never run.
    pub(super) fn new(task: RefreshTask) -> Self {
        Self {
            parked: Mutex::new(Some(Parked { task, restart_not_before: MonotonicInstant::default() })),
            stopped: AtomicBool::new(false),
        }
    }

    /// Returns whether a task has ended. Takes no lock.
    pub(super) fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Starts the task unless it is running.
    ///
    /// Fails if there is no runtime, or if the delay after a panic has not passed.
    pub(super) fn ensure_running(self: &Arc<Self>, clock: &dyn Clock) -> Result<(), TokenError> {
        let runtime = Handle::try_current();
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(parked_task) = &*parked else { return Ok(()) };
        let now = clock.now().mono;
        if now < parked_task.restart_not_before {
            return Err(TokenError::new(
                TokenErrorKind::Interrupted,
                Some(parked_task.restart_not_before.duration_since(now)),
            ));
        }
        let Ok(runtime) = runtime else { return Err(TokenError::new(TokenErrorKind::NoRuntime, None)) };
        let task = parked.take().map(|parked_task| parked_task.task);
        // Dropping the running task takes this lock.
        drop(parked);
        self.stopped.store(false, Ordering::Relaxed);
        runtime.spawn(RunningTask { task, slot: Arc::clone(self) }.run());
        Ok(())
    }
}

/// The running task. When it ends, for any reason, it returns to its slot and the next caller can start it again.
struct RunningTask {
    task: Option<RefreshTask>,
    slot: Arc<TaskSlot>,
}

impl RunningTask {
    async fn run(mut self) {
        if let Some(task) = &mut self.task {
            task.run().await;
        }
    }
}

impl Drop for RunningTask {
    fn drop(&mut self) {
        let Some(mut task) = self.task.take() else {
            return;
        };
        let restart_not_before = match std::thread::panicking() {
            true => task.on_panic(),
            false => MonotonicInstant::default(),
        };
        let status = task.discard_pending_requests();
        *self.slot.parked.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Parked { task, restart_not_before });
        self.slot.stopped.store(true, Ordering::Relaxed);
        // Wakes waiting callers, so that one of them starts the task again.
        status.send_modify(|_| {});
    }
}
