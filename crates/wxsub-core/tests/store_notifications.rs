//! Token caches with a shared store that sends notifications of newer tokens.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests may panic")]

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use wxsub_core::clock::UnixMillis;
use wxsub_core::proto::AppId;
use wxsub_core::store::{CasOutcome, MemoryStore, StoreError, StoredToken, TokenRecord, TokenStore};
use wxsub_core::testing::{ManualClock, MockResponse, MockTransport};
use wxsub_core::token::{Evidence, Generation, TokenCache, TokenSource};

const TOKEN: &str = "/cgi-bin/token";

fn keeper(clock: &Arc<ManualClock>, weixin: &Arc<MockTransport>, store: Arc<dyn TokenStore>) -> TokenCache {
    TokenCache::builder("wx1".parse().unwrap(), "SECRET".parse().unwrap(), weixin.clone())
        .clock(clock.clone())
        .store(store)
        .build()
}

#[tokio::test]
async fn notification_delivers_newer_token_at_once() {
    let (clock, weixin) = (Arc::new(ManualClock::new()), Arc::new(MockTransport::new()));
    for text in ["A", "B"] {
        weixin.respond_once(
            TOKEN,
            MockResponse::json(&format!(r#"{{"access_token":"{text}","expires_in":7200}}"#)),
        );
    }
    let store = Arc::new(MemoryStore::with_clock(clock.clone()));
    let (one, two) = (keeper(&clock, &weixin, store.clone()), keeper(&clock, &weixin, store));
    let first = one.token().await.unwrap().generation();
    assert_eq!(two.token().await.unwrap().generation(), first);
    one.refresh(first, Evidence::Reported).await.unwrap();
    // Time does not advance here.
    clock.advance_and_run(Duration::ZERO).await;
    assert_eq!(two.current().get().unwrap().token().expose_secret(), "B");
    assert_eq!(weixin.count(TOKEN), 2);
}

/// A store with a notification of a token that it does not have.
#[derive(Debug, Default)]
struct Liar {
    readings: AtomicUsize,
}

#[async_trait]
impl TokenStore for Liar {
    async fn load(&self, _: &AppId) -> Result<TokenRecord, StoreError> {
        self.readings.fetch_add(1, Ordering::Relaxed);
        Ok(TokenRecord::default())
    }

    async fn wait_for_change(&self, _: &AppId, known: Generation) -> Generation {
        match Generation::MAX {
            claimed if claimed > known => claimed,
            _ => pending().await,
        }
    }

    async fn compare_and_set(
        &self,
        _: &AppId,
        _: Generation,
        _: StoredToken,
    ) -> Result<CasOutcome, StoreError> {
        Ok(CasOutcome::Stored)
    }

    async fn acquire_lease(&self, _: &AppId, _: &str, _: Duration) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn release_lease(&self, _: &AppId, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn set_in_doubt(&self, _: &AppId, _: UnixMillis) -> Result<(), StoreError> {
        Ok(())
    }

    async fn clear_in_doubt(&self, _: &AppId, _: UnixMillis) -> Result<(), StoreError> {
        Ok(())
    }

    async fn try_acquire_force_refresh(&self, _: &AppId, _: UnixMillis) -> Result<bool, StoreError> {
        Ok(false)
    }
}

#[tokio::test]
async fn false_notification_costs_one_read() {
    let (clock, weixin) = (Arc::new(ManualClock::new()), Arc::new(MockTransport::new()));
    weixin.respond_once(TOKEN, MockResponse::json(r#"{"access_token":"A","expires_in":7200}"#));
    let store = Arc::new(Liar::default());
    let keeper = keeper(&clock, &weixin, store.clone());
    keeper.token().await.unwrap();
    let readings = || store.readings.load(Ordering::Relaxed);
    clock.advance_and_run(Duration::ZERO).await;
    // One read of the attempt, one for the notification.
    assert_eq!(readings(), 2);
    clock.advance_and_run(Duration::from_secs(60)).await;
    assert!((30..=34).contains(&readings()), "{} readings", readings());
}
