//! A shared store, with this server's files behind it: the last known tokens, for a start while the shared store is away.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use wxsub_core::clock::UnixMillis;
use wxsub_core::store::{Put, Record, StoreError, StoredToken, TokenStore};
use wxsub_core::token::Generation;
use wxsub_proto::AppId;

use super::FileStore;

/// The shared store decides; the files only remember.
#[derive(Debug)]
pub(crate) struct BackedStore {
    shared: Arc<dyn TokenStore>,
    files: FileStore,
}

impl BackedStore {
    pub(crate) fn new(shared: Arc<dyn TokenStore>, files: FileStore) -> Self {
        Self { shared, files }
    }
}

#[async_trait]
impl TokenStore for BackedStore {
    async fn load(&self, app: &AppId) -> Result<Record, StoreError> {
        let record = self.shared.load(app).await?;
        if let Some(token) = &record.token {
            self.files.back_up(app, token).await;
        }
        Ok(record)
    }

    async fn last_known(&self, app: &AppId) -> Option<StoredToken> {
        self.files.load(app).await.ok()?.token
    }

    async fn newer_than(&self, app: &AppId, known: Generation) -> Generation {
        self.shared.newer_than(app, known).await
    }

    async fn put_if_newer(
        &self,
        app: &AppId,
        replaces: Generation,
        token: StoredToken,
    ) -> Result<Put, StoreError> {
        let put = self.shared.put_if_newer(app, replaces, token.clone()).await;
        if !matches!(put, Ok(Put::Lost(_))) {
            self.files.back_up(app, &token).await;
        }
        put
    }

    async fn lease(&self, app: &AppId, holder: &str, length: Duration) -> Result<bool, StoreError> {
        self.shared.lease(app, holder, length).await
    }

    async fn release(&self, app: &AppId, holder: &str) -> Result<(), StoreError> {
        self.shared.release(app, holder).await
    }

    async fn mark(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.shared.mark(app, since).await
    }

    async fn clear_mark(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        self.shared.clear_mark(app, since).await
    }

    async fn take_force(&self, app: &AppId, now: UnixMillis) -> Result<bool, StoreError> {
        self.shared.take_force(app, now).await
    }
}
