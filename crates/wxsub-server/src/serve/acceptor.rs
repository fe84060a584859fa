//! Accepts the connections of a listener within the limits, and serves those whose client has sent the whole head of a request, or the
//! beginning of a TLS handshake.
//!
//! Until then a connection is a socket and an entry in a map, without a task, so a flood of connections delays others little. The task
//! of an acceptor asks the kernel about all these sockets at once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::future::pending;
use std::io::{self, ErrorKind};
use std::mem::replace;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use httparse::Status;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Token};
use socket2::SockRef;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};
use wxsub_core::clock::MonotonicInstant;

use super::connection::{KEEP_ALIVE_GRACE, MAX_HEADER_BYTES, serve_connection};
use super::socket_poll::SocketPoll;
use super::start_queue::StartQueue;
use crate::apps::ServerState;
use crate::config::MAX_SIDE_CONNECTIONS;
use crate::state::connections::{Connections, OpenConnection};
use crate::state::limit::Limit;

/// Maximum number of connections that are accepted, of those whose heads are looked at, and of those that are closed, before other tasks
/// of the server run.
const MAX_AT_ONCE: usize = 8;

/// While connections wait to be accepted, how many of them are accepted before the next one is served.
const ACCEPTED_PER_START: usize = 32;

/// Maximum number of headers of a request, as in hyper.
const MAX_HEADERS: usize = 100;

/// Maximum number of replaced connections that stay open while connections wait to be accepted.
const MAX_REPLACED: usize = 256;

/// Wait before accepting again, after an error or at the connection limit.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// The token of the listener. Those of connections are their numbers.
const LISTENER: Token = Token(usize::MAX);

/// Accepts the connections of one listener.
pub(super) struct Acceptor {
    state: Arc<ServerState>,
    router: Router,
    connections: Arc<Connections>,
    /// Of all connections, and of those of one address.
    limits: (Limit, Limit),
    poll: SocketPoll,
    /// `None` after the stop.
    listener: Option<TcpListener>,
    /// Whether the listener may have a connection. If not, the poll says when it has one.
    may_accept: bool,
    accept_again_at: Option<MonotonicInstant>,
    /// A connection beyond the limit. It waits until another one has made room for it.
    held: Option<(TcpStream, SocketAddr)>,
    /// The connections that are not served yet, by their numbers, so in the order in which they were accepted.
    waiting: BTreeMap<u64, WaitingConnection>,
    queue: StartQueue,
    /// The number of connections that were accepted since the last start.
    accepted: usize,
    /// What a client has sent, while it is looked at.
    head: Box<[u8]>,
    /// Those that have made room for others of their address. Closing one costs more than accepting one, so it has time until no
    /// connection waits to be accepted.
    replaced: Vec<WaitingConnection>,
}

/// A connection that is not served yet. Dropping it closes it.
struct WaitingConnection {
    stream: TcpStream,
    peer: SocketAddr,
    open: OpenConnection,
    /// When it is closed if it is still here.
    deadline: MonotonicInstant,
    /// Whether the client has sent something that was not looked at, or has closed its side. Then the connection is in the queue.
    is_queued: bool,
    /// Whether the client has closed its side.
    is_ended: bool,
}

/// The task of an [`Acceptor`]. Dropping this stops it.
pub(super) struct Accepting {
    stop: oneshot::Sender<()>,
    /// Completes when the listener is closed.
    closed: oneshot::Receiver<()>,
    pub(super) task: JoinHandle<()>,
}

impl Acceptor {
    /// Accepts in a task of its own. So the runtime runs all tasks with requests before it accepts again: the future that it blocks
    /// on may have a thread of its own, which would compete with them.
    pub(super) fn start(
        state: &Arc<ServerState>,
        router: Router,
        connections: &Arc<Connections>,
        limits: (Limit, Limit),
        listener: tokio::net::TcpListener,
    ) -> Accepting {
        let ((stop, stopped), (closed_sender, closed)) = (oneshot::channel(), oneshot::channel::<()>());
        let (state, connections) = (Arc::clone(state), Arc::clone(connections));
        let task = tokio::spawn(async move {
            let mut acceptor = match Self::new(&state, router, connections, limits, listener) {
                Ok(acceptor) => acceptor,
                Err(error) => return tracing::error!(%error, "cannot accept connections"),
            };
            tokio::select! {
                biased;
                // Also if the sender is dropped.
                _ = stopped => {}
                () = acceptor.run() => {}
            }
            acceptor.close_listener();
            drop(closed_sender);
            let grace = async {
                state.shutdown_started().await;
                state.clock().sleep_until(state.clock().now().mono + KEEP_ALIVE_GRACE).await;
            };
            tokio::select! {
                biased;
                () = grace => {}
                () = acceptor.run() => {}
            }
        });
        Accepting { stop, closed, task }
    }

