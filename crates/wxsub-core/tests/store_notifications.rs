//! Keepers that share a store which hints at newer tokens.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests may panic")]

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use wxsub_core::clock::UnixMillis;
use wxsub_core::proto::AppId;
use wxsub_core::store::{MemoryStore, Put, Record, StoreError, StoredToken, TokenStore};
use wxsub_core::testing::{ManualClock, ScriptedTransport, Step};
use wxsub_core::token::{Evidence, Generation, Keeper, TokenSource};

const TOKEN: &str = "/cgi-bin/token";

fn keeper(clock: &Arc<ManualClock>, weixin: &Arc<ScriptedTransport>, store: Arc<dyn TokenStore>) -> Keeper {
    Keeper::builder("wx1".parse().unwrap(), "SECRET".parse().unwrap(), weixin.clone())
        .clock(clock.clone())
        .store(store)
        .build()
}

#[tokio::test]
async fn a_hint_brings_the_newer_token_at_once() {
    let (clock, weixin) = (Arc::new(ManualClock::new()), Arc::new(ScriptedTransport::new()));
    for text in ["A", "B"] {
        weixin.then(TOKEN, Step::json(&format!(r#"{{"access_token":"{text}","expires_in":7200}}"#)));
    }
    let store = Arc::new(MemoryStore::on(clock.clone()));
    let (one, two) = (keeper(&clock, &weixin, store.clone()), keeper(&clock, &weixin, store));
    let first = one.token().await.unwrap().generation();
    assert_eq!(two.token().await.unwrap().generation(), first);
    one.refresh(first, Evidence::Claimed).await.unwrap();
    // No time passes here.
    clock.pass(Duration::ZERO).await;
    assert_eq!(two.current().issued().unwrap().token().expose(), "B");
    assert_eq!(weixin.count(TOKEN), 2);
}

/// Hints at a token that it does not hold.
#[derive(Debug, Default)]
struct Liar {
    readings: AtomicUsize,
}

#[async_trait]
impl TokenStore for Liar {
    async fn load(&self, _: &AppId) -> Result<Record, StoreError> {
        self.readings.fetch_add(1, Ordering::Relaxed);
        Ok(Record::default())
    }

    async fn newer_than(&self, _: &AppId, known: Generation) -> Generation {
        match Generation::MAX {
            claimed if claimed > known => claimed,
            _ => pending().await,
        }
    }

    async fn put_if_newer(&self, _: &AppId, _: Generation, _: StoredToken) -> Result<Put, StoreError> {
        Ok(Put::Stored)
    }

    async fn lease(&self, _: &AppId, _: &str, _: Duration) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn release(&self, _: &AppId, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn mark(&self, _: &AppId, _: UnixMillis) -> Result<(), StoreError> {
        Ok(())
    }

    async fn clear_mark(&self, _: &AppId, _: UnixMillis) -> Result<(), StoreError> {
        Ok(())
    }

    async fn take_force(&self, _: &AppId, _: UnixMillis) -> Result<bool, StoreError> {
        Ok(false)
    }
}

#[tokio::test]
async fn a_false_hint_costs_one_reading_and_the_readings_go_on() {
    let (clock, weixin) = (Arc::new(ManualClock::new()), Arc::new(ScriptedTransport::new()));
    weixin.then(TOKEN, Step::json(r#"{"access_token":"A","expires_in":7200}"#));
    let store = Arc::new(Liar::default());
    let keeper = keeper(&clock, &weixin, store.clone());
    keeper.token().await.unwrap();
    let readings = || store.readings.load(Ordering::Relaxed);
    clock.pass(Duration::ZERO).await;
    // One of the attempt, one for the hint.
    assert_eq!(readings(), 2);
    clock.pass(Duration::from_secs(60)).await;
    assert!((30..=34).contains(&readings()), "{} readings", readings());
}
