//! A TCP server on loopback with faults that HTTP libraries never produce: it resets, hangs, trickles and floods.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use wxsub_proto::BaseUrl;

use crate::clock::{Clock, SystemClock, timeout_at};

/// Timeout of waits in tests.
const TEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A step of the server on a connection. At the end of the script the server closes the connection normally.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ScriptStep {
    /// Reads one whole request and records it.
    Read,
    /// Writes these bytes.
    Write(Bytes),
    /// Writes a response of status 200 with the body of the last request.
    Echo,
    /// Writes these bytes repeatedly, slowly and one by one, until the peer closes the connection.
    Trickle(Bytes),
    /// Writes these bytes repeatedly, as fast as the peer reads, until the peer closes the connection.
    Flood(Bytes),
    /// Writes nothing until the peer closes the connection.
    Hang,
    /// Resets the connection.
    Reset,
    /// Starts again at the first step.
    Again,
}

impl ScriptStep {
    /// Returns a [`ScriptStep::Write`] of this text.
    pub fn write(text: impl Into<String>) -> Self {
        Self::Write(Bytes::from(text.into()))
    }

    /// Returns a [`ScriptStep::Write`] of a complete response with this status and JSON body.
    pub fn response(status: u16, body: &str) -> Self {
        let length = body.len();
        Self::write(format!(
            "HTTP/1.1 {status} Because\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }
}

/// A request as it was received.
#[derive(Debug, Clone, PartialEq, Eq, getset::Getters)]
pub struct RawRequest {
    head: String,
    /// The body.
    #[getset(get = "pub")]
    body: Bytes,
}

impl RawRequest {
    /// Returns the first line.
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// Returns the values of all headers with this name, in any case.
    pub fn header(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }
}

/// What the server has recorded so far.
#[derive(Debug, Default)]
struct Seen {
    connections: usize,
    ended: usize,
    /// How many of them the peer has closed too.
    closed: usize,
    requests: Vec<RawRequest>,
}

/// A server with scripted faults. It listens on its own loopback port until it is dropped, and records connections
/// and requests.
#[derive(derive_more::Debug, getset::CopyGetters)]
#[debug("FaultyServer({address}, {:?})", seen.borrow())]
pub struct FaultyServer {
    /// Its address.
    #[getset(get_copy = "pub")]
    address: SocketAddr,
    seen: Arc<watch::Sender<Seen>>,
    accepting: JoinHandle<()>,
}

impl Drop for FaultyServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl FaultyServer {
    /// Starts a server. Its first connection follows the first script, and so on. The last script serves all
    /// further connections.
    ///
    /// # Panics
    /// If no loopback port is free, or outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropping the future starts nothing.
    #[expect(clippy::expect_used, reason = "test support: without a port there is no test")]
    pub async fn start<const N: usize>(scripts: [Vec<ScriptStep>; N]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a loopback port");
        let address = listener.local_addr().expect("a bound port");
        let seen = Arc::new(watch::Sender::new(Seen::default()));
        let accepting = tokio::spawn(accept(listener, scripts.into(), Arc::clone(&seen)));
        Self { address, seen, accepting }
    }

    /// Starts a server that runs this step for every request, on any number of connections.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    ///
    /// # Cancel safety
    /// Dropping the future starts nothing.
    pub async fn responding(response: ScriptStep) -> Self {
        Self::start([vec![ScriptStep::Read, response, ScriptStep::Again]]).await
    }

    /// Returns its base URL with this path prefix, which may be empty.
    ///
    /// # Panics
    /// If the prefix makes no valid base URL.
    pub fn base_url(&self, prefix: &str) -> BaseUrl {
        base_url(&format!("http://{}{prefix}", self.address))
    }

    /// Returns the number of accepted connections.
    pub fn connections(&self) -> usize {
        self.seen.borrow().connections
    }

    /// Returns the requests that it has read.
    pub fn requests(&self) -> Vec<RawRequest> {
        self.seen.borrow().requests.clone()
    }

    /// Waits until the server has read this number of requests.
    ///
    /// # Panics
    /// After 30 s.
    ///
    /// # Cancel safety
    /// Cancel safe: waiting changes nothing.
    pub async fn has_read(&self, requests: usize) {
        self.wait("requests", |seen| seen.requests.len() >= requests).await;
    }

    /// Waits until this number of connections has ended, by either side.
    ///
    /// # Panics
    /// After 30 s.
    ///
    /// # Cancel safety
    /// Cancel safe: waiting changes nothing.
    pub async fn has_ended(&self, connections: usize) {
        self.wait("ended connections", |seen| seen.ended >= connections).await;
    }

    /// Waits until this number of connections has ended, and the peer has closed them too. A peer that closes a connection
    /// only when it needs it again has a second.
    pub(crate) async fn has_closed(&self, connections: usize) {
        self.has_ended(connections).await;
        self.arrives(Duration::from_secs(1), |seen| seen.closed >= connections).await;
    }

    async fn wait(&self, what: &str, enough: impl FnMut(&Seen) -> bool) {
        let has_arrived = self.arrives(TEST_TIMEOUT, enough).await;
        assert!(has_arrived, "timed out waiting for more {what}: {self:?}");
    }

    /// Returns whether this is so in time.
    async fn arrives(&self, timeout: Duration, mut enough: impl FnMut(&Seen) -> bool) -> bool {
        let mut seen = self.seen.subscribe();
        let clock = SystemClock::new();
        let deadline = clock.now().mono + timeout;
        timeout_at(&clock, deadline, seen.wait_for(|seen| enough(seen))).await.is_some()
    }
}

/// Returns a base URL. Plaintext HTTP is allowed.
///
/// # Panics
/// If the text is no base URL.
#[expect(clippy::expect_used, reason = "test support: a wrong URL is a mistake in the test")]
pub(crate) fn base_url(text: &str) -> BaseUrl {
    BaseUrl::insecure(text).expect("a valid base URL")
}

/// Returns a loopback address on which nothing listens until the process ends: a socket has the port, and never listens.
///
/// # Panics
/// If no loopback port is free.
///
/// # Cancel safety
/// Cancel safe: it does not wait.
#[expect(clippy::expect_used, reason = "test support: without a port there is no test")]
pub async fn closed_port() -> SocketAddr {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a loopback port");
    let address = socket.local_addr().expect("a bound port");
    std::mem::forget(socket);
    address
}

/// Delay between two trickled bytes.
const TRICKLE_INTERVAL: Duration = Duration::from_millis(20);

/// Accepts connections. Dropping the future closes them.
async fn accept(listener: TcpListener, scripts: Vec<Vec<ScriptStep>>, seen: Arc<watch::Sender<Seen>>) {
    let mut open = JoinSet::new();
    let mut scripts = scripts.into_iter();
    let mut script = Vec::new();
    while let Ok((stream, _)) = listener.accept().await {
        script = scripts.next().unwrap_or(script);
        let connection = Connection { stream, unread: BytesMut::new(), seen: Arc::clone(&seen) };
        seen.send_modify(|seen| seen.connections += 1);
        open.spawn(connection.follow(script.clone()));
    }
}

/// A connection, with the bytes that are received but not read yet.
struct Connection {
    stream: TcpStream,
    unread: BytesMut,
    seen: Arc<watch::Sender<Seen>>,
}

/// A step fails if the peer closed the connection, or the server must.
impl Connection {
    async fn follow(mut self, script: Vec<ScriptStep>) {
        let mut next = 0;
        let mut body = Bytes::new();
        let seen = Arc::clone(&self.seen);
        while let Some(step) = script.get(next) {
            next = if matches!(step, ScriptStep::Again) { 0 } else { next + 1 };
            if self.run_step(step, &mut body).await.is_err() {
                drop(self);
                seen.send_modify(|seen| (seen.ended, seen.closed) = (seen.ended + 1, seen.closed + 1));
                return;
            }
        }
        // Closes the connection for writing only. A drop with unread bytes would reset it.
        let closed = self.stream.shutdown().await;
        seen.send_modify(|seen| seen.ended += 1);
        if closed.is_ok() {
            let _gone = self.run_step(&ScriptStep::Hang, &mut body).await;
        }
        seen.send_modify(|seen| seen.closed += 1);
    }

    async fn run_step(&mut self, step: &ScriptStep, body: &mut Bytes) -> io::Result<()> {
        match step {
            ScriptStep::Read => *body = self.read().await?,
            ScriptStep::Write(bytes) => self.stream.write_all(bytes).await?,
            ScriptStep::Echo => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                self.stream.write_all(head.as_bytes()).await?;
                self.stream.write_all(body).await?;
            }
            ScriptStep::Trickle(bytes) => {
                let clock = SystemClock::new();
                for byte in bytes.iter().cycle() {
                    self.stream.write_all(std::slice::from_ref(byte)).await?;
                    clock.sleep_until(clock.now().mono + TRICKLE_INTERVAL).await;
                }
            }
            ScriptStep::Flood(bytes) => loop {
                self.stream.write_all(bytes).await?;
            },
            ScriptStep::Hang => while self.stream.read_buf(&mut self.unread).await? > 0 {},
            ScriptStep::Reset => {
                self.stream.set_zero_linger()?;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            ScriptStep::Again => {}
        }
        Ok(())
    }

    /// Reads a head, and the body that its `content-length` announces.
    async fn read(&mut self) -> io::Result<Bytes> {
        let end_of_head = loop {
            match self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at,
                None => self.more().await?,
            }
        };
        let head = self.unread.split_to(end_of_head);
        self.unread.advance(4);
        let mut request =
            RawRequest { head: String::from_utf8_lossy(&head).into_owned(), body: Bytes::new() };
        let length = request.header("content-length");
        let length: usize = length.first().and_then(|text| text.parse().ok()).unwrap_or(0);
        while self.unread.len() < length {
            self.more().await?;
        }
        request.body = self.unread.split_to(length).freeze();
        let body = request.body.clone();
        self.seen.send_modify(|seen| seen.requests.push(request));
        Ok(body)
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// A loopback address that never completes a TCP handshake, because its queue is full.
#[derive(Debug, getset::CopyGetters)]
pub struct BlackHole {
    /// The address.
    #[getset(get_copy = "pub")]
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
}
