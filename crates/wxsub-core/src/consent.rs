//! Protects consent callbacks against forgery. A callback comes from a browser or a phone, so anyone can write one.
//! The signed state in `reserved` proves that it belongs to a request.

mod nonces;
mod signing_key;

pub use nonces::{InMemoryNonceStore, Nonce, NonceStore, NonceStoreError};
pub use signing_key::{KeyFileError, SigningKey};

use std::sync::Arc;
use std::time::Duration;

use subtle::ConstantTimeEq;
use tracing::warn;
use wxsub_proto::{
    AppId, ConsentCallback, ConsentRequest, Grant, LocalizedText, Reserved, Scene, TemplateId,
};

use crate::clock::{Clock, SystemClock, UnixMillis};

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
/// use wxsub_core::consent::{InMemoryNonceStore, NonceStore, SigningKey, VerifiedConsent};
/// use wxsub_core::proto::{ConsentCallback, Message, Scene};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let verifier = ConsentVerifier::new("wx0123456789abcdef".parse()?, SigningKey::new(b"32 random bytes, the same for all")?);
/// let nonces = InMemoryNonceStore::new();
///
/// let request = verifier.issue("TEMPLATE".parse()?, Scene::new(7)?, "session-42")?;
/// let reserved = request.reserved.as_ref().ok_or("none")?;
/// # let url = format!("https://a.example/?openid=OPENID&template_id=TEMPLATE&action=confirm&scene=7&reserved={reserved}");
///
/// let callback: ConsentCallback = url.parse()?;
/// let verified = verifier.verify(&callback, "session-42")?;
/// if !nonces.insert_if_new(&verified.nonce()).await? {
///     return Err("this callback was used before".into());
/// }
/// if let VerifiedConsent::Granted { grant, .. } = verified {
///     let message = Message::builder(grant).title("Parcel").content("It is here.").build()?;
///     # assert_eq!(message.grant().openid().as_str(), "OPENID");
/// }
/// assert!(verifier.verify(&callback, "another session").is_err());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, derive_setters::Setters)]
#[setters(generate = false)]
pub struct ConsentVerifier {
    appid: AppId,
    key: SigningKey,
    /// Also accepts requests that were signed with this key. Needed during a rotation, because servers change their keys one
    /// after the other. First every server accepts the new key as this one. Then every server signs with the new key, and
    /// accepts the old one as this one. It is removed when no request signed with it is valid: after the
    /// [`lifetime`](Self::lifetime) and 30 s.
    #[setters(generate, rename = "with_previous_key", strip_option)]
    previous: Option<SigningKey>,
    /// Sets how long a request is valid. Default: 10 min. Callbacks are accepted 30 s longer, because clocks of
    /// servers differ.
    #[setters(generate)]
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
    pub fn nonce(&self) -> Nonce {
        match self {
            Self::Granted { nonce, .. } | Self::Declined { nonce } => *nonce,
        }
    }
}

/// The callback does not belong to a request of this session, or came too late.
///
/// Its text does not have the reason, because an attacker must not learn it. The log has it, and
/// [`reason`](Self::reason).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "consent callback rejected: it does not belong to a valid request of this session; ask the user again"
)]
pub struct VerificationError(RejectReason);

impl VerificationError {
    /// Returns why the callback was rejected, for an operator. Do not show it to the user.
    pub fn reason(self) -> RejectReason {
        self.0
    }

    /// Returns the error in every language.
    pub fn localized(self) -> LocalizedText<String> {
        LocalizedText::new(
            self.to_string(),
            "授权回调被拒绝：它不属于本次会话的有效请求；请让用户重新授权".to_owned(),
        )
    }
}

/// Why a callback is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectReason {
    /// It has no `reserved`.
    Absent,
    /// Its `reserved` is no signed state.
    NotOurs,
    /// Its request was signed with a key that this verifier does not have.
    UnknownKey,
    /// Its request was for another session, app, template or scene, or it is forged.
    WrongMac,
    /// Its request is genuine and has expired.
    Expired,
}

/// The system's random number generator failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot get random bytes: the system gave none; check its random number generator")]
pub struct RngError;

impl ConsentVerifier {
    /// Creates a verifier for this app.
    pub fn new(appid: AppId, key: SigningKey) -> Self {
        Self { appid, key, previous: None, lifetime: DEFAULT_LIFETIME, clock: Arc::new(SystemClock::new()) }
    }

