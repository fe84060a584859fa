//! A TCP server on this machine that does what an HTTP library never would: it resets, hangs, trickles and floods.

mod black_hole;
mod connection;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wxsub_proto::BaseUrl;

pub use black_hole::BlackHole;

use crate::clock::{Clock, SystemClock, timeout_at};

/// How long the server waits for what a test says will happen.
const TEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What the server does next on a connection. A connection whose script has ended is closed in good order.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ScriptStep {
    /// Reads one request to its end and keeps it.
    Read,
    /// Writes these bytes.
    Write(Bytes),
    /// Answers the request just read: status 200 and the body it came with.
    Echo,
    /// Writes these bytes over and over, one by one and slowly, until the other side goes away.
    Trickle(Bytes),
    /// Writes these bytes over and over, as fast as they are taken, until the other side goes away.
    Flood(Bytes),
    /// Says nothing more until the other side goes away.
    Hang,
    /// Resets the connection.
    Reset,
    /// Starts the script again.
    Again,
}

impl ScriptStep {
    /// [`ScriptStep::Write`] of this text.
    #[must_use]
    pub fn write(text: impl Into<String>) -> Self {
        Self::Write(Bytes::from(text.into()))
    }

    /// [`ScriptStep::Write`] of a complete reply of this status, with a JSON body.
    #[must_use]
    pub fn reply(status: u16, body: &str) -> Self {
        let length = body.len();
        Self::write(format!(
            "HTTP/1.1 {status} Because\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }
}

/// A request as it came over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRequest {
    head: String,
    body: Bytes,
}

impl RawRequest {
    /// The first line.
    #[must_use]
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// The values of all headers of this name, whatever their case.
    #[must_use]
    pub fn header(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

/// What has happened so far.
#[derive(Debug, Default)]
struct Seen {
    connections: usize,
    ended: usize,
    requests: Vec<RawRequest>,
}

/// The server. It listens on a loopback port of its own until it is dropped, and counts what comes.
pub struct FaultyServer {
    address: SocketAddr,
    seen: Arc<watch::Sender<Seen>>,
    accepting: JoinHandle<()>,
}

impl fmt::Debug for FaultyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawServer({}, {:?})", self.address, self.seen.borrow())
    }
}

impl Drop for FaultyServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl FaultyServer {
    /// Starts a server whose first connection follows the first script, and so on; the last script serves all others.
    ///
    /// # Panics
    /// If no loopback port can be had, or outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropping the future starts nothing.
    pub async fn start<const N: usize>(scripts: [Vec<ScriptStep>; N]) -> Self {
        let (address, listener) = listen().await;
        let seen = Arc::new(watch::Sender::new(Seen::default()));
        let accepting = tokio::spawn(connection::accept(listener, scripts.into(), Arc::clone(&seen)));
        Self { address, seen, accepting }
    }

    /// Starts a server that does this for every request, on as many connections as it takes.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    ///
    /// # Cancel safety
    /// Dropping the future starts nothing.
    pub async fn replying(reply: ScriptStep) -> Self {
        Self::start([vec![ScriptStep::Read, reply, ScriptStep::Again]]).await
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL: `http://`, and this path prefix, which may be empty.
    ///
    /// # Panics
    /// If the prefix makes no valid base URL.
    #[must_use]
    pub fn base_url(&self, prefix: &str) -> BaseUrl {
        base_url(&format!("http://{}{prefix}", self.address))
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.seen.borrow().connections
    }

    /// The requests it has read to their end.
    #[must_use]
    pub fn requests(&self) -> Vec<RawRequest> {
        self.seen.borrow().requests.clone()
    }

    /// Waits until it has read this many requests.
    ///
    /// # Panics
    /// If that takes longer than half a minute.
    ///
    /// # Cancel safety
    /// Waiting changes nothing.
    pub async fn has_read(&self, requests: usize) {
        self.wait("requests", |seen| seen.requests.len() >= requests).await;
    }

    /// Waits until this many connections have ended, by either side.
    ///
    /// # Panics
    /// If that takes longer than half a minute.
    ///
    /// # Cancel safety
    /// Waiting changes nothing.
    pub async fn has_ended(&self, connections: usize) {
        self.wait("ended connections", |seen| seen.ended >= connections).await;
    }

    async fn wait(&self, what: &str, mut enough: impl FnMut(&Seen) -> bool) {
        let mut seen = self.seen.subscribe();
        let clock = SystemClock::new();
        let deadline = clock.now().mono.after(TEST_TIMEOUT);
        let came = timeout_at(&clock, deadline, seen.wait_for(|seen| enough(seen))).await.is_some();
        assert!(came, "waited in vain for more {what}: {self:?}");
    }
}

/// A base URL, with plaintext allowed.
///
/// # Panics
/// If it is not one.
#[expect(clippy::expect_used, reason = "test support: a wrong URL is a mistake in the test")]
pub(crate) fn base_url(text: &str) -> BaseUrl {
    BaseUrl::insecure(text).expect("a valid base URL")
}

#[expect(clippy::expect_used, reason = "test support: without a port there is no test")]
async fn listen() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a loopback port");
    (listener.local_addr().expect("a bound port"), listener)
}

/// A loopback address at which nothing listens.
///
/// # Panics
/// If no loopback port can be had.
///
/// # Cancel safety
/// Dropping the future leaves nothing behind.
pub async fn closed_port() -> SocketAddr {
    listen().await.0
}
