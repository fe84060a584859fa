//! Faults on the TCP connection.

use std::io::ErrorKind;
use std::time::Duration;

use wxsub_sandbox::Fault;

use crate::client::{FETCH, Server};

const TOKEN: &str = "/cgi-bin/token";

/// The number of tokens issued so far.
fn issued(server: &Server) -> usize {
    let events = server.sandbox.event_log().events;
    events.iter().filter(|event| event.token.is_some()).count()
}

#[tokio::test]
async fn reset_faults_reset_the_tcp_connection() {
    let server = Server::start().await;
    for (fault, applied) in [(Fault::ResetBeforeApply, 0), (Fault::ResetAfterApply, 1)] {
        server.sandbox.add_fault(TOKEN, 1, fault);
        let mut client = server.connect().await;
        // The connection has already carried a request.
        client.ask("GET", "/_sandbox/events", "").await;
        client.write("GET", FETCH, "").await;
        let error = client.read().await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(issued(&server), applied);
    }
    let response = server.connect().await.ask("GET", FETCH, "").await;
    assert_eq!(response.body.len(), response.announced);
    server.stop().await;
}

#[tokio::test]
async fn truncated_response_announces_full_length() {
    let server = Server::start().await;
    server.sandbox.add_fault(TOKEN, 1, Fault::Truncate);
    let response = server.connect().await.ask("GET", FETCH, "").await;
    assert!(response.head.starts_with("http/1.1 200"));
    assert_eq!(response.body.len(), response.announced / 2);
    assert!(response.body.starts_with(r#"{"access_token":""#));
    assert_eq!(issued(&server), 1);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn delay_fault_delays_the_response() {
    let server = Server::start().await;
    server.sandbox.add_fault(TOKEN, 1, Fault::Delay(Duration::from_secs(3600)));
    #[expect(clippy::disallowed_methods, reason = "tokio's clock is paused here and jumps")]
    let before = tokio::time::Instant::now();
    let response = server.connect().await.ask("GET", FETCH, "").await;
    assert!(response.body.contains("access_token"));
    assert!(before.elapsed() >= Duration::from_secs(3600));
    server.stop().await;
}

#[tokio::test]
async fn hanging_request_ends_with_client_or_sandbox() {
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
async fn intermediary_faults_return_pages() {
    let server = Server::start().await;
    server.sandbox.add_fault(TOKEN, 1, Fault::Html).add_fault(TOKEN, 1, Fault::Status(503)).add_fault(
        TOKEN,
        1,
        Fault::Status(302),
    );
    let mut client = server.connect().await;
    let heads = ["http/1.1 200", "http/1.1 503", "http/1.1 302", "http/1.1 200"];
    for (head, is_page) in heads.into_iter().zip([true, true, true, false]) {
        let response = client.ask("GET", FETCH, "").await;
        assert!(response.head.starts_with(head));
        assert_eq!(response.head.contains("text/html"), is_page);
    }
    server.stop().await;
}
