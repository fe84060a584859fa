//! Weixin is unavailable from the time of a refresh until shortly before the token expires, and longer.

use serde_json::json;
use wxsub_core::proto::ErrCode;
use wxsub_sandbox::Fault;

use super::setup::{ALL, APPS, PROBE, Setup, TOKEN, apps, client, config_of_apps, has, key, usual};

#[tokio::test]
async fn outage_serves_token_until_expiry_and_recovers_without_restart() {
    for fault in [
        Fault::ResetBeforeApply,
        Fault::Hang,
        Fault::Html,
        Fault::Status(502),
        Fault::ErrCode(ErrCode::IP_NOT_ALLOWED),
        Fault::ErrCode(ErrCode::SYSTEM_BUSY),
    ] {
        let setup = Setup::new(&usual()).await;
        let token = setup.token().await.access_token();
        setup.sandbox.add_fault(TOKEN, 100_000, fault);
        setup.pass(3900).await;
        for _ in 0..32 {
            setup.pass(100).await;
            assert_eq!(setup.token().await.access_token(), token, "{fault:?}");
            assert_eq!(setup.classic(&key('a')).await.access_token(), token, "{fault:?}");
        }
        let ready = setup.ask("GET", "/readyz", None, "").await;
        ready.has(200, &json!({"status": "degraded", "apps": [{"appid": "wx1"}, {"appid": "wx2"}]}));
        // At most one attempt every 15 s while there is a token.
        assert!(setup.seen(TOKEN) < 3600 / 10, "{fault:?}: {}", setup.seen(TOKEN));

        // After expiry there is one problem response, at once.
        setup.pass(200).await;
        let before = setup.sandbox.now();
        for _ in 0..100 {
            let response = setup.token().await;
            assert_eq!((response.status, response.kind().as_str()), (503, "no_token"), "{fault:?}");
            assert!(setup.classic(&key('a')).await.errcode() != 0);
        }
        assert_eq!(setup.sandbox.now(), before, "{fault:?}");
        assert_eq!(setup.ask("GET", "/readyz", None, "").await.status, 503);

        setup.sandbox.clear_faults();
        setup.pass(400).await;
        assert_ne!(setup.token().await.access_token(), token, "{fault:?}");
        assert_eq!(setup.ask("GET", "/readyz", None, "").await.status, 200);
    }
}

#[tokio::test]
async fn report_during_outage_keeps_current_token() {
    let setup = Setup::new(&usual()).await;
    let token = setup.token().await.access_token();
    setup.sandbox.add_fault(TOKEN, 100_000, Fault::ErrCode(ErrCode::SYSTEM_BUSY));
    let response = setup.meanwhile(setup.report(&token)).await.is(503, "no_token");
    assert!(response.retry_after() >= 1 && !response.text.contains(&token));
    assert_eq!(setup.token().await.access_token(), token);
}

/// A fault of one app affects only this app.
#[tokio::test]
async fn outage_of_one_app_does_not_affect_others() {
    let setup = Setup::new(&client('a', "\"*\"", ALL)).await;
    setup.configure(|settings| settings.frozen = true);
    setup.token().await.has(503, &json!({"errcode": 40243}));
    assert_eq!(setup.get("/v1/apps/wx2/access_token", &key('a')).await.status, 200);
    let ready = setup.ask("GET", "/readyz", None, "").await;
    ready.has(200, &json!({"apps": [{"appid": "wx1", "remedy": "fix_config"}]}));
}

