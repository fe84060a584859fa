//! Connections are reused, and a broken one affects one exchange at most.

use super::{Factory, assert_is, fails, post, settle, succeeds};
use crate::testing::faulty_server::{FaultyServer, ScriptStep};
use crate::transport::{RequestState, Transport, TransportErrorKind, TransportLimits};

/// Successive exchanges use one connection.
pub async fn a_connection_is_used_again(factory: Factory<'_>) {
    let server = FaultyServer::responding(ScriptStep::Echo).await;
    let transport = factory(TransportLimits::default());
    for _ in 0..4 {
        let response = succeeds(&*transport, post(&server.base_url(""), "{}")).await;
        assert_eq!(response.body, "{}");
        settle().await;
    }
    assert_eq!((server.connections(), server.requests().len()), (1, 4));
}

/// A connection that the server closed between two exchanges is not used for the second.
pub async fn a_connection_closed_while_idle_costs_nothing(factory: Factory<'_>) {
    let server = FaultyServer::start([vec![ScriptStep::Read, ScriptStep::Echo]]).await;
    let transport = factory(TransportLimits::default());
    for exchange in 1..=3 {
        let body = exchange.to_string();
        let response = succeeds(&*transport, post(&server.base_url(""), &body)).await;
        assert_eq!(response.body, body);
        server.has_closed(exchange).await;
        assert_eq!(server.requests().len(), exchange);
    }
}

/// A request on a reused connection was read and got no response. It is lost, and is not repeated on a new connection.
pub async fn a_request_lost_on_a_used_connection_is_not_repeated(factory: Factory<'_>) {
    for end in [ScriptStep::Reset, ScriptStep::write("")] {
        let first = vec![ScriptStep::Read, ScriptStep::Echo, ScriptStep::Read, end];
        let server =
            FaultyServer::start([first, vec![ScriptStep::Read, ScriptStep::Echo, ScriptStep::Again]]).await;
        let transport = factory(TransportLimits::default());
        succeeds(&*transport, post(&server.base_url(""), "1")).await;
        settle().await;
        let error = fails(&*transport, post(&server.base_url(""), "2")).await;
        assert_is(&error, RequestState::MaybeSent, &[TransportErrorKind::Broken]);
        settle().await;
        assert_eq!((server.connections(), server.requests().len()), (1, 2));
        let response = succeeds(&*transport, post(&server.base_url(""), "3")).await;
        assert_eq!(response.body, "3");
        assert_eq!((server.connections(), server.requests().len()), (2, 3));
    }
}

/// An additional response is never used for the next request.
pub async fn an_unrequested_response_is_ignored(factory: Factory<'_>) {
    let stale = ScriptStep::response(200, "stale");
    let first = vec![ScriptStep::Read, ScriptStep::Echo, stale, ScriptStep::Hang];
    let server =
        FaultyServer::start([first, vec![ScriptStep::Read, ScriptStep::Echo, ScriptStep::Again]]).await;
    let transport = factory(TransportLimits::default());
    succeeds(&*transport, post(&server.base_url(""), "1")).await;
    settle().await;
    match transport.execute(post(&server.base_url(""), "2")).await {
        Ok(response) => assert_eq!(response.body, "2"),
        Err(error) => assert_eq!(error.kind(), TransportErrorKind::Broken, "{error:?}"),
    }
}

/// Each of 64 concurrent exchanges gets its own response.
pub async fn concurrent_exchanges_get_their_own_responses(factory: Factory<'_>) {
    let server = FaultyServer::responding(ScriptStep::Echo).await;
    let transport = factory(TransportLimits::default());
    let base = server.base_url("");
    futures_util::future::join_all((0..64).map(|number: u32| {
        let (transport, base) = (&transport, &base);
        async move {
            let body = number.to_string();
            assert_eq!(succeeds(&**transport, post(base, &body)).await.body, body);
        }
    }))
    .await;
    assert_eq!(server.requests().len(), 64);
}
