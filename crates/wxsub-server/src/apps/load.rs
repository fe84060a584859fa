//! The load of one caller: its requests in flight, and its bodies that are not complete yet.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use wxsub_core::clock::MonotonicInstant;
use wxsub_core::rate_limit::TokenBucket;

use crate::config::Limits;
use crate::state::limit::Limit;
use crate::state::locked;
use crate::state::pace::{Pace, TooMany};

/// Number of refusals in a row that a caller gets without a pause. After them, one in each [`REFUSAL_INTERVAL`].
const PROMPT_REFUSALS: u32 = 20;

const REFUSAL_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum time that a request waits for its turn.
const MAX_TURN_WAIT: Duration = Duration::from_secs(1);

/// The load of a client; of the holders of an app's access tokens; or of all callers without a known key.
pub(crate) struct Load {
    in_flight: AtomicUsize,
    bodies: Mutex<IncomingBodies>,
    prompt_refusals: Mutex<TokenBucket>,
    requests: Mutex<Pace>,
}

impl Default for Load {
    fn default() -> Self {
        let prompt_refusals = Mutex::new(TokenBucket::new(PROMPT_REFUSALS, REFUSAL_INTERVAL));
        let (in_flight, bodies, requests) = Default::default();
        Self { in_flight, bodies, prompt_refusals, requests }
    }
}

#[derive(Default)]
struct IncomingBodies {
    /// Each with its number, oldest first.
    open: VecDeque<(u64, oneshot::Sender<Infallible>)>,
    next: u64,
}

/// A body that is not complete yet. Dropping it removes it.
pub(crate) struct IncomingBody {
    load: Arc<Load>,
    number: u64,
    displaced: oneshot::Receiver<Infallible>,
}

/// A place in flight. Dropping it returns it.
pub(crate) struct RequestPermit {
    total: Arc<AtomicUsize>,
    load: Arc<Load>,
}

impl Load {
    /// Begins a body. At the limit, the oldest one ends. Returns the body, and whether another one ended for it.
    pub(crate) fn begin_body(self: &Arc<Self>, max: usize) -> (IncomingBody, bool) {
        let (sender, displaced) = oneshot::channel();
        let mut bodies = locked(&self.bodies);
        let ended = if bodies.open.len() >= max { bodies.open.pop_front() } else { None };
        let number = bodies.next;
        bodies.next += 1;
        bodies.open.push_back((number, sender));
        (IncomingBody { load: Arc::clone(self), number, displaced }, ended.is_some())
    }

    /// Takes a place in flight. `total` counts the places of all callers.
    ///
    /// # Errors
    /// The limit that is reached.
    pub(super) fn try_acquire_permit(
        self: &Arc<Self>,
        total: &Arc<AtomicUsize>,
        limits: &Limits,
    ) -> Result<RequestPermit, Limit> {
        let own = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let all = total.fetch_add(1, Ordering::Relaxed);
        // From here on, dropping the permit undoes both.
        let permit = RequestPermit { total: Arc::clone(total), load: Arc::clone(self) };
        check(own, all, limits).map(|()| permit)
    }

    /// Whether a place in flight is free now. Takes none.
    ///
    /// # Errors
    /// The limit that is reached.
    pub(super) fn check_places(&self, total: &AtomicUsize, limits: &Limits) -> Result<(), Limit> {
        check(self.in_flight.load(Ordering::Relaxed), total.load(Ordering::Relaxed), limits)
    }

    /// Plans a request. Returns how long it has to wait for its turn.
    ///
    /// # Errors
    /// [`TooMany`] if that is longer than a second.
    pub(crate) fn plan_request(&self, per_second: usize, now: MonotonicInstant) -> Result<Duration, TooMany> {
        locked(&self.requests).plan(1, per_second, MAX_TURN_WAIT, now)
    }

    /// The number of requests within the last second, with those that wait.
    pub(super) fn requests_used(&self, per_second: usize, now: MonotonicInstant) -> usize {
        locked(&self.requests).used(per_second, now)
    }

    /// Counts a refusal. Returns whether its response has to wait, because the caller got too many of them.
    pub(crate) fn is_refused_often(&self, now: MonotonicInstant) -> bool {
        let mut prompt_refusals = locked(&self.prompt_refusals);
        prompt_refusals.try_acquire(now).is_err()
    }

    /// The number of requests in flight, and of incomplete bodies.
    pub(crate) fn used(&self) -> (usize, usize) {
        (self.in_flight.load(Ordering::Relaxed), locked(&self.bodies).open.len())
    }
}

/// Checks the places that a caller and all callers have taken.
fn check(own: usize, all: usize, limits: &Limits) -> Result<(), Limit> {
    match () {
        () if own >= limits.in_flight_per_key => Err(Limit::InFlightPerKey),
        () if all >= limits.in_flight => Err(Limit::InFlight),
        () => Ok(()),
    }
}

impl IncomingBody {
    /// Waits until the body has to end for another one.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn displaced(&mut self) {
        // The sender sends nothing. It is dropped when the body is displaced.
        let _ = (&mut self.displaced).await;
    }
}

impl Drop for IncomingBody {
    fn drop(&mut self) {
        let mut bodies = locked(&self.load.bodies);
        if let Ok(index) = bodies.open.binary_search_by_key(&self.number, |(number, _)| *number) {
            bodies.open.remove(index);
        }
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.load.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.total.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn oldest_body_ends_for_a_new_one_at_the_limit() {
        let load = Arc::<Load>::default();
        let (mut first, ended) = load.begin_body(2);
        let (second, _) = load.begin_body(2);
        assert!(!ended);
        let (third, ended) = load.begin_body(2);
        assert!(ended);
        first.displaced().await;
        drop((first, second));
        let (mut fourth, ended) = load.begin_body(2);
        assert!(!ended && load.used() == (0, 2));
        drop(third);
        assert!(fourth.displaced.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
        drop(fourth);
        assert_eq!(load.used(), (0, 0));
    }
}
