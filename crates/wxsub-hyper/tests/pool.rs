//! The idle timeout of pooled connections. A timeout of zero tests it without waiting.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use wxsub_core::proto::codec::Request;
use wxsub_core::testing::faulty_server::{FaultyServer, ScriptStep};
use wxsub_core::transport::{HttpRequest, Transport, TransportLimits};
use wxsub_hyper::{HyperTransport, Roots};

fn transport_with_idle_timeout(idle: Duration) -> HyperTransport {
    let limits = TransportLimits::default().pool_idle_timeout(idle);
    HyperTransport::builder().limits(limits).roots(Roots::Bundled).build().unwrap()
}

async fn exchange(transport: &HyperTransport, server: &FaultyServer) {
    let request = Request::post("/", Vec::new(), b"{}".to_vec());
    let request = HttpRequest::new(&server.base_url(""), request).unwrap();
    assert_eq!(transport.execute(request).await.unwrap().body, "{}");
}

#[tokio::test]
async fn connection_past_idle_timeout_is_closed_and_not_reused() {
    let server = FaultyServer::responding(ScriptStep::Echo).await;
    let transport = transport_with_idle_timeout(Duration::ZERO);
    for exchanges in 1..=3 {
        exchange(&transport, &server).await;
        // The reaper closes the connection. No other request is sent meanwhile.
        server.has_ended(exchanges).await;
        assert_eq!(server.connections(), exchanges);
    }
}

#[tokio::test]
async fn dropped_transport_closes_its_connections() {
    let server = FaultyServer::responding(ScriptStep::Echo).await;
    let transport = transport_with_idle_timeout(Duration::from_secs(3600));
    exchange(&transport, &server).await;
    exchange(&transport, &server).await;
    assert_eq!(server.connections(), 1);
    drop(transport);
    server.has_ended(1).await;
}

#[test]
fn connection_of_ended_runtime_is_not_reused() {
    let transport = transport_with_idle_timeout(Duration::from_secs(3600));
    for _ in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = FaultyServer::responding(ScriptStep::Echo).await;
            exchange(&transport, &server).await;
            exchange(&transport, &server).await;
            assert_eq!(server.connections(), 1);
        });
    }
}
