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

    /// Also accepts requests that were signed with this key. Needed during a rotation, because servers change their keys one
    /// after the other. First every server accepts the new key as this one. Then every server signs with the new key, and
    /// accepts the old one as this one. It is removed when no request signed with it is valid: after the
    /// [`lifetime`](Self::lifetime) and 30 s.
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
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| RngError)?;
        let expires = self.clock.now().wall + self.lifetime;
        let context = self.mac_context(&template_id, scene, session);
        // This cannot fail. If it did, there must be no request without a state.
        let reserved = SignedState::new(expires, nonce).sign(&self.key, &context).ok_or(RngError)?;
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
        let context = self.mac_context(&callback.template_id, callback.scene, session);
        let now = self.clock.now().wall;
        let result = callback.reserved.as_ref().ok_or(RejectReason::Absent).and_then(|reserved| {
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
                Err(VerificationError(reason))
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

const NONCE_BYTES: usize = 16;

const VERSION: u8 = 1;
/// Version, key id, expiry in unix seconds (five bytes), nonce.
const HEAD_BYTES: usize = 1 + 2 + 5 + NONCE_BYTES;
const MAC_BYTES: usize = 32;

/// How long after expiry a callback is still accepted, because clocks of servers differ.
const LEEWAY: Duration = Duration::from_secs(30);

/// The content of the state, after its MAC was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SignedState {
    /// When callbacks are no longer accepted.
    expires: UnixMillis,
    nonce: [u8; NONCE_BYTES],
}

impl SignedState {
    fn new(expires: UnixMillis, nonce: [u8; NONCE_BYTES]) -> Self {
        Self { expires, nonce }
    }

    fn nonce(self) -> Nonce {
        Nonce::from_parts(self.nonce, self.expires)
    }

    fn sign(self, key: &SigningKey, context: &[Box<[u8]>]) -> Option<Reserved> {
        let seconds = self.expires.get().div_ceil(1000).to_be_bytes();
        let mut bytes = Vec::with_capacity(HEAD_BYTES + MAC_BYTES);
        bytes.push(VERSION);
        bytes.extend(key.id());
        bytes.extend(seconds.iter().skip(3));
        bytes.extend(self.nonce);
        let mac = mac(key, &bytes, context);
        bytes.extend(mac);
        // Always valid: hexadecimal digits of this length.
        Reserved::new(format!("{:x}", base16ct::HexDisplay(&bytes))).ok()
    }

    fn verify(
        reserved: &Reserved,
        keys: &[&SigningKey],
        context: &[Box<[u8]>],
        now: UnixMillis,
    ) -> Result<Self, RejectReason> {
        let mut bytes = [0; HEAD_BYTES + MAC_BYTES];
        let bytes =
            base16ct::lower::decode(reserved.as_str(), &mut bytes).map_err(|_| RejectReason::NotOurs)?;
        let (head, received_mac) = bytes
            .split_at_checked(HEAD_BYTES)
            .filter(|(_, mac)| mac.len() == MAC_BYTES)
            .ok_or(RejectReason::NotOurs)?;
        let [VERSION, id_a, id_b, e0, e1, e2, e3, e4, nonce @ ..] = head else {
            return Err(RejectReason::NotOurs);
        };
        // Key ids are short, so two keys may have the same.
        let mut candidates = keys.iter().filter(|key| key.id() == [*id_a, *id_b]).peekable();
        candidates.peek().ok_or(RejectReason::UnknownKey)?;
        if !candidates.any(|key| mac(key, head, context).ct_eq(received_mac).into()) {
            return Err(RejectReason::WrongMac);
        }
        let seconds = u64::from_be_bytes([0, 0, 0, *e0, *e1, *e2, *e3, *e4]);
        let expires = UnixMillis::new(seconds * 1000) + LEEWAY;
        let nonce = nonce.try_into().map_err(|_| RejectReason::NotOurs)?;
        if now >= expires { Err(RejectReason::Expired) } else { Ok(Self { expires, nonce }) }
    }
}

fn mac(key: &SigningKey, head: &[u8], context: &[Box<[u8]>]) -> [u8; MAC_BYTES] {
    let parts: Vec<Box<[u8]>> = std::iter::once(head.into()).chain(context.iter().cloned()).collect();
    key.mac(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reasons that the log shows.
    #[test]
    fn each_defect_has_its_own_reason() {
        let key = SigningKey::new(&[1; 32]).unwrap();
        let another = SigningKey::new(&[2; 32]).unwrap();
        let context = |text: &str| [Box::from(text.as_bytes())];
        let expires = UnixMillis::new(1_000_000);
        let reserved = SignedState::new(expires, [7; NONCE_BYTES]).sign(&key, &context("session")).unwrap();
        let rejected_from = expires + LEEWAY;
        let verify = |reserved: &Reserved, key: &SigningKey, session: &str, now: UnixMillis| {
            SignedState::verify(reserved, &[key], &context(session), now).map(|state| state.nonce().expires())
        };
        assert_eq!(verify(&reserved, &key, "session", expires), Ok(rejected_from));
        assert_eq!(verify(&reserved, &key, "session", rejected_from), Err(RejectReason::Expired));
        assert_eq!(verify(&reserved, &key, "another", expires), Err(RejectReason::WrongMac));
        assert_eq!(verify(&reserved, &another, "session", expires), Err(RejectReason::UnknownKey));
        assert_eq!(
            verify(&Reserved::new("hello").unwrap(), &key, "session", expires),
            Err(RejectReason::NotOurs)
        );
    }
}
