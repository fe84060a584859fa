//! Failures before anything was sent, so that a retry is safe.

use std::time::Duration;

use wxsub_proto::BaseUrl;

use super::{Factory, assert_is, fails, get};
use crate::testing::faulty_server::{BlackHole, FaultyServer, ScriptStep, base_url, closed_port};
use crate::transport::{RequestState, TransportErrorKind, TransportLimits};

/// Nothing listens on the port.
pub async fn a_refused_connection(factory: Factory<'_>) {
    let base = base_url(&format!("http://{}", closed_port().await));
    let error = fails(&*factory(TransportLimits::default()), get(&base)).await;
    assert_is(&error, RequestState::NotSent, &[TransportErrorKind::Connect]);
}

/// The host name has no address. It is longer than DNS allows, so the case needs no DNS server.
pub async fn a_name_that_does_not_resolve(factory: Factory<'_>) {
    let base = base_url(&format!("http://{}.invalid", "x".repeat(64)));
    let error = fails(&*factory(TransportLimits::default()), get(&base)).await;
    assert_is(&error, RequestState::NotSent, &[TransportErrorKind::Dns]);
}

/// The server never answers the TCP handshake. The connect timeout ends the exchange. Only on Linux, where loopback can
/// do this.
pub async fn a_connect_that_is_never_answered(factory: Factory<'_>) {
    let Some(hole) = BlackHole::open().await else {
        return;
    };
    let transport = factory(TransportLimits::default().connect(Duration::from_millis(500)));
    let base = base_url(&format!("http://{}", hole.address()));
    let error = fails(&*transport, get(&base)).await;
    assert_is(&error, RequestState::NotSent, &[TransportErrorKind::Connect]);
}

/// The server never answers the TLS handshake. The connect timeout covers it too.
pub async fn a_handshake_that_is_never_answered(factory: Factory<'_>) {
    let server = FaultyServer::start([vec![ScriptStep::Hang]]).await;
    let transport = factory(TransportLimits::default().connect(Duration::from_millis(500)));
    let error = fails(&*transport, get(&over_tls(&server))).await;
    let faults = [TransportErrorKind::Connect, TransportErrorKind::Tls];
    assert_is(&error, RequestState::NotSent, &faults);
}

/// The server closes or resets the connection during the TLS handshake.
pub async fn a_handshake_that_is_cut_off(factory: Factory<'_>) {
    for end in [ScriptStep::Reset, ScriptStep::write("")] {
        let server = FaultyServer::start([vec![end]]).await;
        let error = fails(&*factory(TransportLimits::default()), get(&over_tls(&server))).await;
        let faults = [TransportErrorKind::Connect, TransportErrorKind::Tls];
        assert_is(&error, RequestState::NotSent, &faults);
    }
}

/// The server answers the TLS handshake with plain HTTP.
pub async fn a_peer_that_speaks_no_tls(factory: Factory<'_>) {
    let plain =
        ScriptStep::write("HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    let server = FaultyServer::start([vec![plain, ScriptStep::Hang]]).await;
    let error = fails(&*factory(TransportLimits::default()), get(&over_tls(&server))).await;
    assert_is(&error, RequestState::NotSent, &[TransportErrorKind::Tls]);
}

fn over_tls(server: &FaultyServer) -> BaseUrl {
    base_url(&format!("https://{}", server.address()))
}