    fn new(
        state: &Arc<ServerState>,
        router: Router,
        connections: Arc<Connections>,
        limits: (Limit, Limit),
        listener: tokio::net::TcpListener,
    ) -> io::Result<Self> {
        let (poll, mut listener) = (SocketPoll::new()?, TcpListener::from_std(listener.into_std()?));
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            state: Arc::clone(state),
            router,
            connections,
            limits,
            poll,
            listener: Some(listener),
            may_accept: true,
            accept_again_at: None,
            held: None,
            waiting: BTreeMap::new(),
            queue: StartQueue::default(),
            accepted: 0,
            head: vec![0; MAX_HEADER_BYTES].into(),
            replaced: Vec::new(),
        })
    }

    /// Accepts and starts connections, until the listener is closed and no connection waits.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    async fn run(&mut self) {
        while self.listener.is_some() || !self.waiting.is_empty() {
            if self.queue.is_empty() && self.replaced.is_empty() && !self.is_accepting() {
                self.wait().await;
            }
            for event in self.poll.take_events() {
                match event.token() {
                    LISTENER => self.may_accept = true,
                    Token(number) => self.enqueue(number as u64, &event),
                }
            }
            self.accept();
            self.close_late();
            let is_accepting = self.is_accepting();
            if !is_accepting || self.accepted >= ACCEPTED_PER_START {
                self.start_next();
            }
            let spare = if is_accepting { MAX_REPLACED } else { 0 };
            self.close_replaced(self.replaced.len().saturating_sub(spare).min(MAX_AT_ONCE));
            // Requests on open connections come first. New ones would delay them.
            yield_now().await;
        }
    }

    fn now(&self) -> MonotonicInstant {
        self.state.clock().now().mono
    }

    /// Whether there may be a connection to accept or to open.
    fn is_accepting(&self) -> bool {
        (self.may_accept || self.held.is_some()) && self.accept_again_at.is_none_or(|at| at <= self.now())
    }

    /// Waits until a socket is ready, a connection is late, or there is room for the connection that is held.
    async fn wait(&mut self) {
        let state = Arc::clone(&self.state);
        let (connections, max, is_held) = (Arc::clone(&self.connections), self.max(), self.held.is_some());
        let first = self.waiting.first_key_value().map(|(_, first)| first.deadline);
        let end = [first, self.accept_again_at].into_iter().flatten().min();
        let end = async {
            match end {
                Some(end) => state.clock().sleep_until(end).await,
                None => pending().await,
            }
        };
        let room = async {
            match is_held {
                true => connections.wait_below(max).await,
                false => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.poll.ready(&**state.clock()) => {}
            () = room => self.accept_again_at = None,
            () = end => {}
        }
    }

    fn max(&self) -> usize {
        match self.limits.0 {
            Limit::Connections => self.state.max_connections(),
            _ => MAX_SIDE_CONNECTIONS,
        }
    }

    /// Accepts connections, up to the connection limit.
    fn accept(&mut self) {
        if !self.is_accepting() {
            return;
        }
        self.accept_again_at = None;
        for _ in 0..MAX_AT_ONCE {
            let held = self.held.take().map(Ok);
            let Some(accepted) = held.or_else(|| self.listener.as_ref().map(TcpListener::accept)) else {
                return;
            };
            match accepted {
                Ok((stream, peer)) if self.has_room() => {
                    self.accepted += 1;
                    self.open(stream, peer);
                }
                Ok(accepted) => {
                    self.held = Some(accepted);
                    return self.pause();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.may_accept = false;
                    return;
                }
                Err(error) if is_per_connection_error(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    return self.pause();
                }
            }
        }
    }

    fn pause(&mut self) {
        self.accept_again_at = Some(self.now() + ACCEPT_RETRY_DELAY);
    }

    /// Whether the number of connections is below the limit. At the limit, a connection that waits for its client is closed.
    fn has_room(&mut self) -> bool {
        let max = self.max();
        if self.connections.count() >= max {
            self.close_replaced(self.replaced.len());
        }
        if self.connections.count() >= max {
            self.state.record_limit(self.limits.0, &"all");
            let closed = self.connections.close_longest_waiting();
            self.replace(closed);
            self.close_replaced(self.replaced.len());
        }
        self.connections.count() < max
    }

    /// Takes a connection away that is not served yet. One that is served closes itself.
    fn replace(&mut self, number: Option<u64>) {
        self.replaced.extend(number.and_then(|number| self.waiting.remove(&number)));
    }

    /// Closes the oldest of the replaced connections.
    fn close_replaced(&mut self, count: usize) {
        for closed in self.replaced.drain(..count) {
            // A reset costs the kernel much less than an orderly end, and in a flood nothing else costs as much.
            let _ = SockRef::from(&closed.stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// Lets an accepted connection wait for its client. Closes it at once if its address is at its limit of busy connections.
    fn open(&mut self, mut stream: TcpStream, peer: SocketAddr) {
        let snapshot = self.state.snapshot();
        let (_, per_address) = self.limits;
        let max = match per_address {
            Limit::ConnectionsPerAddress => snapshot.limits.connections_per_address,
            _ => snapshot.limits.side_connections_per_address(),
        };
        let max = (!snapshot.is_proxy(peer.ip())).then_some(max);
        let opened = self.connections.open(peer.ip(), max);
        if !matches!(opened, Ok((_, None))) {
            self.state.record_limit(per_address, &peer.ip());
        }
        let Ok((open, closed)) = opened else { return };
        self.replace(closed);
        let (number, deadline) = (open.number(), self.now() + snapshot.limits.header);
        let Ok(token) = usize::try_from(number) else { return };
        if self.poll.registry().register(&mut stream, Token(token), Interest::READABLE).is_ok() {
            let waiting =
                WaitingConnection { stream, peer, open, deadline, is_queued: false, is_ended: false };
            self.waiting.insert(number, waiting);
        }
    }

    /// The client of a connection has sent something, or has closed it.
    fn enqueue(&mut self, number: u64, event: &Event) {
        let Some(waiting) = self.waiting.get_mut(&number) else { return };
        if event.is_error() {
            self.waiting.remove(&number);
            return;
        }
        waiting.is_ended |= event.is_read_closed();
        if !replace(&mut waiting.is_queued, true) {
            waiting.open.wait_anew();
            let address = waiting.open.address();
            self.queue.push(address, number, |number| self.waiting.contains_key(&number));
        }
    }

    /// Closes the connections that have waited too long.
    fn close_late(&mut self) {
        let now = self.now();
        while let Some(first) = self.waiting.first_entry()
            && first.get().deadline <= now
        {
            first.remove();
        }
    }

    /// Starts serving the next connection of the queue, if its client has sent enough for that.
    fn start_next(&mut self) {
        self.accepted = 0;
        let is_tls = self.state.snapshot().tls.is_some();
        for _ in 0..MAX_AT_ONCE {
            let Some(number) = self.queue.pop() else { return };
            let Entry::Occupied(mut waiting) = self.waiting.entry(number) else { continue };
            if !is_tls && has_part_of_head(&waiting.get().stream, &mut self.head) {
                // The rest of the head is another event.
                waiting.get_mut().is_queued = false;
                if waiting.get().is_ended {
                    waiting.remove();
                }
                continue;
            }
            let WaitingConnection { mut stream, peer, open, .. } = waiting.remove();
            open.wait_anew();
            let deregistered = self.poll.registry().deregister(&mut stream);
            if let Ok(stream) = deregistered.and_then(|()| tokio::net::TcpStream::from_std(stream.into())) {
                tokio::spawn(serve_connection(
                    Arc::clone(&self.state),
                    self.router.clone(),
                    stream,
                    peer,
                    open,
                ));
            }
            return;
        }
    }

    /// Accepts the remaining backlog, whose clients may have sent a request already, then closes the listener.
    fn close_listener(&mut self) {
        let held = self.held.take();
        let Some(listener) = self.listener.take() else { return };
        // The listener does not block: an error means that the backlog is empty.
        for (stream, peer) in held.into_iter().chain(std::iter::from_fn(|| listener.accept().ok())) {
            self.open(stream, peer);
        }
    }
}

impl Accepting {
    /// Waits until the remaining backlog is accepted, and the listener closed.
    pub(super) async fn stop(self) {
        drop(self.stop);
        // An error means the same.
        let _ = self.closed.await;
    }
}

/// Whether the client has sent nothing, or a part of a request's head that may become a valid one. It stays in the socket.
fn has_part_of_head(stream: &TcpStream, head: &mut [u8]) -> bool {
    match stream.peek(head) {
        Ok(length) if length < head.len() => {
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let sent = head.get(..length).unwrap_or_default();
            matches!(httparse::Request::new(&mut headers).parse(sent), Ok(Status::Partial))
        }
        // hyper refuses a head of this size.
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// Whether the error concerns one connection only, so that the next accept may succeed.
fn is_per_connection_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}
