//! A value that is costly to compute, and that anyone may ask for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::task::spawn_blocking;
use wxsub_core::clock::{Clock, MonotonicInstant};

/// The pause after a computation, as a multiple of its duration. So about one request in two hundred meets a computation.
const PAUSE_FACTOR: u32 = 200;

/// Maximum pause after a computation.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Computes a value in the blocking pool, one at a time, with a pause after each. Requests that wait share the next one, so a flood
/// of them costs little.
#[derive(Debug, Default)]
pub(crate) struct Shared<T> {
    /// How often a computation has begun.
    begun: Arc<AtomicU64>,
    /// Has a copy for each request that has no value yet.
    waiting: Arc<()>,
    latest: Arc<AsyncMutex<Latest<T>>>,
}

#[derive(Debug, Default)]
struct Latest<T> {
    /// Kept only if requests wait for it, because it can be large. If all of them give up, it stays until the next request.
    value: Option<T>,
    /// The number of its computation.
    number: u64,
    /// When the next computation may begin.
    next_at: MonotonicInstant,
}

impl<T: Clone + Default + Send + 'static> Shared<T> {
    /// The value, computed after this call. Needs a tokio runtime.
    ///
    /// # Cancel safety
    /// A computation that has begun goes on.
    pub(crate) async fn get(
        &self,
        clock: &Arc<dyn Clock>,
        compute: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let waiting = Arc::clone(&self.waiting);
        let before = self.begun.load(Ordering::SeqCst);
        let mut latest = Arc::clone(&self.latest).lock_owned().await;
        if latest.number > before
            && let Some(value) = latest.value.take()
        {
            return latest.keep_for_others(value, waiting);
        }
        // Those that wait for the lock share the computation after the pause.
        clock.sleep_until(latest.next_at).await;
        latest.value = None;
        let (number, clock) = (self.begun.fetch_add(1, Ordering::SeqCst) + 1, Arc::clone(clock));
        let computed = spawn_blocking(move || {
            let begun_at = clock.now().mono;
            let value = compute();
            let ended_at = clock.now().mono;
            let pause = ended_at.duration_since(begun_at).saturating_mul(PAUSE_FACTOR).min(MAX_PAUSE);
            *latest = Latest { value: None, number, next_at: ended_at + pause };
            latest.keep_for_others(value, waiting)
        });
        // Fails only if the runtime ends, or if `compute` panicked.
        computed.await.unwrap_or_default()
    }
}

impl<T: Clone> Latest<T> {
    /// The copy of the request that gets the value ends with this call, before the next request has the lock.
    fn keep_for_others(&mut self, value: T, waiting: Arc<()>) -> T {
        let copies = Arc::strong_count(&waiting);
        drop(waiting);
        // One was that of this request, and one is that of `Shared`.
        self.value = (copies > 2).then(|| value.clone());
        value
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use tokio::task::yield_now;
    use wxsub_core::testing::ManualClock;

    use super::*;

    /// Some of them give up.
    #[tokio::test]
    async fn requests_that_wait_share_one_computation() {
        let (shared, freed) = (Shared::default(), Arc::<OnceLock<()>>::default());
        let count = Arc::new(AtomicU64::new(0));
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
        let get = || {
            let (freed, count) = (Arc::clone(&freed), Arc::clone(&count));
            shared.get(&clock, move || {
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

    #[tokio::test]
    async fn value_is_dropped_when_no_request_waits_for_it() {
        let shared = Shared::<Arc<()>>::default();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
        let alone = shared.get(&clock, Arc::default).await;
        assert_eq!(Arc::strong_count(&alone), 1);
        let freed = Arc::<OnceLock<()>>::default();
        let get = || {
            let freed = Arc::clone(&freed);
            shared.get(&clock, move || {
                freed.wait();
                Arc::default()
            })
        };
        let mut all = Box::pin(join_all((0..3).map(|_| get())));
        assert!(all.as_mut().now_or_never().is_none());
        freed.set(()).unwrap();
        // The first computation began before the other requests, which share the second one.
        assert_eq!(all.await.iter().map(Arc::strong_count).collect::<Vec<_>>(), [1, 2, 2]);
    }

    /// A flood of requests takes a two-hundredth of a core.
    #[tokio::test]
    async fn computation_pauses_in_proportion_to_its_duration() {
        let (shared, clock) = (Shared::<()>::default(), Arc::new(ManualClock::new()));
        let as_clock: Arc<dyn Clock> = clock.clone();
        let get = |millis: u64| {
            let clock = Arc::clone(&clock);
            shared.get(&as_clock, move || clock.advance(Duration::from_millis(millis)))
        };
        get(5).await;
        for (pause, duration) in [(1000, 50), (2000, 0)] {
            let mut next = Box::pin(get(duration));
            assert!(next.as_mut().now_or_never().is_none());
            clock.advance_and_run(Duration::from_millis(pause - 1)).await;
            assert!(next.as_mut().now_or_never().is_none());
            clock.advance_and_run(Duration::from_millis(1)).await;
            next.await;
        }
        get(0).await;
    }
}
