//! Failures before anything was sent, so that a retry is safe.

use std::time::Duration;

use super::{Factory, assert_is, fails, get};
use crate::testing::faulty_server::{BlackHole, FaultyServer, ScriptStep, base_url, closed_port};
use crate::transport::{RequestState, TransportErrorKind, TransportLimits};

/// The connect timeout for a connection that is never complete.
const SHORT: Duration = Duration::from_millis(500);

/// The connect timeout where something else ends the exchange, also on a busy machine.
const LONG: Duration = Duration::from_secs(10);

/// Asserts that an exchange with this base URL fails in one of these ways, and that nothing was sent.
async fn is_unsent(factory: Factory<'_>, timeout: Duration, base: &str, faults: &[TransportErrorKind]) {
    let transport = factory(TransportLimits::default().connect(timeout));
    assert_is(&fails(&*transport, get(&base_url(base))).await, RequestState::NotSent, faults);
}

/// Nothing listens on the port.
pub async fn a_refused_connection(factory: Factory<'_>) {
    let base = format!("http://{}", closed_port().await);
    is_unsent(factory, LONG, &base, &[TransportErrorKind::Connect]).await;
}

/// The host name has no address. It is longer than DNS allows, so the case needs no DNS server.
pub async fn a_name_that_does_not_resolve(factory: Factory<'_>) {
    let base = format!("http://{}.invalid", "x".repeat(64));
    is_unsent(factory, LONG, &base, &[TransportErrorKind::Dns]).await;
}

/// The server never answers the TCP handshake. The connect timeout ends the exchange. Only on Linux, where loopback can
/// do this.
pub async fn a_connect_that_is_never_answered(factory: Factory<'_>) {
    if let Some(hole) = BlackHole::open().await {
        let base = format!("http://{}", hole.address());
        is_unsent(factory, SHORT, &base, &[TransportErrorKind::Connect]).await;
    }
}

/// The server never answers the TLS handshake, which the connect timeout covers too; or closes or resets the connection
/// during it.
pub async fn a_handshake_that_is_not_completed(factory: Factory<'_>) {
    for end in [ScriptStep::Hang, ScriptStep::Reset, ScriptStep::write("")] {
        let server = FaultyServer::start([vec![end]]).await;
        let base = format!("https://{}", server.address());
        is_unsent(factory, SHORT, &base, &[TransportErrorKind::Connect, TransportErrorKind::Tls]).await;
    }
}

/// The server answers the TLS handshake with plain HTTP.
pub async fn a_peer_that_speaks_no_tls(factory: Factory<'_>) {
    let plain = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let server = FaultyServer::start([vec![ScriptStep::write(plain), ScriptStep::Hang]]).await;
    let base = format!("https://{}", server.address());
    is_unsent(factory, LONG, &base, &[TransportErrorKind::Tls]).await;
}
