//! A store that is sometimes away.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use wxsub_core::clock::UnixMillis;
use wxsub_core::proto::AppId;
use wxsub_core::store::{MemoryStore, Put, Record, StoreError, StoredToken, TokenStore};
use wxsub_core::token::Generation;

use super::faults::{Spell, Trouble};
use super::node_clock::MachineClock;

/// Its answers take a moment; while it is away, so do its errors, and half of what it was asked is done all the same.
#[derive(Debug)]
pub(super) struct FlakyStore {
    pub(super) store: MemoryStore,
    pub(super) clock: Arc<MachineClock>,
    pub(super) weather: Vec<Spell>,
}

impl FlakyStore {
    async fn ask<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let passed = self.clock.passed();
        let away =
            self.weather.iter().any(|spell| spell.trouble == Trouble::StoreAway && spell.covers(passed));
        if !away {
            self.clock.sleep(Duration::from_millis(1)).await;
            return work.await;
        }
        if passed.as_millis().is_multiple_of(2) {
            work.await?;
        }
        self.clock.sleep(Duration::from_millis(1000)).await;
        Err(StoreError::new("away"))
    }
}

#[async_trait]
impl TokenStore for FlakyStore {
    async fn load(&self, app: &AppId) -> Result<Record, StoreError> {
        self.ask(self.store.load(app)).await
    }

    async fn put_if_newer(
        &self,
        app: &AppId,
        replaces: Generation,
        token: StoredToken,
    ) -> Result<Put, StoreError> {
        self.ask(self.store.put_if_newer(app, replaces, token)).await
    }

    async fn lease(&self, app: &AppId, holder: &str, length: Duration) -> Result<bool, StoreError> {
        self.ask(self.store.lease(app, holder, length)).await
    }

    async fn release(&self, app: &AppId, holder: &str) -> Result<(), StoreError> {
        self.ask(self.store.release(app, holder)).await
    }

    async fn mark(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.ask(self.store.mark(app, since)).await
    }

    async fn clear_mark(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.ask(self.store.clear_mark(app, since)).await
    }

    async fn take_force(&self, app: &AppId, now: UnixMillis) -> Result<bool, StoreError> {
        self.ask(self.store.take_force(app, now)).await
    }
}
