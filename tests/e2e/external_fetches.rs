//! Somebody else fetches tokens for our app.

use std::time::Duration;

use wxsub_core::proto::{ErrCode, Remedy};
use wxsub_core::token::Evidence;
use wxsub_core::token::TokenSource;
use wxsub_core::transport::Limits;
use wxsub_sandbox::AppSettings;
use wxsub_tests::{Route, SEND, Stage, TOKEN, app};

stories!(
    a_killed_token_heals_without_a_failed_send,
    a_stranger_every_minute,
    a_false_claim_takes_the_token_from_nobody,
    a_wrong_secret_neither_loops_nor_stops,
);

async fn a_killed_token_heals_without_a_failed_send(route: Route) {
    let stage = Stage::new(route).await;
    stage.client.send(&stage.message("oUser", 1)).await.unwrap();
    let before = stage.keeper.current().issued().unwrap().generation();
    stage.sandbox.invalidate_tokens(&app()).unwrap();
    stage.client.send(&stage.message("oUser", 2)).await.unwrap();
    assert!(stage.keeper.current().issued().unwrap().generation() > before);
    assert_eq!((stage.seen(TOKEN), stage.seen(SEND), stage.received("oUser")), (2, 3, 2));
}

async fn a_stranger_every_minute(route: Route) {
    let stage = Stage::new(route).await;
    for minute in 0..30 {
        stage.client.send(&stage.message("oUser", minute)).await.unwrap();
        stage.sandbox.invalidate_tokens(&app()).unwrap();
        stage.pass(Duration::from_secs(60)).await;
    }
    assert_eq!((stage.received("oUser"), stage.seen(TOKEN)), (30, 30));
}

async fn a_false_claim_takes_the_token_from_nobody(route: Route) {
    let stage = Stage::new(route).await;
    let claimed = stage.keeper.token().await.unwrap().generation();
    let fresh = stage.keeper.refresh(claimed, Evidence::Claimed).await.unwrap();
    assert!(fresh.generation() > claimed);
    // Late claims get the current token and cost nothing.
    for _ in 0..100 {
        let current = stage.keeper.refresh(claimed, Evidence::Claimed).await.unwrap();
        assert_eq!(current.generation(), fresh.generation());
    }
    assert_eq!(stage.seen(TOKEN), 2);
}

async fn a_wrong_secret_neither_loops_nor_stops(route: Route) {
    let mut frozen = AppSettings::default();
    frozen.frozen = true;
    let stage = Stage::with(route, frozen, Limits::default()).await;
    let message = stage.message("oUser", 1);
    let error = stage.client.send(&message).await.unwrap_err();
    assert_eq!((error.errcode(), error.remedy()), (Some(ErrCode::SECRET_FROZEN), Remedy::FixConfig));
    stage.pass(Duration::from_secs(1800)).await;
    let asked = stage.seen(TOKEN);
    assert!((7..=20).contains(&asked), "{asked} requests in half an hour");
    stage.sandbox.configure(&app(), AppSettings::default()).unwrap();
    stage.pass(Duration::from_secs(301)).await;
    stage.client.send(&message).await.unwrap();
    assert_eq!(stage.received("oUser"), 1);
}
