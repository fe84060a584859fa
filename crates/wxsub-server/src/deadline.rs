//! Every wait has an end.

use wxsub_core::clock::{Clock, Mono};

/// Gives up waiting at `deadline`; `None` then. Work that is ready wins over a deadline that has passed.
pub(crate) async fn until<T>(clock: &dyn Clock, deadline: Mono, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        output = work => Some(output),
        () = clock.sleep_until(deadline) => None,
    }
}
