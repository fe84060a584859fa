//! The connection pool.
//!
//! hyper's own pool supports more (HTTP/2, and a race between a new connection and a returned one). It costs more per
//! request than the connection itself. This pool follows four rules:
//!
//! - A connection serves one request at a time.
//! - The connection that was used last is used first.
//! - A connection is not used after its idle timeout, or after the server closed it.
//! - A connection returns to the pool only after a complete response. After an error or a cancelled request it is
//!   closed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::{Executor, Timer};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use wxsub_core::clock::{Clock, ClockReading};
use wxsub_core::transport::{TransportError, TransportErrorKind};

use crate::connect::Connector;
use crate::error;

/// Idle connections to any number of hosts.
pub(crate) struct ConnectionPool {
    connector: Connector,
    idle_timeout: Duration,
    clock: Arc<dyn Clock>,
    state: Mutex<PoolState>,
}

#[derive(Default)]
struct PoolState {
    /// Idle connections and the time each expires, in the order of that time. After a suspend of the machine, only the wall
    /// clock shows that the server may have closed them.
    idle: Vec<(Box<Connection>, ClockReading)>,
    /// Whether an [`IdleReaper`] task exists.
    reaper_running: bool,
}

impl ConnectionPool {
    pub(crate) fn new(
        connector: Connector,
        idle_timeout: Duration,
        clock: impl Clock + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { connector, idle_timeout, clock: Arc::new(clock), state: Mutex::default() })
    }

    /// Returns an idle connection to this host, or opens a new one.
    pub(crate) async fn checkout(&self, key: &PoolKey) -> Result<Box<Connection>, TransportError> {
        match self.take_idle(key) {
            Some(connection) => Ok(connection),
            // Boxed, so that the future of a request on an idle connection stays small.
            None => Box::pin(Connection::open(&self.connector, key)).await.map(Box::new),
        }
    }

    fn take_idle(&self, key: &PoolKey) -> Option<Box<Connection>> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let is_usable = |(connection, expires_at): &(Box<Connection>, ClockReading)| {
            connection.key == *key && connection.sender.is_ready() && !expires_at.is_past(now)
        };
        if !state.idle.last().is_some_and(is_usable) {
            state.remove_expired(now);
        }
        let index = state.idle.iter().rposition(is_usable)?;
        Some(state.idle.remove(index).0)
    }

    /// Returns a connection to the pool. The caller must have read a complete response from it.
    pub(crate) fn checkin(self: &Arc<Self>, mut connection: Box<Connection>) {
        if connection.sender.is_closed() {
            return;
        }
        connection.has_served = true;
        let mut state = self.state.lock();
        state.idle.push((connection, self.clock.now() + self.idle_timeout));
        if !std::mem::replace(&mut state.reaper_running, true) {
            TokioExecutor::new().execute(IdleReaper(Arc::downgrade(self)).run(self.idle_timeout));
        }
    }
}

impl PoolState {
    fn remove_expired(&mut self, now: ClockReading) {
        self.idle
            .retain(|(connection, expires_at)| !connection.sender.is_closed() && !expires_at.is_past(now));
    }
}

/// The task that closes expired connections. It ends when no idle connection is left.
struct IdleReaper(Weak<ConnectionPool>);

impl IdleReaper {
    async fn run(self, interval: Duration) {
        loop {
            TokioTimer::new().sleep(interval).await;
            let Some(pool) = self.0.upgrade() else { return };
            let mut state = pool.state.lock();
            state.remove_expired(pool.clock.now());
            if state.idle.is_empty() {
                state.reaper_running = false;
                return;
            }
        }
    }
}

impl Drop for IdleReaper {
    /// Clears the flag. If the runtime shut down and dropped this task, the next [`ConnectionPool::checkin`] starts another.
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            pool.state.lock().reaper_running = false;
        }
    }
}

/// An HTTP/1.1 connection to one host.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    key: PoolKey,
    host: HeaderValue,
    /// Whether this connection has already returned a complete response.
    has_served: bool,
}

impl Connection {
    /// Opens a connection to the host of `key`.
    async fn open(connector: &Connector, key: &PoolKey) -> Result<Self, TransportError> {
        let (Some(key), Some(host)) = (key.to_detached(), key.host_header()) else {
            let detail = "the URL has no valid host";
            return Err(TransportError::before_sending(TransportErrorKind::Other, detail));
        };
        let stream = connector.connect(&key.uri_for(PathAndQuery::from_static("/"))).await?;
        let (mut sender, driver) =
            http1::handshake(stream).await.map_err(|error| error::connect_error(&error))?;
        TokioExecutor::new().execute(async {
            // The pending request receives the error as well.
            let _ = driver.await;
        });
        sender.ready().await.map_err(|error| error::connect_error(&error))?;
        Ok(Self { sender, key, host, has_served: false })
    }

    /// Sends the request and waits for the response head.
    ///
    /// Returns hyper's own future, because an `async` block around it would double its size.
    pub(crate) fn send(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>>> + use<> {
        request.headers_mut().insert(HOST, self.host.clone());
        self.sender.try_send_request(request)
    }

    /// Returns the request of a failed [`send`](Self::send) if this pooled connection was closed before the first byte was
    /// written. It can then go out on another connection.
    pub(crate) fn unsent_request(
        &self,
        mut error: TrySendError<Request<Full<Bytes>>>,
    ) -> Result<Request<Full<Bytes>>, TransportError> {
        match error.take_message() {
            Some(request) if self.has_served => Ok(request),
            Some(_) => Err(error::connect_error(&error.into_error())),
            None => Err(error::response_error(&error.into_error())),
        }
    }
}

/// Identifies a pooled connection: host, port and whether it uses TLS.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PoolKey {
    pub(crate) is_tls: bool,
    /// `None` if the URL had no host.
    authority: Option<Authority>,
}

