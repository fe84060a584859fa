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
pub(super) struct Door(pub(super) TcpListener);

impl Listener for Door {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        let cut = Cut::default();
        (Wire { stream, cut }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// The caller's end of a connection: where it is, and how to cut it.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) cut: Cut,
}

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(incoming: IncomingStream<'_, Door>) -> Self {
        let (address, cut) = (*incoming.remote_addr(), incoming.io().cut.clone());
        Self { address, cut }
    }
}

/// Says how many bytes at the end of the coming reply never leave; 0: all leave.
#[derive(Clone, Default)]
pub(super) struct Cut(Arc<AtomicUsize>);

const EVERYTHING: usize = usize::MAX;

impl Cut {
    /// The connection is reset instead of the coming reply.
    pub(super) fn reset(&self) {
        self.leave_out(EVERYTHING);
    }

    /// The connection is closed before these last bytes of the coming reply.
    pub(super) fn leave_out(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    fn left_out(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One connection. It is written to by hyper, which puts a whole reply of ours, head and body, into one buffer.
pub(super) struct Wire {
    stream: TcpStream,
    cut: Cut,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let left_out = self.cut.left_out();
        let leaves = buf.split_at_checked(buf.len().saturating_sub(left_out));
        match leaves {
            Some((leaves, _)) if left_out == 0 || !leaves.is_empty() => {
                Pin::new(&mut self.stream).poll_write(cx, leaves)
            }
            _ => {
                if left_out == EVERYTHING {
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
