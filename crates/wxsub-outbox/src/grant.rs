//! Grants: recorded consents, and the rules by which messages use them.
//!
//! Weixin does not add consents up: a second one for the same app, user, template and scene is worth nothing while the
//! first is unused. So the newest grant of these four decides.
//!
//! <https://developers.weixin.qq.com/doc/subscription/guide/product/message/One-time_subscription_info.html>

#![expect(
    clippy::exhaustive_structs,
    clippy::exhaustive_enums,
    reason = "a ledger decides, writes and reads all of it"
)]

use std::time::Duration;

use wxsub_core::clock::UnixMillis;
use wxsub_core::consent::Nonce;
use wxsub_proto::{AppId, Grant, LocalizedText, OpenId, Remedy, Scene, TemplateId};

use crate::id::GrantId;
use crate::idempotency::Fingerprint;
use crate::message::{Detail, GrantEffect, StoredMessage};
use crate::state::{GrantState, Reason, Stage};

/// What a consent is for: consents that agree in these four do not add up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// The app.
    pub appid: AppId,
    /// The user.
    pub openid: OpenId,
    /// The template.
    pub template_id: TemplateId,
    /// The scene.
    pub scene: Scene,
}

impl Subject {
    /// What this grant of Weixin is for, within an app.
    #[must_use]
    pub fn new(appid: AppId, grant: &Grant) -> Self {
        Self {
            appid,
            openid: grant.openid().clone(),
            template_id: grant.template_id().clone(),
            scene: grant.scene(),
        }
    }

    /// What the grant of this message is for; `None` if the message is invalid and that cannot be read.
    #[must_use]
    pub fn of_message(message: &StoredMessage) -> Option<Self> {
        Some(Self {
            appid: message.appid.clone(),
            openid: message.touser.clone()?,
            template_id: message.template_id.clone()?,
            scene: message.scene?,
        })
    }
}

/// A recorded consent: one row of `wxsub_grant`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredGrant {
    /// Its id.
    pub id: GrantId,
    /// What it is for.
    pub subject: Subject,
    /// Its state.
    pub state: GrantState,
    /// When it was recorded.
    pub consented_at: UnixMillis,
    /// Until when its callback can be verified. The row is kept as long, or a replayed callback would make a second grant.
    pub callback_expires_at: UnixMillis,
}

/// What becomes of a consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// It makes a new open grant.
    Recorded(GrantId),
    /// Its callback was recorded before, for this grant.
    AlreadyRecorded(GrantId),
    /// It adds nothing to this grant, which no message has used yet.
    Absorbed(GrantId),
}

impl Consent {
    /// The grant that it made or belongs to.
    #[must_use]
    pub fn grant(&self) -> GrantId {
        match self {
            Self::Recorded(grant) | Self::AlreadyRecorded(grant) | Self::Absorbed(grant) => *grant,
        }
    }
}

/// How long a consent that was verified elsewhere is known by its name.
const NAME_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// Identifies a consent that was verified elsewhere by what its owner calls it: recorded again under that name within a
/// year, it makes no second grant.
#[must_use]
pub fn nonce_of_name(appid: &AppId, name: &str, now: UnixMillis) -> Nonce {
    let digest = Fingerprint::of_bytes(format!("grant\0{appid}\0{name}").as_bytes());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.as_bytes()).for_each(|(byte, digest)| *byte = *digest);
    Nonce::from_parts(bytes, now + NAME_LIFETIME)
}

/// Whether a new consent adds nothing to the newest grant.
#[must_use]
pub fn absorbs(newest: GrantState) -> bool {
    matches!(newest, GrantState::Open | GrantState::Reserved)
}

/// Why a message is not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// Another message has the grant, or may have used it up.
    #[error(
        "grant: another message has it or may have used it up; wait for that message, or ask for a new consent"
    )]
    GrantUnavailable,
    /// The app requires a grant, and there is none to use.
    #[error("grant: there is no open grant and the app requires one; ask the user for a consent")]
    NoGrant,
}

impl NotAdmitted {
    /// Returns the reason in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        let chinese = match self {
            Self::GrantUnavailable => {
                "grant：另一条消息占用了这次授权，或可能已用掉它；请等待那条消息的结果，或重新请求授权"
            }
            Self::NoGrant => "grant：没有可用的授权，而该应用要求有授权；请向用户请求授权",
        };
        LocalizedText::new(self.to_string(), chinese.to_owned())
    }

    /// Of the message of a batch that is recorded all the same.
    pub(crate) fn rejection(self) -> (Reason, Detail) {
        let reason = match self {
            Self::GrantUnavailable => Reason::GrantUnavailable,
            Self::NoGrant => Reason::NoGrant,
        };
        let detail = Detail {
            stage: Some(Stage::Grant),
            errmsg: Some(self.to_string()),
            remedy: Some(Remedy::Stop),
            ..Detail::default()
        };
        (reason, detail)
    }
}