impl PoolKey {
    /// Splits a URI into its key and its path with query.
    pub(crate) fn split_uri(uri: Uri) -> (Self, PathAndQuery) {
        let parts = uri.into_parts();
        let key = Self { is_tls: parts.scheme == Some(Scheme::HTTPS), authority: parts.authority };
        (key, parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/")))
    }

    /// Copies the key into memory of its own, so that it can be stored.
    ///
    /// The key shares the buffer of the URI, which contains an access token.
    fn to_detached(&self) -> Option<Self> {
        let authority = self.authority.as_ref()?.as_str().parse().ok()?;
        Some(Self { is_tls: self.is_tls, authority: Some(authority) })
    }

    /// The value of the `host` header. The default port is omitted.
    fn host_header(&self) -> Option<HeaderValue> {
        let authority = self.authority.as_ref()?;
        let default_port = if self.is_tls { 443 } else { 80 };
        let host = match authority.port_u16() {
            Some(port) if port != default_port => format!("{}:{port}", authority.host()),
            _ => authority.host().to_owned(),
        };
        HeaderValue::try_from(host).ok()
    }

    /// The absolute URI of `path` on this host.
    pub(crate) fn uri_for(&self, path: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(if self.is_tls { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = self.authority.clone();
        parts.path_and_query = Some(path);
        // This fails only without a host. Such a request is never sent.
        Uri::from_parts(parts).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use wxsub_core::testing::ManualClock;
    use wxsub_core::testing::faulty_server::{FaultyServer, ScriptStep};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// A pool with an idle connection to this server.
    async fn pool_with_connection(
        server: &FaultyServer,
        clock: &Arc<ManualClock>,
    ) -> (Arc<ConnectionPool>, PoolKey) {
        let tls = wxsub_tls::client_config(&wxsub_tls::Roots::Bundled).unwrap();
        let pool = ConnectionPool::new(Connector::new(tls, None, HOUR), HOUR, Arc::clone(clock));
        let (key, path) = PoolKey::split_uri(format!("http://{}/", server.address()).parse().unwrap());

        let mut connection = pool.checkout(&key).await.unwrap();
        let request = Request::builder().uri(path.as_str()).body(Full::default()).unwrap();
        let mut response = connection.send(request).await.unwrap();
        while response.body_mut().frame().await.is_some() {}
        pool.checkin(connection);
        while !pool.state.lock().idle.iter().all(|(connection, _)| connection.sender.is_ready()) {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.state.lock().idle.len(), 1);
        (pool, key)
    }

    /// While the machine is suspended, its monotonic clock stands still, and the server closes the connection.
    #[tokio::test]
    async fn connection_from_before_a_suspend_is_not_handed_out() {
        let (server, clock) =
            (FaultyServer::responding(ScriptStep::Echo).await, Arc::new(ManualClock::new()));
        let (pool, key) = pool_with_connection(&server, &clock).await;
        clock.set_forward(HOUR - Duration::from_secs(1));
        let connection = pool.take_idle(&key).unwrap();
        pool.checkin(connection);
        clock.set_forward(HOUR);
        assert!(pool.take_idle(&key).is_none());
        assert!(pool.state.lock().idle.is_empty());
    }

    #[tokio::test]
    async fn closed_connection_is_not_handed_out() {
        let server = FaultyServer::responding(ScriptStep::Echo).await;
        let (pool, key) = pool_with_connection(&server, &Arc::default()).await;
        // The server closes its connections. Wait until the task of this connection has noticed it.
        drop(server);
        while pool.state.lock().idle.iter().any(|(connection, _)| !connection.sender.is_closed()) {
            tokio::task::yield_now().await;
        }
        assert!(pool.take_idle(&key).is_none());
        assert!(pool.state.lock().idle.is_empty());
    }

    #[test]
    fn host_header_omits_default_port() {
        for (uri, expected) in [
            ("https://api.weixin.qq.com/x?access_token=T", "api.weixin.qq.com"),
            ("https://api.weixin.qq.com:443/", "api.weixin.qq.com"),
            ("https://api.weixin.qq.com:80/", "api.weixin.qq.com:80"),
            ("http://localhost:80/", "localhost"),
            ("http://[::1]:8460/", "[::1]:8460"),
        ] {
            let (key, _) = PoolKey::split_uri(uri.parse().unwrap());
            assert_eq!(key.host_header().unwrap(), expected, "{uri}");
        }
    }

    #[test]
    fn split_uri_and_uri_for_are_inverse() {
        for uri in ["https://api.weixin.qq.com/x?access_token=T", "http://127.0.0.1:1/p/q", "http://h/"] {
            let (key, path) = PoolKey::split_uri(uri.parse().unwrap());
            assert_eq!(key.to_detached().unwrap(), key);
            assert_eq!(key.uri_for(path), uri);
        }
        assert!(PoolKey::split_uri("/path".parse().unwrap()).0.to_detached().is_none());
    }
}
