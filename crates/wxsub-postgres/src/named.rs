//! Which rows a list of changes names.

use std::collections::{BTreeMap, BTreeSet};

use wxsub_outbox::grant::Subject;
use wxsub_outbox::id::{GrantId, MessageId, WorkerId};
use wxsub_outbox::idempotency::KeyScope;
use wxsub_outbox::ledger::{Change, NewKey, Rows};
use wxsub_outbox::webhook::{DeliveryId, DeliveryOutcome};
use wxsub_proto::AppId;

/// The rows that changes name, before any is read.
#[derive(Debug, Default)]
pub(crate) struct Named {
    pub(crate) messages: BTreeSet<MessageId>,
    /// Messages whose subject decides, also if they have no grant.
    pub(crate) decided: BTreeSet<MessageId>,
    pub(crate) keys: BTreeSet<KeyScope>,
    pub(crate) grants: BTreeSet<GrantId>,
    /// Grants whose holders count.
    pub(crate) voided: BTreeSet<GrantId>,
    pub(crate) subjects: BTreeSet<Subject>,
    pub(crate) nonces: BTreeSet<[u8; 16]>,
    pub(crate) workers: BTreeSet<WorkerId>,
    /// Workers whose running attempts count.
    pub(crate) beating: BTreeSet<WorkerId>,
    pub(crate) apps: BTreeSet<AppId>,
    /// How many due messages are claimed.
    pub(crate) claims: BTreeMap<AppId, usize>,
    /// Deliveries to endpoints.
    pub(crate) deliveries: BTreeSet<DeliveryId>,
}

/// A change that finds its rows by itself has a part of the transaction for itself.
pub(crate) fn is_sweep(change: &Change) -> bool {
    matches!(
        change.inner(),
        Some(
            Change::MarkGone(_)
                | Change::Reclaim(_)
                | Change::Expire(_)
                | Change::Reschedule(_)
                | Change::ApplyPolicy(..)
                | Change::Restore
                | Change::Prune(..)
                | Change::PruneBatch { .. }
                | Change::MoveInbox { .. }
                | Change::ClaimDeliveries { .. }
        )
    )
}

/// Whether a change can write the endpoints that get webhooks.
pub(crate) fn can_write_endpoints(change: &Change) -> bool {
    match change.inner() {
        Some(Change::SetEndpoints(_) | Change::Redeliver { .. }) => true,
        Some(Change::SettleDelivery { outcome, .. }) => matches!(outcome, DeliveryOutcome::Gone { .. }),
        _ => false,
    }
}

impl Named {
    pub(crate) fn new(changes: &[Change]) -> Self {
        let mut named = Self::default();
        changes.iter().filter_map(Change::inner).for_each(|change| named.add(change));
        named
    }

    fn add(&mut self, change: &Change) {
        match change {
            Change::Register(_) => {}
            Change::Heartbeat(worker) => {
                self.workers.insert(*worker);
                self.beating.insert(*worker);
            }
            Change::RecordConsent(consent) => {
                self.grants.insert(consent.grant);
                self.subjects.insert(consent.subject.clone());
                self.nonces.extend(consent.nonce.as_ref().map(|nonce| *nonce.bytes()));
            }
            Change::VoidGrant { grant, .. } => {
                self.grants.insert(*grant);
                self.voided.insert(*grant);
            }
            Change::Enqueue(new) | Change::Begin(new, _) => {
                self.messages.insert(new.id);
                self.subjects.insert(Subject::new(new.appid.clone(), new.body.grant()));
                self.add_key(new.key.as_ref(), &new.appid);
                if let Change::Begin(_, worker) = change {
                    self.workers.insert(*worker);
                }
            }
            Change::RecordInvalid(new) => {
                self.messages.insert(new.id);
                self.add_key(Some(&new.key), &new.appid);
            }
            Change::Claim { worker, appid, limit } => {
                self.workers.insert(*worker);
                self.apps.insert(appid.clone());
                let claimed = self.claims.entry(appid.clone()).or_default();
                *claimed = claimed.saturating_add(*limit);
            }
            Change::Settle { message, .. } | Change::Cancel { message, .. } => {
                self.messages.insert(*message);
            }
            Change::Decide(decision) => {
                self.messages.extend([decision.message, decision.child]);
                self.decided.insert(decision.message);
            }
            Change::Pause { appid, .. } | Change::Resume(appid) | Change::LiftTokenPause(appid) => {
                self.apps.insert(appid.clone());
            }
            Change::SettleDelivery { id, .. } => {
                self.deliveries.insert(id.clone());
            }
            Change::Redeliver { deliveries, .. } => self.deliveries.extend(deliveries.iter().cloned()),
            Change::Audited(..)
            | Change::SetEndpoints(_)
            | Change::ClaimDeliveries { .. }
            | Change::MarkGone(_)
            | Change::Reclaim(_)
            | Change::Expire(_)
            | Change::Reschedule(_)
            | Change::ApplyPolicy(..)
            | Change::Restore
            | Change::Prune(..)
            | Change::PruneBatch { .. }
            | Change::MoveInbox { .. } => {}
        }
    }

    fn add_key(&mut self, key: Option<&NewKey>, appid: &AppId) {
        self.apps.insert(appid.clone());
        self.keys.extend(key.map(|key| key.scope(appid)));
    }

    /// Adds the grants and apps of the messages that are loaded.
    pub(crate) fn add_of_messages(&mut self, rows: &Rows, with_grants: bool) {
        for message in rows.loaded_messages() {
            self.apps.insert(message.appid.clone());
            if with_grants {
                self.grants.extend(message.grant);
            }
            if with_grants && (message.grant.is_some() || self.decided.contains(&message.id)) {
                self.subjects.extend(Subject::of_message(message));
            }
        }
    }
}
