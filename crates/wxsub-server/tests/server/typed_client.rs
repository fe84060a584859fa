//! The typed client against the routes of the server.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use tokio::net::TcpListener;
use wxsub_core::proto::codec::RawResponse;
use wxsub_core::proto::{AppId, Grant, Message};
use wxsub_core::transport::{HttpRequest, TransportError};
use wxsub_hyper::client::idempotency::IdempotencyKey;
use wxsub_hyper::client::state::{Decision, MessageState};
use wxsub_hyper::client::view::ConsentOutcome;
use wxsub_hyper::client::{
    ControlServerError, MessageFilter, NewConsent, NewGrant, OutboxLine, ProblemKind, Schedule, SendStatus,
};
use wxsub_hyper::{ControlServer, HyperTransport, Roots};

use super::outbox::ledger_config;
use super::routes::{Route, document, operations};
use super::setup::{Setup, apps, client, config_of_apps, key};

fn appid() -> AppId {
    "wx1".parse().unwrap()
}

fn consent() -> NewConsent {
    let (scene, template_id) = ("1".parse().unwrap(), "T".parse().unwrap());
    NewConsent { scene, template_id, session: "s".to_owned(), redirect_url: None }
}

fn message(openid: &str) -> Message {
    let grant = Grant::assume_verified(openid, "T", 1).unwrap();
    Message::builder(grant).title("Parcel").content("It is here.").build().unwrap()
}

fn kind(error: &ControlServerError) -> ProblemKind {
    error.kind().unwrap_or_else(|| panic!("{error:?}"))
}

#[tokio::test]
async fn every_request_of_the_ledger_has_a_typed_call() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    let (server, app) = (setup.typed_client(), appid());
    let issued = server.issue_consent(&app, &consent()).await.unwrap();
    let callback = format!(
        "openid=o&template_id=T&scene=1&action=confirm&reserved={}",
        serde_json::to_value(&issued.reserved).unwrap().as_str().unwrap()
    );
    let callback = NewGrant::Callback { callback: callback.into(), session: "s".to_owned() };
    let recorded = server.record_grant(&app, &callback, None).await.unwrap();
    assert_eq!(recorded.outcome, ConsentOutcome::Recorded);
    let (openid, template_id, scene) = ("p".parse().unwrap(), "T".parse().unwrap(), "1".parse().unwrap());
    let verified = NewGrant::Verified { openid, template_id, scene };
    let keyless = server.record_grant(&app, &verified, None).await.unwrap_err();
    assert_eq!(kind(&keyless), ProblemKind::KeyRequired);
    let key = "g\"1".parse().unwrap();
    let other = server.record_grant(&app, &verified, Some(&key)).await.unwrap().grant.unwrap();
    server.void_grant(&app, other).await.unwrap();
    assert_eq!(kind(&server.void_grant(&app, other).await.unwrap_err()), ProblemKind::NotFound);
    assert_eq!(server.grants(&app, &"o".parse().unwrap()).await.unwrap().grants.len(), 1);

    let paused = server.pause(&app, "night").await.unwrap();
    assert_eq!(paused.note.as_deref(), Some("night"));
    let (key, schedule) = ("order-1".parse().unwrap(), Schedule::default());
    let queued = server.enqueue(&app, &message("o"), schedule, Some(&key)).await.unwrap();
    let again = server.enqueue(&app, &message("o"), schedule, Some(&key)).await.unwrap();
    assert_eq!((queued.id, again.grant), (again.id, recorded.grant));
    let filter = MessageFilter { state: Some(MessageState::Queued), limit: Some(5), ..Default::default() };
    let page = server.messages(&app, &filter).await.unwrap();
    assert_eq!((page.messages.len(), page.next), (1, None));
    let apps = server.outbox_apps().await.unwrap();
    assert_eq!(apps.iter().map(|app| (&app.appid, app.undecided)).collect::<Vec<_>>(), [(&app, 0)]);
    assert_eq!(apps[0].counts, [(MessageState::Queued, 1)].into());
    server.cancel(&app, queued.id).await.unwrap();
    let shown = server.message(&app, queued.id).await.unwrap();
    assert_eq!((shown.state, shown.events.unwrap().len()), (MessageState::Cancelled, 2));
    assert_eq!(kind(&server.cancel(&app, queued.id).await.unwrap_err()), ProblemKind::Final);
    assert_eq!(server.resume(&app).await.unwrap().waiting_for, None);

    setup.allow("o", 1);
    let key = "send-1".parse().unwrap();
    setup.meanwhile(server.send_with_key(&app, &message("o"), &key)).await.unwrap();
    server.send_with_key(&app, &message("o"), &key).await.unwrap();
    assert_eq!(setup.received("o"), 1);
    let reused = server.send_with_key(&app, &message("q"), &key).await.unwrap_err();
    assert_eq!(reused.result().outcome, SendStatus::NotSent);
    assert_eq!(kind(reused.error()), ProblemKind::KeyReused);
}

