//! Writes state files in the blocking pool of the runtime, with few threads, however many apps change at once.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::{OwnedMutexGuard, oneshot};
use zeroize::Zeroizing;

use crate::state::locked;

/// Maximum number of threads that write. They compete with token reads for the cores. A disk that does not respond blocks no
/// more of the pool, which also resolves host names and reads files of a reload.
pub(super) const MAX_WRITERS: usize = 4;

/// A new line of a file, with the line break before it. It may be secret.
pub(super) struct NewLine {
    /// The name of the file.
    pub(super) name: String,
    pub(super) line: Zeroizing<Vec<u8>>,
}

/// Writes a line. On success it is on the disk.
type Write = dyn Fn(&NewLine) -> io::Result<()> + Send + Sync;

/// Writes the queued lines.
pub(super) struct RecordWriter {
    write: Box<Write>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// The number of threads that write.
    writers: usize,
}

struct Job {
    new: NewLine,
    /// Held until the line is written, so that the file gets the last change last.
    guard: OwnedMutexGuard<()>,
    done: oneshot::Sender<io::Result<()>>,
}

impl RecordWriter {
    pub(super) fn new(write: impl Fn(&NewLine) -> io::Result<()> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { write: Box::new(write), queue: Mutex::default() })
    }

    /// Writes a line. Needs a tokio runtime.
    ///
    /// # Cancel safety
    /// A queued line is written even if the future is dropped.
    pub(super) async fn write(self: &Arc<Self>, new: NewLine, guard: OwnedMutexGuard<()>) -> io::Result<()> {
        let (done, written) = oneshot::channel();
        self.enqueue(Job { new, guard, done });
        written.await.unwrap_or_else(|_| Err(io::Error::other("the write was aborted")))
    }

    fn enqueue(self: &Arc<Self>, job: Job) {
        let mut queue = locked(&self.queue);
        queue.jobs.push_back(job);
        if queue.writers < MAX_WRITERS {
            queue.writers += 1;
            let writer = Writer(Arc::downgrade(self));
            tokio::task::spawn_blocking(move || writer.run());
        }
    }
}

/// A thread that writes. If the runtime ends before it has begun, dropping it counts it out.
struct Writer(Weak<RecordWriter>);

impl Writer {
    /// Writes until nothing is queued.
    fn run(mut self) {
        let mut writer = mem::take(&mut self.0).upgrade();
        let mut job = take_job(&mut writer);
        while let (Some(Job { new, guard, done }), Some(running)) = (job, &writer) {
            let written = (running.write)(&new);
            // After the last job this releases the folder, so that a caller can open it again.
            job = take_job(&mut writer);
            drop(guard);
            // The caller may have given up.
            let _ = done.send(written);
        }
    }
}

/// Takes the oldest job. Without any, it counts the thread out before another job can be queued, and drops the writer.
fn take_job(writer: &mut Option<Arc<RecordWriter>>) -> Option<Job> {
    let running = writer.take()?;
    let job = {
        let mut queue = locked(&running.queue);
        let job = queue.jobs.pop_front();
        if job.is_none() {
            queue.writers -= 1;
        }
        job
    };
    *writer = job.is_some().then_some(running);
    job
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(writer) = self.0.upgrade() {
            locked(&writer.queue).writers -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::thread::{self, ThreadId};

    use tokio::sync::Mutex as AsyncMutex;
    use tokio::task::{JoinSet, spawn_blocking, yield_now};

    use super::*;

    /// A disk that does not respond until it is freed.
    #[derive(Clone, Default)]
    struct StuckDisk {
        freed: Arc<OnceLock<()>>,
        /// The thread of each write that has begun.
        begun: Arc<Mutex<Vec<ThreadId>>>,
    }

    /// Frees the disk when it is dropped, also by a failed assertion: the runtime waits for its threads.
    struct Free(StuckDisk);

    impl Drop for Free {
        fn drop(&mut self) {
            let _ = self.0.freed.set(());
        }
    }

    impl StuckDisk {
        fn writer(&self) -> Arc<RecordWriter> {
            let disk = self.clone();
            RecordWriter::new(move |_| {
                disk.begun.lock().unwrap().push(thread::current().id());
                disk.freed.wait();
                Ok(())
            })
        }

        fn begun(&self) -> Vec<ThreadId> {
            self.begun.lock().unwrap().clone()
        }
    }

    async fn write(writer: Arc<RecordWriter>) -> io::Result<()> {
        let guard = Arc::<AsyncMutex<()>>::default().lock_owned().await;
        let new = NewLine { name: "wx1.json".to_owned(), line: Zeroizing::new(Vec::new()) };
        writer.write(new, guard).await
    }

    /// All apps change at once. One thread of the pool is left for other work.
    #[test]
    fn few_threads_write_any_number_of_files() {
        const FILES: usize = 500;
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.max_blocking_threads(MAX_WRITERS + 1).build().unwrap();
        runtime.block_on(async {
            let disk = StuckDisk::default();
            let free = Free(disk.clone());
            let writer = disk.writer();
            let mut writes: JoinSet<_> = (0..FILES).map(|_| write(Arc::clone(&writer))).collect();
            while disk.begun().len() < MAX_WRITERS || locked(&writer.queue).jobs.len() + MAX_WRITERS < FILES {
                yield_now().await;
            }
            let other = spawn_blocking(|| ());
            while !other.is_finished() {
                assert_eq!(disk.begun().len(), MAX_WRITERS);
                yield_now().await;
            }
            drop(free);
            while let Some(written) = writes.join_next().await {
                written.unwrap().unwrap();
            }
            assert_eq!(disk.begun().len(), FILES);
            assert!(!disk.begun().contains(&thread::current().id()));
        });
    }

    /// The runtime ends before a thread has begun to write. The next runtime writes.
    #[tokio::test]
    async fn thread_that_never_ran_is_not_counted() {
        let writer = RecordWriter::new(|_| Ok(()));
        locked(&writer.queue).writers = MAX_WRITERS;
        for _ in 0..MAX_WRITERS {
            drop(Writer(Arc::downgrade(&writer)));
        }
        write(Arc::clone(&writer)).await.unwrap();
        assert_eq!(locked(&writer.queue).writers, 0);
    }
}
