//! Opens the ledger of the configuration.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tracing::{info, warn};
use wxsub_core::clock::Clock;
use wxsub_outbox::ledger::LedgerLayer;
use wxsub_outbox::{Ledger, LedgerError, LedgerResult};
use wxsub_postgres::{ConnectError, PostgresLedger, PostgresOptions};
use wxsub_proto::LocalizedText;
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
}

impl LedgerLayer for LateLedger {
    async fn ledger(&self) -> LedgerResult<&dyn Ledger> {
        let opened = self.opened().await;
        Ok(opened.map_err(|error| LedgerError::Unavailable(error.to_string()))?)
    }

    async fn notified_through(&self) {
        match self.opened.get() {
            Some(ledger) => ledger.notified().await,
            // The worker asks in intervals, and that opens it.
            None => pending::<()>().await,
        }
    }
}
