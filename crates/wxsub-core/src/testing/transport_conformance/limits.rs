//! A response uses a bounded amount of memory.

use bytes::Bytes;

use super::{Factory, assert_is, fails, get, succeeds};
use crate::testing::faulty_server::{FaultyServer, ScriptStep};
use crate::transport::{RequestState, TransportErrorKind, TransportLimits};

const TOO_LARGE: &[TransportErrorKind] = &[TransportErrorKind::TooLarge];

/// A body of exactly the maximum length is read.
pub async fn a_body_of_the_largest_size(factory: Factory<'_>) {
    let body = "x".repeat(1000);
    let chunked = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3e8\r\n{body}\r\n0\r\n\r\n");
    for response in [ScriptStep::response(200, &body), ScriptStep::write(chunked)] {
        let server = FaultyServer::responding(response).await;
        let transport = factory(TransportLimits::default().body_bytes(1000));
        assert_eq!(succeeds(&*transport, get(&server.base_url(""))).await.body, body);
    }
}

/// Endless chunks are read up to the limit. Then the transport closes the connection.
pub async fn endless_chunks(factory: Factory<'_>) {
    let head = ScriptStep::write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    let chunk = Bytes::from(format!("3e8\r\n{}\r\n", "x".repeat(1000)));
    let server = FaultyServer::start([vec![ScriptStep::Read, head, ScriptStep::Flood(chunk)]]).await;
    let transport = factory(TransportLimits::default());
    let error = fails(&*transport, get(&server.base_url(""))).await;
    assert_is(&error, RequestState::MaybeSent, TOO_LARGE);
    server.has_ended(1).await;
    assert_eq!(server.requests().len(), 1);
}

/// An endless head is also bounded.
pub async fn an_endless_head(factory: Factory<'_>) {
    let one_long =
        (ScriptStep::write("HTTP/1.1 200 OK\r\nx: "), ScriptStep::Flood(Bytes::from_static(&[b'x'; 1000])));
    let many = (
        ScriptStep::write("HTTP/1.1 200 OK\r\n"),
        ScriptStep::Flood(Bytes::from_static(b"x-filler: 0123456789\r\n")),
    );
    for (start, flood) in [one_long, many] {
        let server = FaultyServer::start([vec![ScriptStep::Read, start, flood]]).await;
        let transport = factory(TransportLimits::default());
        let error = fails(&*transport, get(&server.base_url(""))).await;
        let faults = [TransportErrorKind::TooLarge, TransportErrorKind::NotHttp];
        assert_is(&error, RequestState::MaybeSent, &faults);
        server.has_ended(1).await;
        assert_eq!(server.requests().len(), 1);
    }
}
