//! Weixin is unavailable from the time of a refresh until shortly before the token expires, and longer.

use wxsub_core::proto::ErrCode;
use wxsub_sandbox::Fault;

use super::setup::{Setup, TOKEN, key, usual};

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
        assert_eq!((ready.status, ready.json()["status"].as_str()), (200, Some("degraded")), "{fault:?}");
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
    let response = setup.meanwhile(setup.report(&token)).await;
    assert_eq!((response.status, response.kind().as_str()), (503, "no_token"));
    assert!(response.retry_after() >= 1 && !response.text.contains(&token));
    assert_eq!(setup.token().await.access_token(), token);
}

/// A fault of one app affects only this app.
#[tokio::test]
async fn outage_of_one_app_does_not_affect_others() {
    let setup = Setup::new(&super::setup::client('a', "\"*\"", super::setup::ALL)).await;
    let mut settings = setup.sandbox.settings(&"wx1".parse().unwrap()).unwrap();
    settings.frozen = true;
    setup.sandbox.configure(&"wx1".parse().unwrap(), settings).unwrap();
    let broken = setup.token().await;
    assert_eq!((broken.status, broken.json()["errcode"].as_i64()), (503, Some(40243)));
    assert_eq!(setup.get("/v1/apps/wx2/access_token", &key('a')).await.status, 200);
    let ready = setup.ask("GET", "/readyz", None, "").await;
    assert_eq!((ready.status, ready.json()["apps"].as_array().unwrap().len()), (200, 1));
    assert_eq!(
        (&ready.json()["apps"][0]["appid"], &ready.json()["apps"][0]["remedy"]),
        (&"wx1".into(), &"fix_config".into())
    );
}
