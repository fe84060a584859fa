//! Protects consent callbacks against forgery. A callback comes from a browser or a phone, so anyone can write one.
//! The signed state in `reserved` proves that it belongs to a request.

mod key;
mod nonces;
mod signed_state;

pub use key::SigningKey;
pub use nonces::{InMemoryNonceStore, Nonce};

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;
use wxsub_proto::{AppId, ConsentCallback, ConsentRequest, Grant, Scene, TemplateId};

use self::signed_state::{RejectReason, SignedState};
use crate::clock::{Clock, SystemClock};

/// The default of [`ConsentVerifier::lifetime`].
const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);

/// Issues consent requests and verifies that a callback belongs to one.
///
/// The request carries a signed state in `reserved`: version, key id, expiry, a random nonce and a MAC. The MAC covers
/// app, scene, template and the user's session, which the state does not contain. The server stores nothing, so any
/// server with the key can verify.
///
/// It proves that the callback belongs to a request of *this session*. It does not prove the `openid`: a user can put in
/// another user's. If you know the openid from a web login, compare the two. If not, a wrong openid gains nothing: Weixin
/// refuses the send (43101), unless that user consented too.
///
/// ```
/// use wxsub_core::ConsentVerifier;
/// use wxsub_core::consent::{InMemoryNonceStore, SigningKey, VerifiedConsent};
/// use wxsub_core::proto::{ConsentCallback, Message, Scene};
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
///     let message = Message::builder(grant).title("Parcel").content("It is here.").build()?;
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

/// A callback that belongs to a request of this session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a user confirms or cancels")]
pub enum VerifiedConsent {
    /// The user consented.
    Granted {
        /// The right to send one message.
        grant: Grant,
        /// The nonce of the request. Refuse a second callback with it.
        nonce: Nonce,
    },
    /// The user cancelled. An earlier grant stays valid.
    Declined {
        /// The nonce of the request. Refuse a second callback with it.
        nonce: Nonce,
    },
}

impl VerifiedConsent {
    /// Returns the nonce of the request. Refuse a second callback with it.
    #[must_use]
    pub fn nonce(&self) -> Nonce {
        match self {
            Self::Granted { nonce, .. } | Self::Declined { nonce } => *nonce,
        }
    }
}

/// The callback does not belong to a request of this session, or came too late.
///
/// The log has the reason. The error does not, because an attacker must not learn it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "consent callback rejected: it does not belong to a valid request of this session; ask the user again"
)]
pub struct VerificationError;

/// The system's random number generator failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot get random bytes: the system gave none; check its random number generator")]
pub struct RngError;

impl ConsentVerifier {
    /// Creates a verifier for this app.
    #[must_use]
    pub fn new(appid: AppId, key: SigningKey) -> Self {
        Self { appid, key, previous: None, lifetime: DEFAULT_LIFETIME, clock: Arc::new(SystemClock::new()) }
    }

    /// Also accepts requests that were issued with the previous key, for key rotation.
    #[must_use]
    pub fn with_previous_key(mut self, previous: SigningKey) -> Self {
        self.previous = Some(previous);
        self
    }

    /// Sets how long a request is valid. Default: 10 min. Callbacks are accepted 30 s longer, because clocks of
    /// servers differ.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Sets the clock. Default: [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Issues a request for this session. Only a callback in the same session passes [`verify`](Self::verify).
    ///
    /// `session` identifies the user's browser or login. The MAC covers it; the request does not contain it.
    ///
    /// # Errors
    /// [`RngError`] if the system's random number generator failed.
    pub fn issue(
        &self,
        template_id: TemplateId,
        scene: Scene,
        session: &str,
    ) -> Result<ConsentRequest, RngError> {
        let mut nonce = [0; signed_state::NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| RngError)?;
        let expires = self.clock.now().wall + self.lifetime;
        let context = self.mac_context(&template_id, scene, session);
        // This cannot fail. If it did, there must be no request without a state.
        let reserved = SignedState::new(expires, nonce).sign(&self.key, &context).ok_or(RngError)?;
        Ok(ConsentRequest { appid: self.appid.clone(), scene, template_id, reserved: Some(reserved) })
    }

    /// Verifies that the callback belongs to a request of this session, and returns the user's decision.
    ///
    /// # Errors
    /// [`VerificationError`] for any reason.
    pub fn verify(
        &self,
        callback: &ConsentCallback,
        session: &str,
    ) -> Result<VerifiedConsent, VerificationError> {
        let context = self.mac_context(callback.template_id(), callback.scene(), session);
        let now = self.clock.now().wall;
        let result = callback.reserved().ok_or(RejectReason::Absent).and_then(|reserved| {
            let keys: Vec<_> = std::iter::once(&self.key).chain(&self.previous).collect();
            SignedState::verify(reserved, &keys, &context, now)
        });
        match result {
            Ok(state) => Ok(match callback.assume_verified() {
                Some(grant) => VerifiedConsent::Granted { grant, nonce: state.nonce() },
                None => VerifiedConsent::Declined { nonce: state.nonce() },
            }),
            Err(reason) => {
                warn!(appid = self.appid.as_str(), ?reason, "consent callback rejected");
                Err(VerificationError)
            }
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
