//! A value that is costly to compute, and that anyone may ask for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex as AsyncMutex;
use tokio::task::spawn_blocking;

/// Computes a value in the blocking pool, one at a time. Requests that wait share the next one, so a flood of them costs one thread.
#[derive(Debug, Default)]
pub(crate) struct Shared<T> {
    /// How often a computation has begun.
    begun: Arc<AtomicU64>,
    latest: Arc<AsyncMutex<Latest<T>>>,
}

#[derive(Debug, Default)]
struct Latest<T> {
    value: T,
    /// The number of its computation.
    number: u64,
}

impl<T: Clone + Default + Send + 'static> Shared<T> {
    /// The value, computed after this call. Needs a tokio runtime.
    ///
    /// # Cancel safety
    /// A computation that has begun goes on.
    pub(crate) async fn get(&self, compute: impl FnOnce() -> T + Send + 'static) -> T {
        let before = self.begun.load(Ordering::SeqCst);
        let mut latest = Arc::clone(&self.latest).lock_owned().await;
        if latest.number > before {
            return latest.value.clone();
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let computed = spawn_blocking(move || {
            *latest = Latest { value: compute(), number };
            latest.value.clone()
        });
        // Fails only if the runtime ends, or if `compute` panicked.
        computed.await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use tokio::task::yield_now;

    use super::*;

    /// Some of them give up.
    #[tokio::test]
    async fn requests_that_wait_share_one_computation() {
        let (shared, freed) = (Shared::default(), Arc::<OnceLock<()>>::default());
        let count = Arc::new(AtomicU64::new(0));
        let get = || {
            let (freed, count) = (Arc::clone(&freed), Arc::clone(&count));
            shared.get(move || {
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                freed.wait();
                number
            })
        };
        for _ in 0..10 {
            assert!(get().now_or_never().is_none());
        }
        let mut all = Box::pin(join_all((0..100).map(|_| get())));
        assert!(all.as_mut().now_or_never().is_none());
        while count.load(Ordering::SeqCst) == 0 {
            yield_now().await;
        }
        freed.set(()).unwrap();
        // The first computation began before these requests.
        assert!(all.await.iter().all(|number| *number == 2));
        assert_eq!(get().await, 3);
    }
}
