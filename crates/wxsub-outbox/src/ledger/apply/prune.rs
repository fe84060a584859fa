//! Deleting what has been kept long enough.

use std::time::Duration;

use wxsub_proto::AppId;

use super::super::LedgerResult;
use super::super::change::{Applied, PruneReport};
use super::{Changing, PAGE, take_one};
use crate::id::MessageId;
use crate::idempotency::StoredKey;
use crate::message::StoredMessage;
use crate::retention::Retention;
use crate::state::MessageState;
use crate::webhook::DELIVERY_RETENTION;

/// How long the row of a gone worker is kept.
pub const GONE_WORKER_RETENTION: Duration = Duration::from_secs(24 * 3600);

impl Changing<'_> {
    /// Keys go first: the row of a message stays as long as a key stands for it.
    pub(super) fn prune(&mut self, retention: &Retention, limit: usize) -> LedgerResult<PruneReport> {
        let now = self.now;
        let mut report = PruneReport::default();
        for key in self.tables.keys_to_check(now, limit)? {
            report.keys += usize::from(self.prune_key(key, retention)?);
        }
        for state in MessageState::ALL.iter().copied().filter(|state| state.is_final()) {
            let until = now.before(retention.of_state(state));
            for message in self.tables.ended(state, until, limit - report.messages)? {
                self.delete(&message)?;
                report.messages += 1;
            }
        }
        for grant in self.tables.spent_grants(now.before(retention.grant), now, limit)? {
            self.tables.delete_grant(grant)?;
            report.grants += 1;
        }
        for delivery in self.tables.old_deliveries(now.before(DELIVERY_RETENTION), limit)? {
            self.tables.delete_delivery(&delivery)?;
            report.deliveries += 1;
        }
        report.workers = self.tables.delete_gone_workers(now.before(GONE_WORKER_RETENTION))?;
        Ok(report)
    }

    /// Deletes the keys of a batch. A key whose message can still change is kept: its line would be sent again.
    pub(super) fn prune_batch(&mut self, appid: &AppId, client: &str) -> LedgerResult<Applied> {
        let (mut deleted, mut kept, mut last) = (0, 0, None);
        loop {
            let page = self.tables.keys_of(appid, client, last.as_ref(), PAGE)?;
            for key in &page {
                if self.chain(key.message)?.iter().all(|message| message.ended_at().is_some()) {
                    self.tables.delete_key(&key.scope)?;
                    deleted += 1;
                } else {
                    kept += 1;
                }
            }
            let Some(key) = page.into_iter().next_back() else { break };
            last = Some(key.scope.key);
        }
        Ok(Applied::BatchPruned { deleted, kept })
    }

    /// A message, and those sent in its place.
    fn chain(&mut self, first: MessageId) -> LedgerResult<Vec<StoredMessage>> {
        let (mut chain, mut next) = (Vec::new(), Some(first));
        while let Some(message) = next.map(|id| self.tables.message(id)).transpose()?.flatten() {
            next = message.decision.as_ref().and_then(|decided| decided.child);
            chain.push(message);
        }
        Ok(chain)
    }

    /// Deletes a key, or notes when to look again.
    fn prune_key(&mut self, key: StoredKey, retention: &Retention) -> LedgerResult<bool> {
        let until = retention.key_until(&self.chain(key.message)?);
        if until.is_some_and(|until| until <= self.now) {
            self.tables.delete_key(&key.scope)?;
            return Ok(true);
        }
        let check_at = until.unwrap_or_else(|| self.now + retention.key);
        self.tables.put_key(StoredKey { check_at, ..key })?;
        Ok(false)
    }

    fn delete(&mut self, message: &StoredMessage) -> LedgerResult<()> {
        self.tables.delete_message(message.id)?;
        let mut app = self.tables.app(&message.appid)?;
        take_one(&mut app.counts, message.state);
        self.tables.put_app(&message.appid, app)
    }
}
