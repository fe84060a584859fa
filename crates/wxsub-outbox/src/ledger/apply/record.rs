//! Recording consents and messages, and which grant a message takes.

use super::super::LedgerError;
use super::super::change::{NewConsent, NewMessage, NotRecorded, Recorded};
use super::Changing;
use crate::grant::{Consent, StoredGrant, Subject, absorbs, admit};
use crate::id::{GrantId, WorkerId};
use crate::idempotency::{KeyScope, StoredKey};
use crate::message::{DEFAULT_LIFETIME, Detail, GrantEffect, StoredMessage};
use crate::retention::DEFAULT_KEY_RETENTION;
use crate::state::{EventKind, GrantState, MessageState, Mode};

impl Changing<'_> {
    pub(super) fn record_consent(&mut self, consent: NewConsent) -> Result<Consent, LedgerError> {
        let nonce = consent.nonce.as_ref();
        if let Some(nonce) = nonce
            && let Some(grant) = self.tables.nonce(nonce.bytes())?
        {
            return Ok(Consent::AlreadyRecorded(grant));
        }
        if self.tables.grant(consent.grant)?.is_some() {
            return Ok(Consent::Recorded(consent.grant));
        }
        let callback_expires_at = nonce.map_or(self.now, |nonce| nonce.expires());
        let recorded = match self.tables.newest_grant(&consent.subject)? {
            Some(mut newest) if absorbs(newest.state) => {
                let absorbed = Consent::Absorbed(newest.id);
                // The nonce is known as long as the grant's row.
                newest.callback_expires_at = newest.callback_expires_at.max(callback_expires_at);
                self.tables.put_grant(newest)?;
                absorbed
            }
            _ => {
                let (id, subject) = (consent.grant, consent.subject);
                let (state, consented_at) = (GrantState::Open, self.now);
                self.tables.put_grant(StoredGrant {
                    id,
                    subject,
                    state,
                    consented_at,
                    callback_expires_at,
                })?;
                Consent::Recorded(id)
            }
        };
        if let Some(nonce) = nonce {
            self.tables.put_nonce(*nonce.bytes(), recorded.grant())?;
        }
        Ok(recorded)
    }

    pub(super) fn void_grant(&mut self, id: GrantId) -> Result<Option<StoredGrant>, LedgerError> {
        let Some(mut grant) = self.tables.grant(id)? else { return Ok(None) };
        let held = self.tables.holder(id)?.is_some();
        let can_be_voided = grant.state == GrantState::Open || (grant.state == GrantState::InDoubt && !held);
        if !can_be_voided {
            return Ok(None);
        }
        grant.state = GrantState::Void;
        self.tables.put_grant(grant.clone())?;
        Ok(Some(grant))
    }

    /// Records a message: for the queue, or for one attempt of this worker.
    pub(super) fn record(
        &mut self,
        new: NewMessage,
        attempted_by: Option<WorkerId>,
    ) -> Result<Result<Recorded, NotRecorded>, LedgerError> {
        if let Some(known) = self.tables.message(new.id)? {
            return Ok(Ok(Recorded::New(Box::new(known))));
        }
        let scope = new.key.as_ref().map(|key| KeyScope {
            appid: new.appid.clone(),
            client: key.client.clone(),
            key: key.key.clone(),
        });
        let mut parent_id = None;
        if let (Some(scope), Some(key)) = (&scope, &new.key)
            && let Some(stored) = self.tables.key(scope)?
            && let Some(before) = self.tables.message(stored.message)?
        {
            if stored.fingerprint != key.fingerprint {
                return Ok(Err(NotRecorded::KeyReused(before.id)));
            }
            if !before.frees_key() {
                return Ok(Ok(Recorded::Replayed(Box::new(before))));
            }
            parent_id = Some(before.id);
        }
        if let Some(worker) = attempted_by {
            if !self.is_alive(worker)? {
                return Ok(Err(NotRecorded::WorkerGone));
            }
            if self.tables.app(&new.appid)?.pauses.claimable(1, self.now) == 0 {
                return Ok(Err(NotRecorded::Paused));
            }
        }
        let newest = self.tables.newest_grant(&Subject::new(new.appid.clone(), new.body.grant()))?;
        let grant = match admit(newest.as_ref(), new.require_grant) {
            Ok(grant) => grant,
            Err(not_admitted) => return Ok(Err(not_admitted.into())),
        };
        let key = scope.zip(new.key.as_ref().map(|key| key.fingerprint));
        let mut message = self.new_message(new, grant);
        message.parent_id = parent_id;
        let transition = match attempted_by {
            None => message.event(EventKind::Enqueued, self.now).effect(GrantEffect::Reserve),
            Some(worker) => {
                message.mode = Mode::Synchronous;
                message.claim(worker, self.now).begun()
            }
        };
        let recorded = self.save(None, transition)?;
        if attempted_by.is_some() {
            self.note_claims(&recorded.appid, &[recorded.id])?;
        }
        if let Some((scope, fingerprint)) = key {
            let (message, check_at) = (recorded.id, self.now + DEFAULT_KEY_RETENTION);
            self.tables.put_key(StoredKey { scope, fingerprint, message, check_at })?;
        }
        Ok(Ok(Recorded::New(Box::new(recorded))))
    }

    fn new_message(&self, new: NewMessage, grant: Option<GrantId>) -> StoredMessage {
        let send_at = new.send_at.unwrap_or(self.now);
        let weixin = new.body.grant();
        StoredMessage {
            id: new.id,
            appid: new.appid,
            state: MessageState::Queued,
            reason: None,
            mode: Mode::Queued,
            touser: weixin.openid().clone(),
            template_id: weixin.template_id().clone(),
            scene: weixin.scene(),
            body: Some(new.body),
            priority: new.priority,
            attempt: 0,
            failures: 0,
            version: 0,
            created_at: self.now,
            send_at,
            due_at: send_at,
            expires_at: new.expires_at.unwrap_or_else(|| send_at.max(self.now) + DEFAULT_LIFETIME),
            attempted_at: None,
            settled_at: None,
            worker: None,
            detail: Detail::default(),
            idempotency_key: new.key.map(|key| key.key),
            grant,
            decision: None,
            parent_id: None,
            restored_at: None,
        }
    }
}