#[tokio::test]
async fn lines_have_a_result_each_and_pages_are_a_stream() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    let (server, app, schedule) = (setup.typed_client(), appid(), Schedule::default());
    server.pause(&app, "").await.unwrap();
    let users: Vec<_> = (0..7).map(|number| message(&format!("u{number}"))).collect();
    let keys: Vec<IdempotencyKey> =
        (0..7).map(|number| format!("k{}", number / 2).parse().unwrap()).collect();
    let lines = users.iter().zip(&keys).map(|(message, key)| OutboxLine { message, schedule, key });
    let results = server.enqueue_lines(&app, &lines.collect::<Vec<_>>()).await.unwrap();
    let statuses: Vec<_> = results.iter().map(|result| (result.line, result.status)).collect();
    assert_eq!(statuses, [(1, 202), (2, 422), (3, 202), (4, 422), (5, 202), (6, 422), (7, 202)]);
    assert_eq!(results[1].problem.as_ref().unwrap().kind, ProblemKind::KeyReused);
    let again = OutboxLine { message: &users[0], schedule, key: &keys[0] };
    let again = server.enqueue_lines(&app, &[again]).await.unwrap();
    assert_eq!((again[0].replayed, &again[0].message), (true, &results[0].message));
    let listed = server.all_messages(&app, MessageFilter { limit: Some(2), ..MessageFilter::default() });
    let listed: Vec<_> = listed.map(|message| message.unwrap().id).collect().await;
    let recorded: Vec<_> = results.iter().filter_map(|result| Some(result.message.as_ref()?.id)).collect();
    assert_eq!(listed, recorded);
    let key = &keys[0];
    let many = vec![OutboxLine { message: &users[0], schedule, key }; 1001];
    let error = server.enqueue_lines(&app, &many).await.unwrap_err();
    assert_eq!(kind(&error), ProblemKind::TooLarge);
}

#[tokio::test]
async fn a_decision_is_typed() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    let (server, app) = (setup.typed_client(), appid());
    let (id, version) = setup.undecided("u").await;
    let (id, version) = (id.parse().unwrap(), version.trim_matches('"').parse().unwrap());
    let stale = server.decide(&app, id, Decision::GiveUp, "", version + 1).await.unwrap_err();
    assert_eq!(kind(&stale), ProblemKind::PreconditionFailed);
    let decided = server.decide(&app, id, Decision::SendAgain, "asked", version).await.unwrap();
    assert_eq!(decided.child.unwrap().parent_id, Some(decided.message.id));
}

/// A response of Weixin has at most 64 KiB, by the default of a transport.
#[tokio::test]
async fn list_of_a_thousand_apps_is_read_over_http() {
    let clients = client('a', "\"*\"", "\"admin\"");
    let setup = Setup::with_config(config_of_apps(&apps(1_000), &clients)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let serving = setup.server.clone();
    tokio::spawn(async move { serving.serve(listener, None, std::future::pending()).await });
    let transport = HyperTransport::builder().roots(Roots::Bundled).build().unwrap();
    let listed = ControlServer::new(base, key('a').parse().unwrap(), transport).apps().await.unwrap();
    assert_eq!(listed.apps.len(), 1_000);
}

/// The requests of all calls. What they get for them does not matter.
async fn requests_of_all_calls() -> BTreeSet<Route> {
    let requests: Arc<Mutex<BTreeSet<Route>>> = Arc::default();
    let seen = Arc::clone(&requests);
    let transport = move |request: HttpRequest| {
        let request = request.into_http();
        let path = request.uri().path().replace("/wx1/", "/{appid}/").replace("/shop/", "/{name}/");
        let path = path.replace(ID, "{id}");
        seen.lock().unwrap().insert((request.method().to_string(), path));
        async { Ok::<_, TransportError>(RawResponse::new(500, "{}".into())) }
    };
    let base = "http://127.0.0.1:1".parse().unwrap();
    let (server, app) = (ControlServer::new(base, key('a').parse().unwrap(), transport), appid());
    let (message, id) = (message("o"), ID.parse().unwrap());
    let callback = NewGrant::Callback { callback: "".into(), session: "s".to_owned() };
    drop(server.apps().await);
    drop(server.token(&app).await);
    drop(server.report_token(&app, &"37_abc".parse().unwrap()).await);
    drop(server.send(&app, &message).await);
    drop(server.issue_consent(&app, &consent()).await);
    drop(server.record_grant(&app, &callback, None).await);
    drop(server.grants(&app, &"o".parse().unwrap()).await);
    drop(server.void_grant(&app, ID.parse().unwrap()).await);
    drop(server.enqueue(&app, &message, Schedule::default(), None).await);
    drop(server.outbox_apps().await);
    drop(server.messages(&app, &MessageFilter::default()).await);
    drop(server.message(&app, id).await);
    drop(server.cancel(&app, id).await);
    drop(server.decide(&app, id, Decision::GiveUp, "", 1).await);
    drop(server.pause(&app, "").await);
    drop(server.resume(&app).await);
    drop(server.webhooks().await);
    drop(server.redeliver_webhooks("shop").await);
    drop(server);
    Arc::into_inner(requests).unwrap().into_inner().unwrap()
}

const ID: &str = "0197e9f2-8c00-7000-8000-000000000001";

#[tokio::test]
async fn each_route_has_a_typed_call() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    let document = document(&setup).await;
    let routes: BTreeSet<_> = operations(&document).into_iter().map(|(route, _)| route).collect();
    assert_eq!(requests_of_all_calls().await, routes);
}
