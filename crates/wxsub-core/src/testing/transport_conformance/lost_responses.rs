//! Failures after the request may have been sent. It is never repeated.

use std::time::Duration;

use bytes::Bytes;

use super::{Factory, assert_is, fails, post, settle};
use crate::testing::faulty_server::ScriptStep::{Again, Echo, Hang, Read, Reset, Trickle};
use crate::testing::faulty_server::{FaultyServer, ScriptStep};
use crate::transport::TransportErrorKind::{Broken, Connect, NotHttp, Timeout, TooLarge};
use crate::transport::{RequestState, TransportErrorKind, TransportLimits};

/// What the server does on the connection, and how the exchange fails.
type Loss = (Vec<ScriptStep>, &'static [TransportErrorKind]);

/// A request timeout in which the server has the request, also on a busy machine.
const LONG: Duration = Duration::from_secs(15);

/// Makes a POST to a server with each script. It must fail as listed, and must not be sent twice.
async fn are_lost(factory: Factory<'_>, limits: TransportLimits, losses: impl IntoIterator<Item = Loss>) {
    for (script, faults) in losses {
        let mut limits = limits;
        let (server, error) = loop {
            let server = FaultyServer::start([script.clone(), vec![Read, Echo, Again]]).await;
            let error = fails(&*factory(limits), post(&server.base_url(""), "{}")).await;
            // On a busy machine, the server may not have the request in time.
            if server.requests().is_empty() && limits.request_timeout < LONG {
                limits.request_timeout = LONG;
                continue;
            }
            break (server, error);
        };
        assert_is(&error, RequestState::MaybeSent, faults);
        server.has_read(1).await;
        settle().await;
        assert_eq!(server.requests().len(), 1, "the request was sent more than once: {script:?}");
    }
}

/// The server reads the request, and writes this text instead of a whole response.
fn after(text: &str, then: ScriptStep) -> Vec<ScriptStep> {
    vec![Read, ScriptStep::write(text), then]
}

/// The server resets the connection before it reads anything. The transport may or may not know that nothing was sent.
pub async fn a_reset_before_the_request_was_read(factory: Factory<'_>) {
    let server = FaultyServer::start([vec![Reset], vec![Read, Echo]]).await;
    let transport = factory(TransportLimits::default());
    let error = fails(&*transport, post(&server.base_url(""), "{}")).await;
    assert!([Broken, Connect].contains(&error.kind()), "{error:?}");
    settle().await;
    assert!(server.requests().is_empty(), "the request was sent again");
}

/// The server resets or closes the connection within the response, also where a body looks complete.
pub async fn a_connection_that_breaks(factory: Factory<'_>) {
    let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n";
    let scripts = [
        vec![Read, Reset],
        vec![Read],
        vec![Read, ScriptStep::write("HTTP/1.1 200 OK\r\ncontent-le")],
        vec![Read, ScriptStep::write("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}")],
        after("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", Reset),
        // The last chunk is missing.
        vec![Read, ScriptStep::write(chunks)],
    ];
    let losses = scripts.map(|script| (script, [Broken].as_slice()));
    are_lost(factory, TransportLimits::default(), losses).await;
}

/// The body has neither a length nor chunks. A truncated one would look complete, so it counts as lost.
pub async fn a_body_of_unknown_length(factory: Factory<'_>) {
    let heads = [
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 500 No\r\n\r\n",
    ];
    let losses =
        heads.map(|head| (vec![Read, ScriptStep::write(format!("{head}{{}}"))], [Broken].as_slice()));
    are_lost(factory, TransportLimits::default(), losses).await;
}

/// The server reads the request and never responds, or sends a body byte by byte that never ends. The timeout of the
/// exchange covers both.
pub async fn no_response_in_time(factory: Factory<'_>) {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n";
    let scripts = [vec![Read, Hang], after(head, Trickle(Bytes::from_static(b" ")))];
    let losses = scripts.map(|script| (script, [Timeout].as_slice()));
    are_lost(factory, TransportLimits::default().request_timeout(Duration::from_secs(1)), losses).await;
}

/// The response is not HTTP.
pub async fn a_response_that_is_not_http(factory: Factory<'_>) {
    let texts = [
        "SSH-2.0-OpenSSH_9.9\r\n",
        "<html>PLANTED-SECRET</html>\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
    ];
    let losses = texts.map(|text| (after(text, Hang), [NotHttp].as_slice()));
    are_lost(factory, TransportLimits::default(), losses).await;
}

/// The response has contradicting or invalid lengths. It is not read.
pub async fn lengths_that_contradict_each_other(factory: Factory<'_>) {
    let lengths = [
        "content-length: 2\r\ncontent-length: 3",
        "content-length: -2",
        "content-length: two",
        "content-length: 99999999999999999999999",
    ];
    let losses = lengths.map(|lengths| {
        let response = format!("HTTP/1.1 200 OK\r\n{lengths}\r\n\r\n{{}} ");
        (vec![Read, ScriptStep::write(response)], [NotHttp, Broken, TooLarge].as_slice())
    });
    are_lost(factory, TransportLimits::default(), losses).await;
}

/// A body whose announced length is too large is not read: the server never sends it.
pub async fn an_announced_body_that_is_too_large(factory: Factory<'_>) {
    let losses = ["1001", "1073741824", "18446744073709551614"].map(|length| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        (after(&head, Hang), [TooLarge].as_slice())
    });
    are_lost(factory, TransportLimits::default().body_bytes(1000), losses).await;
}
