//! Opens the ledger of the configuration.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;
use tracing::{info, warn};
use wxsub_core::clock::{Clock, UnixMillis};
use wxsub_outbox::app::StoredApp;
use wxsub_outbox::audit::StoredAudit;
use wxsub_outbox::grant::StoredGrant;
use wxsub_outbox::id::MessageId;
use wxsub_outbox::ledger::{Applied, Change, InboxBacklog, MessageQuery, StoredWorker};
use wxsub_outbox::message::{StoredEvent, StoredMessage};
use wxsub_outbox::webhook::{EndpointStatus, StoredDelivery};
use wxsub_outbox::{Ledger, LedgerError};
use wxsub_postgres::{ConnectError, PostgresLedger, PostgresOptions};
use wxsub_proto::{AppId, LocalizedText, OpenId};
use wxsub_sqlite::{OpenError, SqliteLedger, SqliteOptions};

use crate::config::LedgerConfig;

/// How long a start waits for the process before it, which may still have the file.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);

/// Why the ledger of the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenLedgerError {
    /// The SQLite file.
    #[error(transparent)]
    File(#[from] OpenError),
    /// The PostgreSQL database.
    #[error(transparent)]
    Database(#[from] ConnectError),
}

impl OpenLedgerError {
    /// The error in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        match self {
            Self::File(error) => error.localized(),
            Self::Database(error) => error.localized(),
        }
    }
}

/// Opens the ledger. A database that is unavailable is opened later: tokens are served meanwhile.
pub(super) async fn open(
    config: &LedgerConfig,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn Ledger>, OpenLedgerError> {
    match config {
        LedgerConfig::File(path) => {
            let options = SqliteOptions::new().clock(Arc::clone(clock)).lock_timeout(LOCK_TIMEOUT);
            Ok(Arc::new(SqliteLedger::open(path, options).await?))
        }
        LedgerConfig::Database(database) => {
            let ledger = LateLedger { options: database.options.clone(), opened: OnceCell::new() };
            match ledger.opened().await {
                Err(error) if error.is_transient() => {
                    warn!(%error, "the ledger is unavailable; the server goes on to try");
                }
                opened => drop(opened?),
            }
            Ok(Arc::new(ledger))
        }
    }
}

/// A ledger in PostgreSQL that is opened when it is first used, and then again until that succeeds.
#[derive(Debug)]
struct LateLedger {
    options: PostgresOptions,
    opened: OnceCell<PostgresLedger>,
}

impl LateLedger {
    async fn opened(&self) -> Result<&PostgresLedger, ConnectError> {
        let open = async || {
            let ledger = PostgresLedger::connect(self.options.clone()).await?;
            info!(?ledger, "opened the ledger");
            Ok(ledger)
        };
        self.opened.get_or_try_init(open).await
    }

    async fn ledger(&self) -> Result<&PostgresLedger, LedgerError> {
        self.opened().await.map_err(|error| LedgerError::Unavailable(error.to_string()))
    }
}

#[async_trait]
impl Ledger for LateLedger {
    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<Result<Applied, LedgerError>>, LedgerError> {
        self.ledger().await?.commit(changes).await
    }

    async fn message(&self, id: MessageId) -> Result<Option<StoredMessage>, LedgerError> {
        self.ledger().await?.message(id).await
    }

    async fn history(&self, id: MessageId) -> Result<Vec<StoredEvent>, LedgerError> {
        self.ledger().await?.history(id).await
    }

    async fn messages(&self, query: &MessageQuery) -> Result<Vec<StoredMessage>, LedgerError> {
        self.ledger().await?.messages(query).await
    }

    async fn grants(&self, appid: &AppId, openid: &OpenId) -> Result<Vec<StoredGrant>, LedgerError> {
        self.ledger().await?.grants(appid, openid).await
    }

    async fn app(&self, appid: &AppId) -> Result<StoredApp, LedgerError> {
        self.ledger().await?.app(appid).await
    }

    async fn workers(&self) -> Result<Vec<StoredWorker>, LedgerError> {
        self.ledger().await?.workers().await
    }

    async fn audit(&self, before: Option<u64>, limit: usize) -> Result<Vec<StoredAudit>, LedgerError> {
        self.ledger().await?.audit(before, limit).await
    }

    async fn claimable_apps(&self) -> Result<Vec<AppId>, LedgerError> {
        self.ledger().await?.claimable_apps().await
    }

    async fn notified(&self) {
        match self.opened.get() {
            Some(ledger) => ledger.notified().await,
            // The worker asks in intervals, and that opens it.
            None => pending::<()>().await,
        }
    }

    async fn apps(&self) -> Result<Vec<AppId>, LedgerError> {
        self.ledger().await?.apps().await
    }

    async fn undecided_apps(&self) -> Result<Vec<AppId>, LedgerError> {
        self.ledger().await?.undecided_apps().await
    }

    async fn first_due_at(&self, appid: &AppId) -> Result<Option<UnixMillis>, LedgerError> {
        self.ledger().await?.first_due_at(appid).await
    }

    async fn inbox_backlog(&self, apps: &[AppId]) -> Result<Option<InboxBacklog>, LedgerError> {
        self.ledger().await?.inbox_backlog(apps).await
    }

    async fn webhook_endpoints(&self) -> Result<Vec<EndpointStatus>, LedgerError> {
        self.ledger().await?.webhook_endpoints().await
    }

    async fn failed_deliveries(
        &self,
        endpoint: &str,
        limit: usize,
    ) -> Result<Vec<StoredDelivery>, LedgerError> {
        self.ledger().await?.failed_deliveries(endpoint, limit).await
    }
}
