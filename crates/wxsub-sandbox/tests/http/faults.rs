//! Faults are real on the wire.

use std::io::ErrorKind;
use std::time::Duration;

use wxsub_sandbox::Fault;

use crate::client::{FETCH, Server};

const TOKEN: &str = "/cgi-bin/token";

/// How many tokens were issued so far.
fn issued(server: &Server) -> usize {
    let events = server.sandbox.event_log().events;
    events.iter().filter(|event| event.token.is_some()).count()
}

#[tokio::test]
async fn resets_are_resets() {
    let server = Server::start().await;
    for (fault, applied) in [(Fault::ResetBeforeApply, 0), (Fault::ResetAfterApply, 1)] {
        server.sandbox.add_fault(TOKEN, 1, fault);
        let mut client = server.connect().await;
        // On a connection that was used before, too.
        client.ask("GET", "/_sandbox/events", "").await;
        client.write("GET", FETCH, "").await;
        let error = client.read().await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(issued(&server), applied);
    }
    let reply = server.connect().await.ask("GET", FETCH, "").await;
    assert_eq!(reply.body.len(), reply.promised);
    server.stop().await;
}

#[tokio::test]
async fn a_truncated_reply_promised_more_than_it_keeps() {
    let server = Server::start().await;
    server.sandbox.add_fault(TOKEN, 1, Fault::Truncate);
    let reply = server.connect().await.ask("GET", FETCH, "").await;
    assert!(reply.head.starts_with("http/1.1 200"));
    assert_eq!(reply.body.len(), reply.promised / 2);
    assert!(reply.body.starts_with(r#"{"access_token":""#));
    assert_eq!(issued(&server), 1);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_waited_for() {
    let server = Server::start().await;
    server.sandbox.add_fault(TOKEN, 1, Fault::Delay(Duration::from_secs(3600)));
    #[expect(clippy::disallowed_methods, reason = "tokio's clock is paused here and jumps")]
    let before = tokio::time::Instant::now();
    let reply = server.connect().await.ask("GET", FETCH, "").await;
    assert!(reply.body.contains("access_token"));
    assert!(before.elapsed() >= Duration::from_secs(3600));
    server.stop().await;
}

#[tokio::test]
async fn a_request_hangs_until_its_caller_or_the_sandbox_goes() {
    let server = Server::start().await;
    server.sandbox.add_fault(TOKEN, 2, Fault::Hang);
    let mut gone = server.connect().await;
    gone.write("GET", FETCH, "").await;
    let mut waiting = server.connect().await;
    waiting.write("GET", FETCH, "").await;
    while server.sandbox.event_log().request_count(TOKEN) < 2 {
        tokio::task::yield_now().await;
    }
    drop(gone);
    let mut nothing = [0];
    assert_eq!(waiting.0.try_read(&mut nothing).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(issued(&server), 0);
    server.stop().await;
    assert!(waiting.read().await.is_err());
}

#[tokio::test]
async fn pages_instead_of_answers() {
    let server = Server::start().await;
    server.sandbox.add_fault(TOKEN, 1, Fault::Html).add_fault(TOKEN, 1, Fault::Status(503)).add_fault(
        TOKEN,
        1,
        Fault::Status(302),
    );
    let mut client = server.connect().await;
    let heads = ["http/1.1 200", "http/1.1 503", "http/1.1 302", "http/1.1 200"];
    for (head, is_page) in heads.into_iter().zip([true, true, true, false]) {
        let reply = client.ask("GET", FETCH, "").await;
        assert!(reply.head.starts_with(head));
        assert_eq!(reply.head.contains("text/html"), is_page);
    }
    server.stop().await;
}
