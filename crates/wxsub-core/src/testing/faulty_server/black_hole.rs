use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// A loopback address whose handshakes are never answered, because its queue is full. It stays so until it is dropped.
#[derive(Debug)]
pub struct BlackHole {
    address: SocketAddr,
    _held: (TcpListener, TcpStream),
}

impl BlackHole {
    /// Opens one; `None` where the system does not drop what overflows its queue: everywhere but on Linux.
    ///
    /// # Panics
    /// If no loopback port can be had.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
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

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
