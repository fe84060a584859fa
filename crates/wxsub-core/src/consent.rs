//! Forgery: an answer comes from a browser or a phone, so anybody can write one. The `reserved` value that travels with
//! the request and comes back is the proof that the answer belongs to it.

mod key;
mod nonces;
mod signed_state;

pub use key::SigningKey;
pub use nonces::{InMemoryNonceStore, Nonce};

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;
use wxsub_proto::{AppId, ConsentAction, ConsentCallback, ConsentRequest, Grant, Scene, TemplateId};

use self::signed_state::{RejectReason, SignedState};
use crate::clock::{Clock, SystemClock};

/// How long a user has to answer, unless told otherwise.
const LIFETIME: Duration = Duration::from_secs(600);

/// Issues consent requests whose answers can be told from forged ones.
///
/// The `reserved` it makes holds version, key, expiry, a random nonce and a MAC over app, scene, template and the user's
/// session: those are bound, not carried. No state is kept; any server with the key can verify.
///
/// It proves that the answer belongs to a request made for *this session*. It does not prove whose `openid` came with it:
/// the user can put in somebody else's. Where you know the openid from a web login, compare the two; where you do not, know
/// that a wrong one gains nothing but a refusal (43101) unless that user has consented too.
///
/// ```
/// use wxsub_core::ConsentVerifier;
/// use wxsub_core::consent::{InMemoryNonceStore, SigningKey, VerifiedConsent};
/// use wxsub_core::proto::{ConsentCallback, Scene};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let verifier = ConsentVerifier::new("wx0123456789abcdef".parse()?, SigningKey::new(b"at least sixteen random bytes")?);
/// let nonces = InMemoryNonceStore::new();
///
/// let request = verifier.issue("TEMPLATE".parse()?, Scene::new(7)?, "session-42")?;
/// let reserved = request.reserved.as_ref().ok_or("none")?;
/// # let url = format!("https://a.example/?openid=OPENID&template_id=TEMPLATE&action=confirm&scene=7&reserved={reserved}");
///
/// let callback: ConsentCallback = url.parse()?;
/// let verified = verifier.verify(&callback, "session-42")?;
/// if !nonces.insert_if_new(&verified.nonce()) {
///     return Err("this callback was used before".into());
/// }
/// if let VerifiedConsent::Granted { grant, .. } = verified {
///     let message = grant.message("Parcel".parse()?, "It is here.".parse()?);
///     # assert_eq!(message.grant().openid().as_str(), "OPENID");
/// }
/// assert!(verifier.verify(&callback, "another session").is_err());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct ConsentVerifier {
    appid: AppId,
    key: SigningKey,
    previous: Option<SigningKey>,
    lifetime: Duration,
    clock: Arc<dyn Clock>,
}

/// An answer that belongs to a request of this session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a user confirms or cancels")]
pub enum VerifiedConsent {
    /// The user confirmed: here is the right to send one message.
    Granted {
        /// The right.
        grant: Grant,
        /// Refuse a second use of it.
        nonce: Nonce,
    },
    /// The user cancelled. An earlier grant, if there is one, is not affected.
    Declined {
        /// Refuse a second use of it.
        nonce: Nonce,
    },
}

impl VerifiedConsent {
    /// What identifies the request, so that its answer is used once.
    #[must_use]
    pub fn nonce(&self) -> Nonce {
        match self {
            Self::Granted { nonce, .. } | Self::Declined { nonce } => *nonce,
        }
    }
}

/// The answer does not belong to a request of this session, or came too late. Why is in the log, not in here: an attacker
/// must not learn it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not trusted; ask the user again")]
pub struct VerificationError;

/// The system has no randomness to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes, so no safe request can be made")]
pub struct RngError;

impl ConsentVerifier {
    /// A guard for this app.
    #[must_use]
    pub fn new(appid: AppId, key: SigningKey) -> Self {
        Self { appid, key, previous: None, lifetime: LIFETIME, clock: Arc::new(SystemClock::new()) }
    }

    /// Still trusts what was issued with the key before this one: for rotation.
    #[must_use]
    pub fn with_previous_key(mut self, previous: SigningKey) -> Self {
        self.previous = Some(previous);
        self
    }

    /// How long a user has to answer. Ten minutes unless told otherwise; 30 s more are granted, because the clocks of
    /// machines differ.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Lives on this clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// A request for this session, whose answer only this session can hand in. `session` is whatever you identify the
    /// user's browser or login by; it is bound by the MAC and not carried.
    ///
    /// # Errors
    /// [`RngError`] if the system has none.
    pub fn issue(
        &self,
        template_id: TemplateId,
        scene: Scene,
        session: &str,
    ) -> Result<ConsentRequest, RngError> {
        let mut nonce = [0; signed_state::NONCE];
        getrandom::fill(&mut nonce).map_err(|_| RngError)?;
        let expires = self.clock.now().wall.after(self.lifetime);
        let request = ConsentRequest::new(self.appid.clone(), template_id, scene);
        let seal = SignedState::new(expires, nonce);
        let bound = self.mac_context(&request.template_id, scene, session);
        // Never a request without its proof: what cannot happen is an error all the same.
        seal.write(&self.key, &bound).map(|reserved| request.reserved(reserved)).ok_or(RngError)
    }

    /// Tells whether the answer belongs to a request made for this session, and what the user decided.
    ///
    /// # Errors
    /// [`VerificationError`], whatever the reason.
    pub fn verify(
        &self,
        answer: &ConsentCallback,
        session: &str,
    ) -> Result<VerifiedConsent, VerificationError> {
        let bound = self.mac_context(answer.template_id(), answer.scene(), session);
        let now = self.clock.now().wall;
        let opened = answer.reserved().ok_or(RejectReason::Absent).and_then(|reserved| {
            let keys: Vec<_> = std::iter::once(&self.key).chain(&self.previous).collect();
            SignedState::open(reserved, &keys, &bound, now)
        });
        match opened {
            Ok(seal) => Ok(self.decide(answer, seal.nonce())),
            Err(flaw) => {
                warn!(appid = self.appid.as_str(), ?flaw, "an answer was not trusted");
                Err(VerificationError)
            }
        }
    }

    fn decide(&self, answer: &ConsentCallback, nonce: Nonce) -> VerifiedConsent {
        match answer.action() {
            ConsentAction::Confirm { openid } => VerifiedConsent::Granted {
                grant: Grant::assume_verified(openid.clone(), answer.template_id().clone(), answer.scene()),
                nonce,
            },
            ConsentAction::Cancel => VerifiedConsent::Declined { nonce },
        }
    }

    fn mac_context<'a>(
        &'a self,
        template_id: &'a TemplateId,
        scene: Scene,
        session: &'a str,
    ) -> [Box<[u8]>; 4] {
        let bytes = |text: &str| Box::from(text.as_bytes());
        [bytes(self.appid.as_str()), bytes(&scene.to_string()), bytes(template_id.as_str()), bytes(session)]
    }
}
