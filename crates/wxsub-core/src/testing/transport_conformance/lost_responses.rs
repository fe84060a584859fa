//! Failures after the request may have been sent. It is never repeated.

use bytes::Bytes;

use super::{Factory, fails, is_lost, post, settle, short};
use crate::testing::faulty_server::{FaultyServer, ScriptStep};
use crate::transport::{TransportErrorKind, TransportLimits};

const BROKEN: &[TransportErrorKind] = &[TransportErrorKind::Broken];

/// The server resets the connection before it reads anything. The transport may or may not know that nothing was sent.
pub async fn a_reset_before_the_request_was_read(factory: Factory<'_>) {
    let server =
        FaultyServer::start([vec![ScriptStep::Reset], vec![ScriptStep::Read, ScriptStep::Echo]]).await;
    let transport = factory(TransportLimits::default());
    let error = fails(&*transport, post(&server.base_url(""), "{}")).await;
    let faults = [TransportErrorKind::Broken, TransportErrorKind::Connect];
    assert!(faults.contains(&error.kind()), "{error:?}");
    settle().await;
    assert!(server.requests().is_empty(), "the request was sent again");
}

/// The server resets the connection after it read the request.
pub async fn a_reset_after_the_request_was_read(factory: Factory<'_>) {
    is_lost(&*factory(TransportLimits::default()), vec![ScriptStep::Read, ScriptStep::Reset], BROKEN).await;
}

/// The server closes the connection normally, without a response.
pub async fn a_close_instead_of_a_response(factory: Factory<'_>) {
    is_lost(&*factory(TransportLimits::default()), vec![ScriptStep::Read], BROKEN).await;
}

/// The server closes the connection within the head of the response.
pub async fn a_close_within_the_head(factory: Factory<'_>) {
    let script = vec![ScriptStep::Read, ScriptStep::write("HTTP/1.1 200 OK\r\ncontent-le")];
    is_lost(&*factory(TransportLimits::default()), script, BROKEN).await;
}

/// The body is shorter than its `content-length`, but looks complete.
pub async fn a_body_cut_short(factory: Factory<'_>) {
    let cut = ScriptStep::write("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}");
    is_lost(&*factory(TransportLimits::default()), vec![ScriptStep::Read, cut], BROKEN).await;
}

/// The last chunk is missing.
pub async fn chunks_cut_short(factory: Factory<'_>) {
    let cut = ScriptStep::write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n");
    is_lost(&*factory(TransportLimits::default()), vec![ScriptStep::Read, cut], BROKEN).await;
}

/// The server resets the connection within the body.
pub async fn a_reset_within_the_body(factory: Factory<'_>) {
    let begun = ScriptStep::write("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}");
    is_lost(&*factory(TransportLimits::default()), vec![ScriptStep::Read, begun, ScriptStep::Reset], BROKEN)
        .await;
}

/// The body has neither a length nor chunks. A truncated one would look complete, so it counts as lost.
pub async fn a_body_of_unknown_length(factory: Factory<'_>) {
    for head in
        ["HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", "HTTP/1.1 500 No\r\n\r\n"]
    {
        let script = vec![ScriptStep::Read, ScriptStep::write(format!("{head}{{}}"))];
        is_lost(&*factory(TransportLimits::default()), script, BROKEN).await;
    }
}

/// The server reads the request and never responds.
pub async fn no_response_in_time(factory: Factory<'_>) {
    let script = vec![ScriptStep::Read, ScriptStep::Hang];
    is_lost(&*factory(short()), script, &[TransportErrorKind::Timeout]).await;
}

/// The body arrives byte by byte and never ends. The timeout of the exchange covers it.
pub async fn a_body_that_never_ends(factory: Factory<'_>) {
    let head = ScriptStep::write("HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n");
    let script = vec![ScriptStep::Read, head, ScriptStep::Trickle(Bytes::from_static(b" "))];
    is_lost(&*factory(short()), script, &[TransportErrorKind::Timeout]).await;
}

/// The response is not HTTP.
pub async fn a_response_that_is_not_http(factory: Factory<'_>) {
    for garbage in [
        "SSH-2.0-OpenSSH_9.9\r\n",
        "<html>PLANTED-SECRET</html>\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
    ] {
        let script = vec![ScriptStep::Read, ScriptStep::write(garbage), ScriptStep::Hang];
        is_lost(&*factory(TransportLimits::default()), script, &[TransportErrorKind::NotHttp]).await;
    }
}

/// The response has contradicting or invalid lengths. It is not read.
pub async fn lengths_that_contradict_each_other(factory: Factory<'_>) {
    for lengths in [
        "content-length: 2\r\ncontent-length: 3",
        "content-length: -2",
        "content-length: two",
        "content-length: 99999999999999999999999",
    ] {
        let response = format!("HTTP/1.1 200 OK\r\n{lengths}\r\n\r\n{{}} ");
        let script = vec![ScriptStep::Read, ScriptStep::write(response)];
        let faults = [TransportErrorKind::NotHttp, TransportErrorKind::Broken, TransportErrorKind::TooLarge];
        is_lost(&*factory(TransportLimits::default()), script, &faults).await;
    }
}
