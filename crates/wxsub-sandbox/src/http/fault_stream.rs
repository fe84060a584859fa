//! A connection that can be reset or closed in the middle of a response.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Sets how many bytes at the end of the next response are dropped. 0 means none.
#[derive(Clone, Default)]
pub(super) struct CutHandle(Arc<AtomicUsize>);

const RESET: usize = usize::MAX;

impl CutHandle {
    /// Resets the connection instead of sending the next response.
    pub(super) fn reset(&self) {
        self.drop_last(RESET);
    }

    /// Closes the connection before the last `bytes` bytes of the next response.
    pub(super) fn drop_last(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

/// One connection. hyper writes each response of the sandbox, head and body, as one buffer.
pub(super) struct FaultStream {
    pub(super) stream: TcpStream,
    pub(super) cut: CutHandle,
}

impl AsyncRead for FaultStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for FaultStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let dropped = self.cut.0.load(Ordering::Relaxed);
        let sent = buf.split_at_checked(buf.len().saturating_sub(dropped));
        match sent {
            Some((sent, _)) if dropped == 0 || !sent.is_empty() => {
                Pin::new(&mut self.stream).poll_write(cx, sent)
            }
            _ => {
                if dropped == RESET {
                    self.stream.set_zero_linger()?;
                }
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
