//! Weixin is away from the moment a refresh is due until shortly before the token's own end, and longer.

use wxsub_core::proto::ErrCode;
use wxsub_sandbox::Fault;

use super::setup::{TOKEN, World, key, usual};

#[tokio::test]
async fn every_read_is_answered_until_the_end_and_recovery_needs_no_restart() {
    for fault in [
        Fault::ResetBeforeApply,
        Fault::Hang,
        Fault::Html,
        Fault::Status(502),
        Fault::ErrCode(ErrCode::IP_NOT_ALLOWED),
        Fault::ErrCode(ErrCode::SYSTEM_BUSY),
    ] {
        let world = World::new(&usual()).await;
        let token = world.token().await.access_token();
        world.sandbox.add_fault(TOKEN, 100_000, fault);
        world.pass(3900).await;
        for _ in 0..32 {
            world.pass(100).await;
            assert_eq!(world.token().await.access_token(), token, "{fault:?}");
            assert_eq!(world.classic(&key('a')).await.access_token(), token, "{fault:?}");
        }
        let ready = world.ask("GET", "/readyz", None, "").await;
        assert_eq!((ready.status, ready.json()["status"].as_str()), (200, Some("degraded")), "{fault:?}");
        // An attempt every 15 s at most while there is a token to lose.
        assert!(world.seen(TOKEN) < 3600 / 10, "{fault:?}: {}", world.seen(TOKEN));

        // Past the end there is one typed answer, at once.
        world.pass(200).await;
        let before = world.sandbox.now();
        for _ in 0..100 {
            let answer = world.token().await;
            assert_eq!((answer.status, answer.kind().as_str()), (503, "no_token"), "{fault:?}");
            assert!(world.classic(&key('a')).await.errcode() != 0);
        }
        assert_eq!(world.sandbox.now(), before, "{fault:?}");
        assert_eq!(world.ask("GET", "/readyz", None, "").await.status, 503);

        world.sandbox.clear_faults();
        world.pass(400).await;
        assert_ne!(world.token().await.access_token(), token, "{fault:?}");
        assert_eq!(world.ask("GET", "/readyz", None, "").await.status, 200);
    }
}

#[tokio::test]
async fn a_report_meanwhile_takes_the_token_from_nobody() {
    let world = World::new(&usual()).await;
    let token = world.token().await.access_token();
    world.sandbox.add_fault(TOKEN, 100_000, Fault::ErrCode(ErrCode::SYSTEM_BUSY));
    let answer = world.meanwhile(world.report(&token)).await;
    assert_eq!((answer.status, answer.kind().as_str()), (503, "no_token"));
    assert!(answer.retry_after() >= 1 && !answer.text.contains(&token));
    assert_eq!(world.token().await.access_token(), token);
}

/// One app's trouble is its own.
#[tokio::test]
async fn other_apps_are_not_disturbed() {
    let world = World::new(&super::setup::client('a', "\"*\"", super::setup::ALL)).await;
    let mut settings = world.sandbox.settings(&"wx1".parse().unwrap()).unwrap();
    settings.frozen = true;
    world.sandbox.configure(&"wx1".parse().unwrap(), settings).unwrap();
    let broken = world.token().await;
    assert_eq!((broken.status, broken.json()["errcode"].as_i64()), (503, Some(40243)));
    assert_eq!(world.get("/v1/apps/wx2/access_token", &key('a')).await.status, 200);
    let ready = world.ask("GET", "/readyz", None, "").await;
    assert_eq!((ready.status, ready.json()["apps"].as_array().unwrap().len()), (200, 1));
    assert_eq!(
        (&ready.json()["apps"][0]["appid"], &ready.json()["apps"][0]["remedy"]),
        (&"wx1".into(), &"fix_config".into())
    );
}
