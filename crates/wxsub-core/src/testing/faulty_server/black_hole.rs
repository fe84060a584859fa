use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// A loopback address that never completes a TCP handshake, because its queue is full.
#[derive(Debug)]
pub struct BlackHole {
    address: SocketAddr,
    _held: (TcpListener, TcpStream),
}

impl BlackHole {
    /// Opens a black hole. `None` on systems other than Linux, which complete the handshake.
    ///
    /// # Panics
    /// If no loopback port is free.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future leaves nothing behind.
    #[expect(clippy::expect_used, reason = "test support: without a port there is no test")]
    pub async fn open() -> Option<Self> {
        if !cfg!(target_os = "linux") {
            return None;
        }
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a loopback port");
        // A queue of length zero holds one connection.
        let listener = socket.listen(0).expect("a listening socket");
        let address = listener.local_addr().expect("a bound port");
        let first = TcpStream::connect(address).await.expect("room for one connection");
        Some(Self { address, _held: (listener, first) })
    }

    /// Returns the address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
