//! Connections are kept and used again, and one that dies takes one exchange with it at most.

use super::{Factory, answered, assert_is, fails, post, settle};
use crate::testing::faulty_server::{FaultyServer, ScriptStep};
use crate::transport::{RequestState, Transport, TransportErrorKind, TransportLimits};

/// One exchange after the other shares a connection.
///
/// # Panics
/// If the contract is broken.
///
/// # Cancel safety
/// Not to be cancelled: a case is run to its end.
pub async fn a_connection_is_used_again(factory: Factory<'_>) {
    let server = FaultyServer::replying(ScriptStep::Echo).await;
    let transport = factory(TransportLimits::default());
    for _ in 0..4 {
        let reply = answered(&*transport, post(&server.base_url(""), "{}")).await;
        assert_eq!(reply.body, "{}");
        settle().await;
    }
    assert_eq!((server.connections(), server.requests().len()), (1, 4));
}

/// A connection that the other side closed between two exchanges is not used for the second one.
///
/// # Panics
/// If the contract is broken.
///
/// # Cancel safety
/// Not to be cancelled: a case is run to its end.
pub async fn a_connection_closed_while_idle_costs_nothing(factory: Factory<'_>) {
    let server = FaultyServer::start([vec![ScriptStep::Read, ScriptStep::Echo]]).await;
    let transport = factory(TransportLimits::default());
    for exchange in 1..=3 {
        let body = exchange.to_string();
        let reply = answered(&*transport, post(&server.base_url(""), &body)).await;
        assert_eq!(reply.body, body);
        server.has_ended(exchange).await;
        settle().await;
        assert_eq!(server.requests().len(), exchange);
    }
}

/// On a connection that was good before, a request that was read and not answered is lost like any other: it is not
/// sent again on a fresh connection.
///
/// # Panics
/// If the contract is broken.
///
/// # Cancel safety
/// Not to be cancelled: a case is run to its end.
pub async fn a_request_lost_on_a_used_connection_is_not_repeated(factory: Factory<'_>) {
    for end in [ScriptStep::Reset, ScriptStep::write("")] {
        let first = vec![ScriptStep::Read, ScriptStep::Echo, ScriptStep::Read, end];
        let server =
            FaultyServer::start([first, vec![ScriptStep::Read, ScriptStep::Echo, ScriptStep::Again]]).await;
        let transport = factory(TransportLimits::default());
        answered(&*transport, post(&server.base_url(""), "1")).await;
        settle().await;
        let error = fails(&*transport, post(&server.base_url(""), "2")).await;
        assert_is(&error, RequestState::MaybeSent, &[TransportErrorKind::Broken]);
        settle().await;
        assert_eq!((server.connections(), server.requests().len()), (1, 2));
        let reply = answered(&*transport, post(&server.base_url(""), "3")).await;
        assert_eq!(reply.body, "3");
        assert_eq!((server.connections(), server.requests().len()), (2, 3));
    }
}

/// A second reply that comes unasked is never taken for the answer to the next request.
///
/// # Panics
/// If the contract is broken.
///
/// # Cancel safety
/// Not to be cancelled: a case is run to its end.
pub async fn a_reply_nobody_asked_for_answers_nothing(factory: Factory<'_>) {
    let stale = ScriptStep::reply(200, "stale");
    let first = vec![ScriptStep::Read, ScriptStep::Echo, stale, ScriptStep::Hang];
    let server =
        FaultyServer::start([first, vec![ScriptStep::Read, ScriptStep::Echo, ScriptStep::Again]]).await;
    let transport = factory(TransportLimits::default());
    answered(&*transport, post(&server.base_url(""), "1")).await;
    settle().await;
    match transport.execute(post(&server.base_url(""), "2")).await {
        Ok(reply) => assert_eq!(reply.body, "2"),
        Err(error) => assert_eq!(error.kind(), TransportErrorKind::Broken, "{error:?}"),
    }
}

/// 64 exchanges at once, each answered with its own.
///
/// # Panics
/// If the contract is broken.
///
/// # Cancel safety
/// Not to be cancelled: a case is run to its end.
pub async fn many_exchanges_at_once_get_their_own_replies(factory: Factory<'_>) {
    let server = FaultyServer::replying(ScriptStep::Echo).await;
    let transport = factory(TransportLimits::default());
    let base = server.base_url("");
    futures_util::future::join_all((0..64).map(|number: u32| {
        let (transport, base) = (&transport, &base);
        async move {
            let body = number.to_string();
            assert_eq!(answered(&**transport, post(base, &body)).await.body, body);
        }
    }))
    .await;
    assert_eq!(server.requests().len(), 64);
}
