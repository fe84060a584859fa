//! Connections that can be cut: an [`axum::serve`] whose faults are real on the wire.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Where connections come in.
pub(super) struct FaultListener(pub(super) TcpListener);

impl Listener for FaultListener {
    type Io = FaultStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (FaultStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        let cut = CutHandle::default();
        (FaultStream { stream, cut }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// The caller's end of a connection: where it is, and how to cut it.
#[derive(Clone)]
pub(super) struct ClientConnection {
    pub(super) address: SocketAddr,
    pub(super) cut: CutHandle,
}

impl Connected<IncomingStream<'_, FaultListener>> for ClientConnection {
    fn connect_info(incoming: IncomingStream<'_, FaultListener>) -> Self {
        let (address, cut) = (*incoming.remote_addr(), incoming.io().cut.clone());
        Self { address, cut }
    }
}

/// Says how many bytes at the end of the coming reply never leave; 0: all leave.
#[derive(Clone, Default)]
pub(super) struct CutHandle(Arc<AtomicUsize>);

const RESET: usize = usize::MAX;

impl CutHandle {
    /// The connection is reset instead of the coming reply.
    pub(super) fn reset(&self) {
        self.drop_last(RESET);
    }

    /// The connection is closed before these last bytes of the coming reply.
    pub(super) fn drop_last(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    fn dropped_bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One connection. It is written to by hyper, which puts a whole reply of ours, head and body, into one buffer.
pub(super) struct FaultStream {
    stream: TcpStream,
    cut: CutHandle,
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
        let dropped = self.cut.dropped_bytes();
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
