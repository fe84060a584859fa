//! Where the worker waits while its task is not running, and how it gets on its way again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use super::refresh_task::RefreshTask;
use crate::clock::{Clock, MonotonicInstant};
use crate::token::{TokenError, TokenErrorKind};

/// The worker's place while it is not running.
pub(super) struct TaskSlot {
    parked: Mutex<Option<Parked>>,
    /// Whether a task has ended that somebody should start again.
    stopped: AtomicBool,
}

struct Parked {
    worker: RefreshTask,
    /// After a panic it rests until then, so that one that comes back at once costs no more than this.
    restart_not_before: MonotonicInstant,
}

impl TaskSlot {
    /// With a worker that has never run.
    pub(super) fn new(worker: RefreshTask) -> Self {
        Self {
            parked: Mutex::new(Some(Parked { worker, restart_not_before: MonotonicInstant::default() })),
            stopped: AtomicBool::new(false),
        }
    }

    /// Whether a task has ended. Costs a reader next to nothing.
    pub(super) fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Starts the task, unless it is running.
    pub(super) fn ensure_running(self: &Arc<Self>, clock: &dyn Clock) -> Result<(), TokenError> {
        let runtime = Handle::try_current();
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = &*parked else { return Ok(()) };
        let now = clock.now().mono;
        if now < found.restart_not_before {
            return Err(TokenError::new(
                TokenErrorKind::Interrupted,
                Some(found.restart_not_before.duration_since(now)),
            ));
        }
        let Ok(runtime) = runtime else { return Err(TokenError::new(TokenErrorKind::NoRuntime, None)) };
        let worker = parked.take().map(|found| found.worker);
        // Dropping a task parks its worker, which takes the lock.
        drop(parked);
        self.stopped.store(false, Ordering::Relaxed);
        runtime.spawn(RunningTask { worker, berth: Arc::clone(self) }.run());
        Ok(())
    }
}

/// A worker at work. However it ends, the worker is parked again, so that its next caller can go on with it.
struct RunningTask {
    worker: Option<RefreshTask>,
    berth: Arc<TaskSlot>,
}

impl RunningTask {
    async fn run(mut self) {
        if let Some(worker) = &mut self.worker {
            worker.run().await;
        }
    }
}

impl Drop for RunningTask {
    fn drop(&mut self) {
        let Some(mut worker) = self.worker.take() else {
            return;
        };
        let not_before = match std::thread::panicking() {
            true => worker.on_panic(),
            false => MonotonicInstant::default(),
        };
        let wake = worker.discard_pending_requests();
        *self.berth.parked.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Parked { worker, restart_not_before: not_before });
        self.berth.stopped.store(true, Ordering::Relaxed);
        // Wakes those who wait, so that one of them starts the task again.
        wake.send_modify(|_| {});
    }
}
