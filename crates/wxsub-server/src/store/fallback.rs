//! A shared store, with the files of this server as a fallback.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use wxsub_core::clock::UnixMillis;
use wxsub_core::store::{CasOutcome, StoreError, StoredToken, TokenRecord, TokenStore};
use wxsub_core::token::Generation;
use wxsub_proto::AppId;

use super::FileStore;

/// Delegates to the shared store, and saves the latest tokens in files.
///
/// The files serve a start while the shared store is unavailable.
#[derive(Debug)]
pub(crate) struct FallbackStore {
    shared: Arc<dyn TokenStore>,
    files: FileStore,
}

impl FallbackStore {
    pub(crate) fn new(shared: Arc<dyn TokenStore>, files: FileStore) -> Self {
        Self { shared, files }
    }
}

#[async_trait]
impl TokenStore for FallbackStore {
    async fn load(&self, app: &AppId) -> Result<TokenRecord, StoreError> {
        let record = self.shared.load(app).await?;
        if let Some(token) = &record.token {
            self.files.back_up(app, token).await;
        }
        Ok(record)
    }

    async fn load_fallback(&self, app: &AppId) -> Option<StoredToken> {
        self.files.load(app).await.ok()?.token
    }

    async fn wait_for_change(&self, app: &AppId, known: Generation) -> Generation {
        self.shared.wait_for_change(app, known).await
    }

    async fn compare_and_set(
        &self,
        app: &AppId,
        replaces: Generation,
        token: StoredToken,
    ) -> Result<CasOutcome, StoreError> {
        let result = self.shared.compare_and_set(app, replaces, token.clone()).await;
        if !matches!(result, Ok(CasOutcome::Conflict(_))) {
            self.files.back_up(app, &token).await;
        }
        result
    }

    async fn acquire_lease(&self, app: &AppId, holder: &str, length: Duration) -> Result<bool, StoreError> {
        self.shared.acquire_lease(app, holder, length).await
    }

    async fn release_lease(&self, app: &AppId, holder: &str) -> Result<(), StoreError> {
        self.shared.release_lease(app, holder).await
    }

    async fn set_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.shared.set_in_doubt(app, since).await
    }

    async fn clear_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.shared.clear_in_doubt(app, since).await
    }

    async fn try_acquire_force_refresh(&self, app: &AppId, now: UnixMillis) -> Result<bool, StoreError> {
        self.shared.try_acquire_force_refresh(app, now).await
    }
}
