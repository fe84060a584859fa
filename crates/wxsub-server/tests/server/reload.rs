//! A new configuration during requests.

use serde_json::json;
use wxsub_core::proto::ErrCode;
use wxsub_sandbox::Fault;
use wxsub_server::Config;

use super::outbox::{enqueue, ledger_config};
use super::setup::{
    ALL, APPS, SECRET, STABLE, Setup, TOKEN, client, config, config_of_apps, key, message, read_config,
    subscribe, usual,
};

/// One app with this secret and API, the client `a`, and more.
fn one_app(secret: &str, port: u16, more: &str) -> Config {
    let app = format!(
        "[[apps]]\nappid = \"wx1\"\nsecret_env = \"S\"\ntoken_endpoint = \"token\"\napi_base = \"http://127.0.0.1:{port}\"\n"
    );
    let text = format!("audit = \"off\"\n{app}{}{more}", usual());
    Config::read(&text, |_| Some(secret.to_owned())).unwrap().0
}

#[tokio::test]
async fn reload_keeps_tokens_and_revokes_keys() {
    let setup = Setup::new(&(usual() + &client('b', "\"wx1\"", ALL))).await;
    let token = setup.token().await.access_token();
    setup.server.reload(&config(&client('b', "\"wx1\"", ALL))).unwrap();
    assert_eq!(setup.token().await.status, 401);
    let same = setup.get("/v1/apps/wx1/access_token", &key('b')).await;
    assert_eq!(same.access_token(), token);
    setup.pass(1).await;
    // Both apps have fetched their token at the start.
    assert_eq!(setup.seen(TOKEN), 2);
}

#[tokio::test]
async fn changed_app_keeps_its_token_and_its_secret_and_limits_apply_at_once() {
    let setup = Setup::new(&usual()).await;
    let before = setup.token().await;
    let token = before.access_token();
    setup.server.reload(&one_app("another-secret", 1, "[limits]\nbody_bytes = 1024\n")).unwrap();
    let after = setup.token().await.has(200, &json!({"access_token": token}));
    assert_eq!((&after.json()["generation"], setup.seen(TOKEN)), (&before.json()["generation"], 1));
    assert_eq!(setup.get("/v1/apps/wx2/access_token", &key('a')).await.status, 403);
    // The next fetch uses the new secret, which Weixin does not know.
    setup.report(&token).await.is(503, "no_token");
    assert_eq!(setup.send("x".repeat(1025)).await.status, 413);
}

/// Tokens of both endpoints are valid at the same time.
#[tokio::test]
async fn changed_endpoint_keeps_the_token_until_the_next_refresh() {
    let setup = Setup::new(&usual()).await;
    setup.server.prefetch_tokens();
    setup.pass(1).await;
    let token = setup.token().await.access_token();
    let stable = APPS.replace("\"token\"", "\"stable_token\"");
    setup.server.reload(&config_of_apps(&stable, &usual())).unwrap();
    setup.server.prefetch_tokens();
    setup.pass(60).await;
    assert_eq!((setup.token().await.access_token(), setup.seen(STABLE)), (token.clone(), 0));
    setup.report(&token).await.has(200, &json!({}));
    let refreshed = setup.token().await.access_token();
    assert!(refreshed != token && setup.seen(STABLE) == 1, "{refreshed}");
}

#[tokio::test]
async fn corrected_secret_sends_queued_messages_at_once() {
    let read = |secret: &'static str| {
        let text = format!("audit = \"off\"\n{APPS}{}", ledger_config());
        Config::read(&text, move |_| Some(secret.to_owned())).unwrap().0
    };
    let (setup, _ledger) = Setup::with_ledger_and(read("another-secret")).await;
    setup.allow("oUser", 1);
    enqueue(&setup, &[], message("oUser", 1)).await;
    setup.pass(40).await;
    let waiting = setup.read("outbox?state=queued").await.json()["messages"][0]["waiting_for"].clone();
    assert_eq!((waiting.as_str(), setup.received("oUser")), (Some("token"), 0));
    setup.server.reload(&read(SECRET)).unwrap();
    setup.pass(0).await;
    assert_eq!(setup.received("oUser"), 1);
}

/// A reload causes no attempt of an unchanged app, however often it happens.
#[tokio::test]
async fn unchanged_app_keeps_its_schedule() {
    let setup = Setup::new(&usual()).await;
    setup.sandbox.add_fault(TOKEN, 99, Fault::ErrCode(ErrCode::IP_NOT_ALLOWED));
    for app in ["wx1", "wx2"] {
        setup.get(&format!("/v1/apps/{app}/access_token"), &key('a')).await;
    }
    setup.server.prefetch_tokens();
    setup.pass(0).await;
    let attempts = setup.seen(TOKEN);
    for _ in 0..10 {
        setup.server.reload(&config(&usual())).unwrap();
        setup.pass(0).await;
    }
    assert_eq!(setup.seen(TOKEN), attempts);
}

/// A token that was served before the reload still authorizes a message.
#[tokio::test]
async fn changed_app_knows_its_former_tokens() {
    let setup = Setup::with_own_store(config(&usual())).await;
    let former = setup.token().await.access_token();
    setup.report(&former).await;
    setup.server.reload(&one_app(SECRET, 2, "")).unwrap();
    setup.token().await;
    setup.allow("oUser", 1);
    assert_eq!(subscribe(&setup, &former, message("oUser", 1)).await.errcode(), 0);
}

#[tokio::test]
async fn removed_app_has_no_metrics() {
    let setup = Setup::new(&usual()).await;
    let shown = async || setup.metrics().await.contains("expires_in_seconds{appid=\"wx2\"}");
    assert!(shown().await);
    setup.server.reload(&one_app(SECRET, 1, "")).unwrap();
    assert!(!shown().await);
}

/// Such a change is refused as a whole: the clients of the new configuration are not known.
#[tokio::test]
async fn change_that_needs_a_restart_is_refused() {
    let (setup, other) = (Setup::new(&usual()).await, key('b'));
    for (line, key) in [
        ("listen = \"127.0.0.1:1\"", "listen"),
        ("metrics_listen = \"127.0.0.1:1\"", "metrics_listen"),
        ("state_dir = \"/s\"", "state_dir"),
        ("audit = \"stderr\"", "audit"),
    ] {
        let off = if key == "audit" { "" } else { "audit = \"off\"\n" };
        let changed = read_config(&format!("{off}{line}\n{APPS}{}", client('b', "\"wx1\"", ALL))).unwrap();
        let error = setup.server.reload(&changed).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{key}: cannot change while the server runs")), "{error}");
        assert_eq!(setup.token().await.status, 200);
        assert_eq!(setup.get("/v1/apps/wx1/access_token", &other).await.status, 401);
    }
    setup.assert_metrics(&["wxsub_config_last_reload_successful 0"]).await;
    setup.pass(100).await;
    setup.server.reload(&config(&usual())).unwrap();
    let time =
        format!("wxsub_config_last_reload_success_timestamp_seconds {}", setup.sandbox.now().as_secs());
    setup.assert_metrics(&["wxsub_config_last_reload_successful 1", &time]).await;
}

#[tokio::test]
async fn store_changes_only_with_a_restart() {
    let store = |redis: &str| config(&format!("[store]\nredis = \"redis://{redis}\"\n"));
    let setup = Setup::with_config(store("localhost/1")).await;
    assert!(setup.server.reload(&store("localhost/2")).unwrap_err().to_string().starts_with("store: "));
    assert!(setup.server.reload(&config("")).unwrap_err().to_string().starts_with("store: "));
    setup.server.reload(&store("localhost/1")).unwrap();
}
