//! A store that is sometimes unavailable.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use wxsub_core::clock::UnixMillis;
use wxsub_core::proto::AppId;
use wxsub_core::store::{
    CasOutcome, LeaseOutcome, MemoryStore, StoreChange, StoreError, StoreErrorKind, StoredToken, TokenRecord,
    TokenStore,
};
use wxsub_core::token::Generation;

use super::faults::{FaultWindow, NetworkFault};
use super::node_clock::NodeClock;

/// Responses take 1 ms. While the store is unavailable, errors take 1 s, and half of the operations take effect all the same.
#[derive(Debug)]
pub(super) struct FlakyStore {
    pub(super) store: MemoryStore,
    pub(super) clock: Arc<NodeClock>,
    pub(super) faults: Vec<FaultWindow>,
}

impl FlakyStore {
    async fn execute<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let elapsed = self.clock.elapsed();
        let unavailable = self
            .faults
            .iter()
            .any(|window| window.fault == NetworkFault::StoreUnavailable && window.covers(elapsed));
        if !unavailable {
            self.clock.sleep(Duration::from_millis(1)).await;
            return work.await;
        }
        if elapsed.as_millis().is_multiple_of(2) {
            work.await?;
        }
        self.clock.sleep(Duration::from_millis(1000)).await;
        Err(StoreError::new(StoreErrorKind::Unreachable, "unavailable"))
    }
}

#[async_trait]
impl TokenStore for FlakyStore {
    async fn load(&self, app: &AppId) -> Result<TokenRecord, StoreError> {
        self.execute(self.store.load(app)).await
    }

    async fn wait_for_change(&self, app: &AppId, seen: u64) -> StoreChange {
        self.store.wait_for_change(app, seen).await
    }

    async fn compare_and_set(
        &self,
        app: &AppId,
        replaces: Generation,
        token: StoredToken,
    ) -> Result<CasOutcome, StoreError> {
        self.execute(self.store.compare_and_set(app, replaces, token)).await
    }

    async fn acquire_lease(
        &self,
        app: &AppId,
        holder: &str,
        length: Duration,
    ) -> Result<LeaseOutcome, StoreError> {
        self.execute(self.store.acquire_lease(app, holder, length)).await
    }

    async fn release_lease(&self, app: &AppId, holder: &str) -> Result<(), StoreError> {
        self.execute(self.store.release_lease(app, holder)).await
    }

    async fn set_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.execute(self.store.set_in_doubt(app, since)).await
    }

    async fn clear_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.execute(self.store.clear_in_doubt(app, since)).await
    }

    async fn try_acquire_force_refresh(&self, app: &AppId, now: UnixMillis) -> Result<bool, StoreError> {
        self.execute(self.store.try_acquire_force_refresh(app, now)).await
    }
}
