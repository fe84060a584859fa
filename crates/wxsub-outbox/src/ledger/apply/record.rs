//! Recording consents and messages, and which grant a message takes.

use wxsub_proto::AppId;

use super::super::LedgerResult;
use super::super::change::{
    InvalidLine, InvalidMessage, KeyKind, NewConsent, NewKey, NewMessage, NotRecorded, Recorded,
};
use super::Changing;
use crate::grant::{Consent, StoredGrant, Subject, absorbs, admit};
use crate::id::{GrantId, MessageId, WorkerId};
use crate::idempotency::{NEVER, StoredKey};
use crate::message::{DEFAULT_LIFETIME, Detail, GrantEffect, StoredMessage};
use crate::retention::{DEFAULT_KEY_RETENTION, INBOX_KEY_RETENTION};
use crate::state::{EventKind, GrantState, MessageState, Mode, Reason};

impl Changing<'_> {
    pub(super) fn record_consent(&mut self, consent: NewConsent) -> LedgerResult<Consent> {
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

    pub(super) fn void_grant(
        &mut self,
        id: GrantId,
        appid: Option<&AppId>,
    ) -> LedgerResult<Option<StoredGrant>> {
        let Some(mut grant) = self.tables.grant(id)? else { return Ok(None) };
        if appid.is_some_and(|appid| grant.subject.appid != *appid) {
            return Ok(None);
        }
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
    ) -> LedgerResult<Result<Recorded, NotRecorded>> {
        let before = match self.before(new.id, &new.appid, new.key.as_ref())? {
            Before::Decided(recorded) => return Ok(recorded),
            Before::Replaced(before) => before,
        };
        if let Some(worker) = attempted_by {
            if !self.is_alive(worker)? {
                return Ok(Err(NotRecorded::WorkerGone));
            }
            if self.tables.app(&new.appid)?.pauses.claimable(1, self.now) == 0 {
                return Ok(Err(NotRecorded::Paused));
            }
        }
        let newest = self.tables.newest_grant(&Subject::new(new.appid.clone(), new.body.grant()))?;
        let grant = admit(newest.as_ref(), new.require_grant);
        let key = new.key.clone();
        let mut message = self.new_message(new);
        message.parent_id = before.as_ref().map(|before| before.id);
        let transition = match (grant, attempted_by) {
            (Err(not_admitted), _) if key.as_ref().is_some_and(|key| key.kind != KeyKind::Request) => {
                let (reason, detail) = not_admitted.rejection();
                if let Some(before) = before.filter(|before| before.reason == Some(reason)) {
                    return Ok(Ok(Recorded::Replayed(before)));
                }
                message.reject(reason, detail, self.now)
            }
            (Err(not_admitted), _) => return Ok(Err(not_admitted.into())),
            (Ok(grant), None) => {
                message.grant = grant;
                message.event(EventKind::Enqueued, self.now).effect(GrantEffect::Reserve)
            }
            (Ok(grant), Some(worker)) => {
                (message.grant, message.mode) = (grant, Mode::Synchronous);
                message.claim(worker, self.now).begun()
            }
        };
        let recorded = self.save(None, transition)?;
        if attempted_by.is_some() {
            self.note_claims(&recorded.appid, &[recorded.id])?;
        }
        self.put_key(key, &recorded)?;
        Ok(Ok(Recorded::New(Box::new(recorded))))
    }

    /// Records a line of a batch that breaks a rule.
    pub(super) fn record_invalid(
        &mut self,
        new: InvalidMessage,
    ) -> LedgerResult<Result<Recorded, NotRecorded>> {
        let before = match self.before(new.id, &new.appid, Some(&new.key))? {
            Before::Decided(recorded) => return Ok(recorded),
            Before::Replaced(before) => before,
        };
        let InvalidMessage { id, appid, line, key } = new;
        let InvalidLine { touser, template_id, scene, problems } = line;
        let parent_id = before.map(|before| before.id);
        let message =
            StoredMessage { touser, template_id, scene, parent_id, ..self.blank(id, appid, Some(&key)) };
        let rejected = message.reject(Reason::Invalid, Detail::invalid(problems), self.now);
        let recorded = self.save(None, rejected)?;
        self.put_key(Some(key), &recorded)?;
        Ok(Ok(Recorded::New(Box::new(recorded))))
    }

    /// What an earlier request with this id or key decides.
    fn before(&mut self, id: MessageId, appid: &AppId, key: Option<&NewKey>) -> LedgerResult<Before> {
        let is_row = key.is_some_and(|key| key.kind == KeyKind::Inbox);
        let known = self.tables.message(id)?;
        if let (Some(known), false) = (&known, is_row) {
            return Ok(Before::Decided(Ok(Recorded::New(Box::new(known.clone())))));
        }
        let Some(key) = key else { return Ok(Before::Replaced(None)) };
        let Some(stored) = self.tables.key(&key.scope(appid))? else {
            // A row with the id of a message that did not come from this app's inbox.
            let other = known.map(|known| Before::Decided(Err(NotRecorded::KeyReused(known.id))));
            return Ok(other.unwrap_or(Before::Replaced(None)));
        };
        let Some(before) = self.tables.message(stored.message)? else { return Ok(Before::Replaced(None)) };
        let before = Box::new(before);
        let is_same = stored.fingerprint == key.fingerprint;
        let is_replaced = match key.kind {
            KeyKind::Request => is_same && before.frees_key(),
            // The same line breaks the same rule.
            KeyKind::Batch if is_same => before.frees_key() && before.reason != Some(Reason::Invalid),
            KeyKind::Batch => matches!(before.state, MessageState::Refused | MessageState::NotSent),
            // The id of the row is that of its message.
            KeyKind::Inbox => false,
        };
        Ok(match (is_replaced, is_same) {
            (true, _) => Before::Replaced(Some(before)),
            (false, true) => Before::Decided(Ok(Recorded::Replayed(before))),
            (false, false) => Before::Decided(Err(NotRecorded::KeyReused(before.id))),
        })
    }

    fn put_key(&mut self, key: Option<NewKey>, message: &StoredMessage) -> LedgerResult<()> {
        let Some(key) = key else { return Ok(()) };
        let check_at = match key.kind {
            KeyKind::Request => self.now + DEFAULT_KEY_RETENTION,
            KeyKind::Batch => NEVER,
            KeyKind::Inbox => self.now + INBOX_KEY_RETENTION,
        };
        let (scope, fingerprint) = (key.scope(&message.appid), key.fingerprint);
        self.tables.put_key(StoredKey { scope, fingerprint, message: message.id, check_at })
    }

    fn new_message(&self, new: NewMessage) -> StoredMessage {
        let send_at = new.send_at.unwrap_or(self.now);
        let weixin = new.body.grant();
        let (touser, template_id) = (weixin.openid().clone(), weixin.template_id().clone());
        StoredMessage {
            touser: Some(touser),
            template_id: Some(template_id),
            scene: Some(weixin.scene()),
            priority: new.priority,
            send_at,
            due_at: send_at,
            expires_at: new.expires_at.unwrap_or_else(|| send_at.max(self.now) + DEFAULT_LIFETIME),
            body: Some(new.body),
            ..self.blank(new.id, new.appid, new.key.as_ref())
        }
    }

    /// A message without content, as of now.
    fn blank(&self, id: MessageId, appid: AppId, key: Option<&NewKey>) -> StoredMessage {
        let idempotency_key = key.map(|key| key.key.clone());
        StoredMessage { idempotency_key, ..StoredMessage::blank(id, appid, self.now) }
    }
}

/// What an earlier request with the same id or key decides.
enum Before {
    /// Nothing is recorded.
    Decided(Result<Recorded, NotRecorded>),
    /// A new message is recorded, in place of this one if there is one.
    Replaced(Option<Box<StoredMessage>>),
}
