//! How long connections are kept. An idle time of zero shows it without waiting.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use wxsub_core::proto::codec::Request;
use wxsub_core::testing::raw_server::{Act, RawServer};
use wxsub_core::transport::{Limits, Outgoing, Transport};
use wxsub_hyper::{HyperTransport, Roots};

fn kept_for(idle: Duration) -> HyperTransport {
    let limits = Limits::default().idle(idle);
    HyperTransport::builder().limits(limits).roots(Roots::Bundled).build().unwrap()
}

async fn exchange(transport: &HyperTransport, server: &RawServer) {
    let request = Request::post("/", Vec::new(), b"{}".to_vec());
    let request = Outgoing::new(&server.base_url(""), request).unwrap();
    assert_eq!(transport.exchange(request).await.unwrap().body, "{}");
}

#[tokio::test]
async fn a_connection_past_its_idle_time_is_not_used_and_is_closed() {
    let server = RawServer::replying(Act::Echo).await;
    let transport = kept_for(Duration::ZERO);
    for exchanges in 1..=3 {
        exchange(&transport, &server).await;
        // Nobody sends another request meanwhile.
        server.has_ended(exchanges).await;
        assert_eq!(server.connections(), exchanges);
    }
}

#[tokio::test]
async fn a_transport_that_is_gone_keeps_no_connections() {
    let server = RawServer::replying(Act::Echo).await;
    let transport = kept_for(Duration::from_secs(3600));
    exchange(&transport, &server).await;
    exchange(&transport, &server).await;
    assert_eq!(server.connections(), 1);
    drop(transport);
    server.has_ended(1).await;
}

#[test]
fn a_connection_whose_runtime_has_ended_is_not_used_by_the_next() {
    let transport = kept_for(Duration::from_secs(3600));
    for _ in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = RawServer::replying(Act::Echo).await;
            exchange(&transport, &server).await;
            exchange(&transport, &server).await;
            assert_eq!(server.connections(), 1);
        });
    }
}
