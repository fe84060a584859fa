//! Tokens of a few seconds' life, read through several lives.

use std::time::Duration;

use wxsub_core::token::TokenSource;
use wxsub_core::transport::Limits;
use wxsub_sandbox::{AppSettings, Fault};
use wxsub_tests::{Route, Stage, TOKEN};

stories!(one_fetch_per_life_and_no_reader_waits, an_endpoint_that_hangs_now_and_then);

const LIFE: Duration = Duration::from_secs(4);
const STEP: Duration = Duration::from_millis(100);

async fn stage(route: Route) -> Stage {
    let mut settings = AppSettings::default();
    settings.token_life = LIFE;
    settings.overlap = Duration::from_secs(2);
    let stage = Stage::with(route, settings, Limits::default()).await;
    stage.keeper.token().await.unwrap();
    stage
}

/// A reader that neither waits nor fails, and whose token Weixin takes.
async fn read(stage: &Stage, scene: u16) {
    assert!(stage.keeper.current().issued().is_some());
    stage.client.send(&stage.message("oReader", scene)).await.unwrap();
}

async fn one_fetch_per_life_and_no_reader_waits(route: Route) {
    let stage = stage(route).await;
    let lives = 5;
    for step in 0..lives * 40 {
        stage.pass(STEP).await;
        read(&stage, step).await;
    }
    let fetches = stage.seen(TOKEN);
    // A token is replaced at half of its life, give or take a tenth.
    assert!((u64::from(lives) * 2 - 1..=u64::from(lives) * 2 + 3).contains(&fetches), "{fetches} fetches");
}

async fn an_endpoint_that_hangs_now_and_then(route: Route) {
    let stage = stage(route).await;
    for step in 0..200 {
        if step % 40 == 5 {
            stage.sandbox.add_fault(TOKEN, 1, Fault::Hang);
        }
        stage.pass(STEP).await;
        assert!(stage.keeper.current().issued().is_some(), "step {step}");
    }
    read(&stage, 1).await;
    let fetches = stage.seen(TOKEN);
    assert!((10..=20).contains(&fetches), "{fetches} fetches, hanging ones included");
}
