//! Where the worker waits while its task is not running, and how it gets on its way again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use super::worker::Worker;
use crate::clock::{Clock, Mono};
use crate::token::{Failure, TokenError};

/// The worker's place while it is not running.
pub(super) struct Berth {
    parked: Mutex<Option<Parked>>,
    /// Whether a task has ended that somebody should start again.
    stopped: AtomicBool,
}

struct Parked {
    worker: Worker,
    /// After a panic it rests until then, so that one that comes back at once costs no more than this.
    not_before: Mono,
}

impl Berth {
    /// With a worker that has never run.
    pub(super) fn new(worker: Worker) -> Self {
        Self {
            parked: Mutex::new(Some(Parked { worker, not_before: Mono::default() })),
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
        if now < found.not_before {
            return Err(TokenError::new(Failure::Interrupted, Some(found.not_before.since(now))));
        }
        let Ok(runtime) = runtime else { return Err(TokenError::new(Failure::NoRuntime, None)) };
        let worker = parked.take().map(|found| found.worker);
        // Dropping a task parks its worker, which takes the lock.
        drop(parked);
        self.stopped.store(false, Ordering::Relaxed);
        runtime.spawn(Running { worker, berth: Arc::clone(self) }.run());
        Ok(())
    }
}

/// A worker at work. However it ends, the worker is parked again, so that its next caller can go on with it.
struct Running {
    worker: Option<Worker>,
    berth: Arc<Berth>,
}

impl Running {
    async fn run(mut self) {
        if let Some(worker) = &mut self.worker {
            worker.run().await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut worker) = self.worker.take() else {
            return;
        };
        let not_before = match std::thread::panicking() {
            true => worker.broken_off(),
            false => Mono::default(),
        };
        let wake = worker.put_down();
        *self.berth.parked.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Parked { worker, not_before });
        self.berth.stopped.store(true, Ordering::Relaxed);
        // Wakes those who wait, so that one of them starts the task again.
        wake.send_modify(|_| {});
    }
}