/// Whether a message may be recorded, and which grant it takes: the newest one of its subject decides.
///
/// # Errors
/// [`NotAdmitted`] if it may not.
pub fn admit(newest: Option<&StoredGrant>, require_grant: bool) -> Result<Option<GrantId>, NotAdmitted> {
    match newest.map(|grant| (grant.state, grant.id)) {
        Some((GrantState::Open, id)) => Ok(Some(id)),
        Some((GrantState::Reserved | GrantState::Attempting | GrantState::InDoubt, _)) => {
            Err(NotAdmitted::GrantUnavailable)
        }
        Some((GrantState::Used | GrantState::Void, _)) | None if require_grant => Err(NotAdmitted::NoGrant),
        Some((GrantState::Used | GrantState::Void, _)) | None => Ok(None),
    }
}

/// Which grant a message takes that is sent again: a newer open one if there is one, else the one in doubt.
///
/// # Errors
/// [`NotAdmitted`] if the undecided message had no grant and another message has the newest one.
pub fn admit_again(
    in_doubt: Option<GrantId>,
    newest: Option<&StoredGrant>,
) -> Result<Option<GrantId>, NotAdmitted> {
    match (in_doubt, newest) {
        (Some(_), Some(newest)) if newest.state == GrantState::Open => Ok(Some(newest.id)),
        (Some(doubted), _) => Ok(Some(doubted)),
        (None, newest) => admit(newest, false),
    }
}

/// The state of a grant after a message did this to it. `has_newer`: its subject has a newer grant, in whatever state.
#[must_use]
pub fn after(effect: GrantEffect, has_newer: bool) -> GrantState {
    match effect {
        GrantEffect::Reserve => GrantState::Reserved,
        GrantEffect::Attempt => GrantState::Attempting,
        GrantEffect::Use => GrantState::Used,
        GrantEffect::Doubt => GrantState::InDoubt,
        GrantEffect::Release if !has_newer => GrantState::Open,
        // Weixin does not add consents up: the newer one is all that is left.
        GrantEffect::Release | GrantEffect::Void => GrantState::Void,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use GrantState::{Attempting, InDoubt, Open, Reserved, Used, Void};

    fn grant(state: GrantState) -> StoredGrant {
        let weixin = Grant::assume_verified("o", "T", 7).unwrap();
        StoredGrant {
            id: GrantId::from_bytes([1; 16]),
            subject: Subject::new("wx1".parse().unwrap(), &weixin),
            state,
            consented_at: UnixMillis::new(1),
            callback_expires_at: UnixMillis::new(2),
        }
    }

    #[test]
    fn the_newest_grant_decides_about_a_message() {
        use NotAdmitted::{GrantUnavailable, NoGrant};
        let id = GrantId::from_bytes([1; 16]);
        for (newest, allowed, required) in [
            (Some(Open), Ok(Some(id)), Ok(Some(id))),
            (Some(Reserved), Err(GrantUnavailable), Err(GrantUnavailable)),
            (Some(Attempting), Err(GrantUnavailable), Err(GrantUnavailable)),
            (Some(InDoubt), Err(GrantUnavailable), Err(GrantUnavailable)),
            (Some(Used), Ok(None), Err(NoGrant)),
            (Some(Void), Ok(None), Err(NoGrant)),
            (None, Ok(None), Err(NoGrant)),
        ] {
            let newest = newest.map(grant);
            assert_eq!(admit(newest.as_ref(), false), allowed, "{newest:?}");
            assert_eq!(admit(newest.as_ref(), true), required, "{newest:?}");
        }
    }

    #[test]
    fn a_message_sent_again_prefers_a_newer_open_grant() {
        let (doubted, id) = (GrantId::from_bytes([2; 16]), GrantId::from_bytes([1; 16]));
        for (newest, taken) in [(Open, id), (Reserved, doubted), (InDoubt, doubted), (Used, doubted)] {
            assert_eq!(admit_again(Some(doubted), Some(&grant(newest))), Ok(Some(taken)), "{newest}");
        }
        assert_eq!(admit_again(None, Some(&grant(Open))), Ok(Some(id)));
        assert_eq!(admit_again(None, Some(&grant(Attempting))), Err(NotAdmitted::GrantUnavailable));
        assert_eq!(admit_again(None, Some(&grant(Used))), Ok(None));
    }
}
