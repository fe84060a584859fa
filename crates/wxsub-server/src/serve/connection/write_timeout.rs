//! Whoever asks and does not read the answers is cut off.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt;
use wxsub_core::clock::Clock;

/// A connection that breaks once nothing could be written to it for so long.
pub(super) struct WriteTimeout<I> {
    io: I,
    clock: Arc<dyn Clock>,
    most: Duration,
    /// Over when patience is; there while something waits to be written.
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<I> WriteTimeout<I> {
    pub(super) fn new(io: I, clock: Arc<dyn Clock>, most: Duration) -> Self {
        Self { io, clock, most, waiting: None }
    }

    /// What came of writing, unless there has been nothing but waiting for too long.
    fn in_time<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let (clock, most) = (&self.clock, self.most);
        let waiting = self.waiting.get_or_insert_with(|| {
            let (clock, end) = (Arc::clone(clock), clock.now().mono.after(most));
            Box::pin(async move { clock.sleep_until(end).await })
        });
        ready!(waiting.as_mut().poll(context));
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
        self.in_time(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.in_time(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(context);
        self.in_time(context, shut)
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
        self.in_time(context, written)
    }
}