/// A server that cannot use the store cannot ask its peers. It asks Weixin whether the reported token works.
#[tokio::test]
async fn report_without_store_is_checked_with_weixin() {
    let setup = Setup::new(&client('a', "\"wx1\"", &format!("{ALL}, \"admin\""))).await;
    let token = setup.token().await.access_token();
    setup.store_foreign_token().await;
    setup.pass(3).await;
    let store = json!({"kind": "other_upstream", "remedy": "fix_config"});
    has(&setup.app().await, &json!({"store": store, "state": "degraded"}));
    let line = "wxsub_token_store_problem{appid=\"wx1\",kind=\"other_upstream\",remedy=\"fix_config\"} 1";
    setup.assert_metrics(&[line]).await;

    let works = setup.meanwhile(setup.report(&token)).await;
    assert_eq!((works.status, setup.seen(PROBE)), (503, 1), "{}", works.text);
    assert!(!works.text.contains("0123456789abcdef"), "{}", works.text);
    assert_eq!(setup.token().await.access_token(), token);

    setup.invalidate_tokens();
    setup.pass(61).await;
    let refreshed = setup.meanwhile(setup.report(&token)).await;
    assert_eq!((refreshed.status, setup.seen(PROBE)), (200, 2), "{}", refreshed.text);
    assert!(![token, "FOREIGN".to_owned()].contains(&refreshed.access_token()));
}

/// The same in the Weixin-compatible API: an SDK that fetches again reports its token.
#[tokio::test]
async fn second_fetch_without_store_is_checked_with_weixin() {
    let setup = Setup::new(&usual()).await;
    let token = setup.classic(&key('a')).await.access_token();
    setup.store_foreign_token().await;
    setup.pass(3).await;
    let same = setup.meanwhile(setup.classic(&key('a'))).await;
    assert_eq!((same.access_token(), setup.seen(PROBE)), (token.clone(), 1));
    setup.invalidate_tokens();
    setup.pass(61).await;
    let refreshed = setup.meanwhile(setup.classic(&key('a'))).await.access_token();
    assert!(![token, "FOREIGN".to_owned()].contains(&refreshed), "{refreshed}");
}

/// The store knows at once that the server has stopped fetching.
#[tokio::test]
async fn stopped_server_leaves_no_lease() {
    let setup = Setup::new(&usual()).await;
    setup.sandbox.add_fault(TOKEN, 100, Fault::Hang);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let watching = async {
        setup.pass(1).await;
        assert!(setup.is_leased().await);
        stop.send(()).unwrap();
    };
    let serving = setup.serve_until(async { drop(stopped.await) });
    setup.meanwhile(async { tokio::join!(serving, watching) }).await;
    assert!(!setup.is_leased().await);
}

/// A peer renews its lease for ever.
#[tokio::test]
async fn holder_that_keeps_the_lease_is_named() {
    for endpoint in ["token", "stable_token"] {
        let keys = client('a', "\"wx1\"", &format!("{ALL}, \"admin\""));
        let apps = APPS.replace("endpoint = \"token\"", &format!("endpoint = \"{endpoint}\""));
        let setup = Setup::with_config(config_of_apps(&apps, &keys)).await;
        setup.server.prefetch_tokens();
        for _ in 0..40 {
            setup.lease_to_peer("stuck-peer").await;
            setup.pass(1).await;
        }
        let app = setup.app().await;
        has(&app, &json!({"token_endpoint": endpoint, "store": {"kind": "lease_held"}}));
        assert!(app["store"]["text"].as_str().unwrap().contains("stuck-peer"), "{app}");
        let problem = "wxsub_token_store_problem{appid=\"wx1\",kind=\"lease_held\",remedy=\"investigate\"} 1";
        setup.assert_metrics(&[problem]).await;
    }
}

/// All apps are due together, and Weixin does not respond. Each second more of them begin.
#[tokio::test]
async fn few_apps_get_a_token_at_once() {
    let setup = Setup::with_config(config_of_apps(&apps(100), &client('a', "\"*\"", ALL))).await;
    setup.sandbox.add_fault(TOKEN, 999, Fault::Hang);
    setup.server.prefetch_tokens();
    let mut seen = Vec::new();
    for seconds in [0, 1, 1, 1] {
        setup.pass(seconds).await;
        seen.push(setup.seen(TOKEN));
    }
    assert_eq!(seen, [32, 64, 96, 100]);
}
