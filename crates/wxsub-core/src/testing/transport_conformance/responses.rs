//! The response is exactly what the server wrote.

use std::time::Duration;

use bytes::Bytes;

use super::{Factory, get, post, succeeds};
use crate::testing::faulty_server::{FaultyServer, ScriptStep};
use crate::transport::{RequestState, Transport, TransportErrorKind, TransportLimits};

/// 4096 zeros, compressed.
const GZIP: &[u8] = &[
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 237, 193, 1, 13, 0, 0, 0, 194, 160, 247, 79, 109, 15, 7, 20, 0, 0, 0,
    240, 110, 17, 0, 28, 199, 0, 16, 0, 0,
];

/// A response of any status is returned, with its body unchanged.
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
        let server = FaultyServer::responding(ScriptStep::response(status, body)).await;
        let response = succeeds(&*transport, get(&server.base_url(""))).await;
        assert_eq!((response.status, &response.body[..]), (status, body.as_bytes()));
        assert_eq!(server.requests().len(), 1, "{status} was requested more than once");
    }
    for status in [204, 304] {
        let server =
            FaultyServer::responding(ScriptStep::write(format!("HTTP/1.1 {status} Nothing\r\n\r\n"))).await;
        let response = succeeds(&*transport, get(&server.base_url(""))).await;
        assert_eq!((response.status, response.body.len()), (status, 0));
    }
}

/// The `date` header is returned unchanged, valid or not, and `Retry-After` if it is a number of seconds.
pub async fn date_and_retry_after_are_returned(factory: Factory<'_>) {
    let transport = factory(TransportLimits::default());
    for (head, date, seconds) in [
        ("date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", Some("Sun, 06 Nov 1994 08:49:37 GMT"), None),
        ("date: yesterday\r\nretry-after: 60\r\n", Some("yesterday"), Some(60)),
        ("retry-after: soon\r\n", None, None),
        ("", None, None),
    ] {
        let response = format!("HTTP/1.1 503 Later\r\n{head}content-length: 2\r\n\r\n{{}}");
        let server = FaultyServer::responding(ScriptStep::write(response)).await;
        let response = succeeds(&*transport, get(&server.base_url(""))).await;
        assert_eq!(
            (response.date.as_deref(), response.retry_after),
            (date, seconds.map(Duration::from_secs))
        );
    }
}

/// A redirect is not followed: that would send the secret to another server.
pub async fn a_redirect_is_not_followed(factory: Factory<'_>) {
    let transport = factory(TransportLimits::default());
    for status in [301, 302, 303, 307, 308] {
        let target = FaultyServer::responding(ScriptStep::response(200, "{}")).await;
        let redirect = format!(
            "HTTP/1.1 {status} Elsewhere\r\nlocation: {}/login\r\ncontent-length: 2\r\n\r\n{{}}",
            target.base_url("")
        );
        let server = FaultyServer::responding(ScriptStep::write(redirect)).await;
        let response = succeeds(&*transport, post(&server.base_url(""), "{}")).await;
        assert_eq!((response.status, &response.body[..]), (status, &b"{}"[..]));
        assert_eq!((server.requests().len(), target.connections()), (1, 0));
    }
}

/// Responses of 1xx before the final one are skipped.
pub async fn interim_responses_are_skipped(factory: Factory<'_>) {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let script = vec![ScriptStep::Read, ScriptStep::write(interim), ScriptStep::Echo];
    let server = FaultyServer::start([script]).await;
    let transport = factory(TransportLimits::default());
    let response = succeeds(&*transport, post(&server.base_url(""), "{}")).await;
    assert_eq!((response.status, &response.body[..]), (200, &b"{}"[..]));
}

/// A compressed body is returned unchanged, or is an error. Expanded, a few bytes could fill the memory.
pub async fn a_compressed_body_is_not_expanded(factory: Factory<'_>) {
    let transport = factory(TransportLimits::default());
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", GZIP.len());
    let response = Bytes::from([head.as_bytes(), GZIP].concat());
    let server = FaultyServer::responding(ScriptStep::Write(response)).await;
    match transport.execute(get(&server.base_url(""))).await {
        Ok(response) => assert_eq!(response.body, GZIP),
        Err(error) => assert_eq!(error.request_state(), RequestState::MaybeSent),
    }
}

/// A chunked body is returned in one piece, without trailers.
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
    let response = succeeds(&*transport, get(&server.base_url(""))).await;
    assert_eq!(response.body, "{}");
}

/// A response of HTTP/1.0 with a length is read.
pub async fn http_1_0_response_with_length_is_read(factory: Factory<'_>) {
    let response = "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    let server = FaultyServer::start([vec![ScriptStep::Read, ScriptStep::write(response)]]).await;
    let transport = factory(TransportLimits::default());
    for _ in 0..2 {
        let response = succeeds(&*transport, get(&server.base_url(""))).await;
        assert_eq!((response.status, &response.body[..]), (200, &b"{}"[..]));
    }
}

/// Status and headers are returned, also if the body has no length, is too short or too large, or never ends.
pub async fn a_body_that_is_ignored_may_be_incomplete(factory: Factory<'_>) {
    let hour = Duration::from_secs(3600);
    let transport = factory(TransportLimits::default().body_bytes(10).request_timeout(hour));
    let closed = [
        "HTTP/1.0 202 Ok\r\nretry-after: 7\r\n\r\nstored",
        "HTTP/1.1 202 Ok\r\nretry-after: 7\r\n\r\n",
        "HTTP/1.1 202 Ok\r\nretry-after: 7\r\nconnection: close\r\n\r\nstored",
        "HTTP/1.1 202 Ok\r\nretry-after: 7\r\ncontent-length: 6\r\n\r\nsto",
        "HTTP/1.1 202 Ok\r\nretry-after: 7\r\ncontent-length: 11\r\n\r\n12345678901",
    ]
    .map(|response| vec![ScriptStep::Read, ScriptStep::write(response)]);
    let stalled = [
        "HTTP/1.1 202 Ok\r\nretry-after: 7\r\ncontent-length: 6\r\n\r\nsto",
        "HTTP/1.1 202 Ok\r\nretry-after: 7\r\ntransfer-encoding: chunked\r\n\r\n3\r\nsto\r\n",
    ]
    .map(|response| vec![ScriptStep::Read, ScriptStep::write(response), ScriptStep::Hang]);
    for script in closed.into_iter().chain(stalled) {
        let server = FaultyServer::start([script]).await;
        let request = post(&server.base_url(""), "{}").ignore_response_body();
        let response = succeeds(&*transport, request).await;
        assert_eq!((response.status, response.retry_after), (202, Some(Duration::from_secs(7))));
    }
}

/// A request may set another maximum length of the body than the transport has.
pub async fn a_request_sets_the_length_of_its_response(factory: Factory<'_>) {
    let transport = factory(TransportLimits::default().body_bytes(10));
    for (length, max) in [(11, 11), (11, 10), (9, 8)] {
        let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{}", "x".repeat(length));
        let server = FaultyServer::start([vec![ScriptStep::Read, ScriptStep::write(&response)]]).await;
        let request = get(&server.base_url("")).max_response_bytes(max);
        let read = transport.execute(request).await.map(|response| response.body.len());
        let expected = if length <= max { Ok(length) } else { Err(TransportErrorKind::TooLarge) };
        assert_eq!(read.map_err(|error| error.kind()), expected);
    }
}
