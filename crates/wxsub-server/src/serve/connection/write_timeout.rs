//! Closes the connection of a client that does not read responses.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt;
use wxsub_core::clock::Clock;

/// A stream that fails if a write makes no progress within the timeout.
pub(super) struct WriteTimeout<I> {
    io: I,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    /// Runs while a write is pending.
    timer: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<I> WriteTimeout<I> {
    pub(super) fn new(io: I, clock: Arc<dyn Clock>, timeout: Duration) -> Self {
        Self { io, clock, timeout, timer: None }
    }

    /// Passes on the result of a write, or fails with `TimedOut` if it has been pending for too long.
    fn check_timeout<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.timer = None;
            return written;
        }
        let (clock, timeout) = (&self.clock, self.timeout);
        let timer = self.timer.get_or_insert_with(|| {
            let (clock, end) = (Arc::clone(clock), clock.now().mono + timeout);
            Box::pin(async move { clock.sleep_until(end).await })
        });
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<I: rt::Read + Unpin> rt::Read for WriteTimeout<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<I: rt::Write + Unpin> rt::Write for WriteTimeout<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.check_timeout(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.check_timeout(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.io).poll_shutdown(context);
        self.check_timeout(context, closed)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, pieces);
        self.check_timeout(context, written)
    }
}