    /// Sets the clock. Default: [`SystemClock`].
    #[must_use]
    pub fn clock(self, clock: impl Clock + 'static) -> Self {
        Self { clock: Arc::new(clock), ..self }
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
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| RngError)?;
        let expires_s = (self.clock.now().wall + self.lifetime).get().div_ceil(1000).min(MAX_EXPIRY_S);
        let mut state = Vec::with_capacity(HEAD_BYTES + MAC_BYTES);
        state.push(VERSION);
        state.extend(self.key.id());
        state.extend(expires_s.to_be_bytes().iter().skip(3));
        state.extend(nonce);
        state.extend(self.mac(&self.key, &state, &template_id, scene, session));
        // Always valid: hexadecimal digits of this length. If not, there must be no request without a state.
        let reserved = Reserved::new(format!("{:x}", base16ct::HexDisplay(&state))).map_err(|_| RngError)?;
        Ok(ConsentRequest { appid: self.appid.clone(), scene, template_id, reserved: Some(reserved) })
    }

    /// From when on the callback of a request that is issued now is refused.
    pub fn expires_at(&self) -> UnixMillis {
        self.clock.now().wall + self.lifetime + LEEWAY
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
        match self.verify_state(callback, session) {
            Ok(nonce) => Ok(match callback.assume_verified() {
                Some(grant) => VerifiedConsent::Granted { grant, nonce },
                None => VerifiedConsent::Declined { nonce },
            }),
            Err(reason) => {
                warn!(appid = self.appid.as_str(), ?reason, "consent callback rejected");
                Err(VerificationError(reason))
            }
        }
    }

    /// Verifies the signed state of a callback, and returns its nonce.
    fn verify_state(&self, callback: &ConsentCallback, session: &str) -> Result<Nonce, RejectReason> {
        let ConsentCallback { template_id, scene, reserved, .. } = callback;
        let reserved = reserved.as_ref().ok_or(RejectReason::Absent)?;
        let mut state = [0; HEAD_BYTES + MAC_BYTES];
        let state =
            base16ct::lower::decode(reserved.as_str(), &mut state).map_err(|_| RejectReason::NotOurs)?;
        let (head, received_mac) = state
            .split_at_checked(HEAD_BYTES)
            .filter(|(_, mac)| mac.len() == MAC_BYTES)
            .ok_or(RejectReason::NotOurs)?;
        let [VERSION, id_a, id_b, e0, e1, e2, e3, e4, nonce @ ..] = head else {
            return Err(RejectReason::NotOurs);
        };
        // Key ids are short, so two keys may have the same.
        let keys = std::iter::once(&self.key).chain(&self.previous);
        let mut candidates = keys.filter(|key| key.id() == [*id_a, *id_b]).peekable();
        candidates.peek().ok_or(RejectReason::UnknownKey)?;
        if !candidates.any(|key| self.mac(key, head, template_id, *scene, session).ct_eq(received_mac).into())
        {
            return Err(RejectReason::WrongMac);
        }
        let seconds = u64::from_be_bytes([0, 0, 0, *e0, *e1, *e2, *e3, *e4]);
        let expires = UnixMillis::new(seconds * 1000) + LEEWAY;
        let nonce = nonce.try_into().map_err(|_| RejectReason::NotOurs)?;
        match self.clock.now().wall < expires {
            true => Ok(Nonce::from_parts(nonce, expires)),
            false => Err(RejectReason::Expired),
        }
    }

    /// The MAC of a state: over its head, app, scene, template and session.
    fn mac(
        &self,
        key: &SigningKey,
        head: &[u8],
        template_id: &TemplateId,
        scene: Scene,
        session: &str,
    ) -> [u8; MAC_BYTES] {
        let (app, scene) = (self.appid.as_str(), scene.to_string());
        key.mac(&[
            head,
            app.as_bytes(),
            scene.as_bytes(),
            template_id.as_str().as_bytes(),
            session.as_bytes(),
        ])
    }
}

const NONCE_BYTES: usize = 16;

const VERSION: u8 = 1;
/// Version, key id, expiry in unix seconds (five bytes), nonce.
const HEAD_BYTES: usize = 1 + 2 + 5 + NONCE_BYTES;
const MAC_BYTES: usize = 32;

/// The latest expiry that fits five bytes. A longer lifetime ends here, in 34 000 years.
const MAX_EXPIRY_S: u64 = (1 << 40) - 1;

/// How long after expiry a callback is still accepted, because clocks of servers differ.
const LEEWAY: Duration = Duration::from_secs(30);
