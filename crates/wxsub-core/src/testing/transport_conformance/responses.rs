//! What comes back is what the server wrote: nothing followed, nothing unpacked, nothing judged.

use std::time::Duration;

use bytes::Bytes;

use super::{Factory, answered, get, post};
use crate::testing::faulty_server::{FaultyServer, ScriptStep};
use crate::transport::{RequestState, Transport, TransportLimits};

/// 4096 zeros, compressed.
const GZIP: &[u8] = &[
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 237, 193, 1, 13, 0, 0, 0, 194, 160, 247, 79, 109, 15, 7, 20, 0, 0, 0,
    240, 110, 17, 0, 28, 199, 0, 16, 0, 0,
];

/// Any status is a reply, with its body as it came.
///
/// # Panics
/// If the contract is broken.
///
/// # Cancel safety
/// Not to be cancelled: a case is run to its end.
pub async fn statuses_and_bodies_come_back_untouched(factory: Factory<'_>) {
    let transport = factory(TransportLimits::default());
    for (status, body) in [
        (200, "{\"errcode\":0,\"errmsg\":\"\u{4f60}\"}"),
        (200, ""),
        (400, "{}"),
        (401, "who are you"),
        (407, "<html>"),
        (500, "{\"errcode\":0}"),
        (503, "\r\n\r\n"),
    ] {
        let server = FaultyServer::replying(ScriptStep::reply(status, body)).await;
        let reply = answered(&*transport, get(&server.base_url(""))).await;
        assert_eq!((reply.status, &reply.body[..]), (status, body.as_bytes()));
        assert_eq!(server.requests().len(), 1, "{status} was asked for more than once");
    }
    for status in [204, 304] {
        let server =
            FaultyServer::replying(ScriptStep::write(format!("HTTP/1.1 {status} Nothing\r\n\r\n"))).await;
        let reply = answered(&*transport, get(&server.base_url(""))).await;
        assert_eq!((reply.status, reply.body.len()), (status, 0));
    }
}

/// What time it is where the reply comes from is handed on as it is, sense or nonsense.
///
/// # Panics
/// If the contract is broken.
///
/// # Cancel safety
/// Not to be cancelled: a case is run to its end.
pub async fn the_date_comes_along(factory: Factory<'_>) {
    let transport = factory(TransportLimits::default());
    for (head, date) in [
        ("date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", Some("Sun, 06 Nov 1994 08:49:37 GMT")),
        ("date: yesterday\r\n", Some("yesterday")),
        ("", None),
    ] {
        let reply = format!("HTTP/1.1 200 OK\r\n{head}content-length: 2\r\n\r\n{{}}");
        let server = FaultyServer::replying(ScriptStep::write(reply)).await;
        let reply = answered(&*transport, get(&server.base_url(""))).await;
        assert_eq!(reply.date.as_deref(), date);
    }
}

/// `Retry-After` is handed on where it is a number of seconds.
///
/// # Panics
/// If the contract is broken.
///
/// # Cancel safety
/// Not to be cancelled: a case is run to its end.
pub async fn retry_after_comes_along(factory: Factory<'_>) {
    let transport = factory(TransportLimits::default());
    for (head, seconds) in [("retry-after: 60\r\n", Some(60)), ("retry-after: soon\r\n", None), ("", None)] {
        let reply = format!("HTTP/1.1 503 Later\r\n{head}content-length: 2\r\n\r\n{{}}");
        let server = FaultyServer::replying(ScriptStep::write(reply)).await;
        let reply = answered(&*transport, get(&server.base_url(""))).await;
        assert_eq!(reply.retry_after, seconds.map(Duration::from_secs));
    }
}

/// A redirect is a reply like any other: following it would hand the secret to whoever is named there.
///
/// # Panics
/// If the contract is broken.
///
/// # Cancel safety
/// Not to be cancelled: a case is run to its end.
pub async fn a_redirect_is_not_followed(factory: Factory<'_>) {
    let transport = factory(TransportLimits::default());
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = FaultyServer::replying(ScriptStep::reply(200, "{}")).await;
        let redirect = format!(
            "HTTP/1.1 {status} Elsewhere\r\nlocation: {}/login\r\ncontent-length: 2\r\n\r\n{{}}",
            elsewhere.base_url("")
        );
        let server = FaultyServer::replying(ScriptStep::write(redirect)).await;
        let reply = answered(&*transport, post(&server.base_url(""), "{}")).await;
        assert_eq!((reply.status, &reply.body[..]), (status, &b"{}"[..]));
        assert_eq!((server.requests().len(), elsewhere.connections()), (1, 0));
    }
}

/// Replies of 1xx before the real one are passed over.
///
/// # Panics
/// If the contract is broken.
///
/// # Cancel safety
/// Not to be cancelled: a case is run to its end.
pub async fn interim_replies_are_passed_over(factory: Factory<'_>) {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let script = vec![ScriptStep::Read, ScriptStep::write(interim), ScriptStep::Echo];
    let server = FaultyServer::start([script]).await;
    let transport = factory(TransportLimits::default());
    let reply = answered(&*transport, post(&server.base_url(""), "{}")).await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"{}"[..]));
}

/// A compressed body comes as it is, or is an error; expanded, a few bytes could fill the memory.
///
/// # Panics
/// If the contract is broken.
///
/// # Cancel safety
/// Not to be cancelled: a case is run to its end.
pub async fn a_compressed_body_is_not_expanded(factory: Factory<'_>) {
    let transport = factory(TransportLimits::default());
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", GZIP.len());
    let reply = Bytes::from([head.as_bytes(), GZIP].concat());
    let server = FaultyServer::replying(ScriptStep::Write(reply)).await;
    match transport.execute(get(&server.base_url(""))).await {
        Ok(reply) => assert_eq!(reply.body, GZIP),
        Err(error) => assert_eq!(error.stage(), RequestState::MaybeSent),
    }
}

/// A body in chunks comes back in one piece, without the trailers.
///
/// # Panics
/// If the contract is broken.
///
/// # Cancel safety
/// Not to be cancelled: a case is run to its end.
pub async fn chunks_are_joined(factory: Factory<'_>) {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let script = vec![
        ScriptStep::Read,
        ScriptStep::write(head),
        ScriptStep::write("1\r\n{\r\n"),
        ScriptStep::write("1;x=y\r\n}\r\n0\r\nx-after: 1\r\n\r\n"),
        ScriptStep::Hang,
    ];
    let server = FaultyServer::start([script]).await;
    let transport = factory(TransportLimits::default());
    let reply = answered(&*transport, get(&server.base_url(""))).await;
    assert_eq!(reply.body, "{}");
}

/// HTTP/1.0 with a length is good enough.
///
/// # Panics
/// If the contract is broken.
///
/// # Cancel safety
/// Not to be cancelled: a case is run to its end.
pub async fn an_old_reply_of_known_length_is_taken(factory: Factory<'_>) {
    let reply = "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    let server = FaultyServer::start([vec![ScriptStep::Read, ScriptStep::write(reply)]]).await;
    let transport = factory(TransportLimits::default());
    for _ in 0..2 {
        let reply = answered(&*transport, get(&server.base_url(""))).await;
        assert_eq!((reply.status, &reply.body[..]), (200, &b"{}"[..]));
    }
}
