//! Which of many sockets are ready, for one task.

use std::io;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Registry};
#[cfg(unix)]
use tokio::io::unix::AsyncFd;
use wxsub_core::clock::Clock;

/// Maximum number of events that are handled before other tasks of the server run.
const MAX_EVENTS: usize = 64;

/// Asks the kernel which of the registered sockets are ready.
pub(super) struct SocketPoll {
    #[cfg(unix)]
    poll: AsyncFd<Poll>,
    #[cfg(not(unix))]
    poll: Poll,
    events: Events,
}

impl SocketPoll {
    /// # Errors
    /// The system refuses another file.
    #[cfg_attr(
        unix,
        expect(
            deprecated,
            reason = "its successor is unsafe: the file must stay open, which a Poll ensures"
        )
    )]
    pub(super) fn new() -> io::Result<Self> {
        #[cfg(unix)]
        let poll = AsyncFd::new(Poll::new()?)?;
        #[cfg(not(unix))]
        let poll = Poll::new()?;
        Ok(Self { poll, events: Events::with_capacity(MAX_EVENTS) })
    }

    pub(super) fn registry(&self) -> &Registry {
        #[cfg(unix)]
        let poll = self.poll.get_ref();
        #[cfg(not(unix))]
        let poll = &self.poll;
        poll.registry()
    }

    /// Waits until a socket may be ready.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    #[cfg(unix)]
    pub(super) async fn ready(&mut self, _: &dyn Clock) {
        // An error means that the runtime ends.
        while let Ok(mut guard) = self.poll.readable_mut().await {
            let polled = guard.get_inner_mut().poll(&mut self.events, Some(Duration::ZERO));
            if polled.is_ok() && !self.events.is_empty() {
                return;
            }
            guard.clear_ready();
        }
    }

    /// Waits until a socket may be ready: here tokio cannot wait for a poll.
    #[cfg(not(unix))]
    pub(super) async fn ready(&mut self, clock: &dyn Clock) {
        clock.sleep_until(clock.now().mono + Duration::from_millis(5)).await;
    }

    /// The sockets that became ready, at most [`MAX_EVENTS`].
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        if self.events.is_empty() {
            #[cfg(unix)]
            let poll = self.poll.get_mut();
            #[cfg(not(unix))]
            let poll = &mut self.poll;
            // An error means that a signal came: the next call asks again.
            let _ = poll.poll(&mut self.events, Some(Duration::ZERO));
        }
        let events = self.events.iter().cloned().collect();
        self.events.clear();
        events
    }
}
