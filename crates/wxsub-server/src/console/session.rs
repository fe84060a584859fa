//! The sessions of operators, in memory: a restart of the server ends them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base16ct::HexDisplay;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use wxsub_core::clock::ClockReading;
use wxsub_core::consent::RngError;
use zeroize::Zeroizing;

use crate::config::ConsoleUser;
use crate::state::locked;

/// A session ends so long after its last request.
pub(super) const MAX_IDLE: Duration = Duration::from_secs(30 * 60);

/// A session ends so long after its login.
pub(super) const MAX_AGE: Duration = Duration::from_secs(12 * 3600);

/// Maximum number of sessions. At the limit, the one that was used longest ago ends.
const MAX_SESSIONS: usize = 1000;

/// The value of the session cookie: 256 random bits.
pub(super) struct SessionSecret(Zeroizing<String>);

impl SessionSecret {
    const LENGTH: usize = 64;

    /// A new secret.
    ///
    /// # Errors
    /// [`RngError`] if the system gives no random bytes.
    pub(super) fn generate() -> Result<Self, RngError> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes).map_err(|_| RngError)?;
        Ok(Self(Zeroizing::new(format!("{:x}", HexDisplay(&*bytes)))))
    }

    /// The secret in a cookie. `None` if it cannot be one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        (text.len() == Self::LENGTH && is_hex).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    pub(super) fn expose_secret(&self) -> &str {
        &self.0
    }

    /// What a form carries, so that another site cannot make the browser post it: only a page that was made for this cookie
    /// has it.
    pub(super) fn form_token(&self) -> String {
        format!("{:x}", HexDisplay(&self.digest("form token")))
    }

    /// Whether this is the token of its forms.
    pub(super) fn is_form_token(&self, token: &str) -> bool {
        self.form_token().as_bytes().ct_eq(token.as_bytes()).into()
    }

    fn digest(&self, purpose: &str) -> [u8; 32] {
        let digest = Sha256::new().chain_update(purpose).chain_update([0]).chain_update(self.0.as_bytes());
        digest.finalize().into()
    }
}

/// All sessions, by the digests of their secrets.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

struct Session {
    /// That of the configuration at the login. A reload that changes its entry makes another one, and the session ends for good.
    user: Arc<ConsoleUser>,
    idle_at: ClockReading,
    ends_at: ClockReading,
}

impl Session {
    fn is_over(&self, now: ClockReading) -> bool {
        self.idle_at.is_past(now) || self.ends_at.is_past(now)
    }
}

impl Sessions {
    /// Begins a session.
    ///
    /// # Errors
    /// [`RngError`] if the system gives no random bytes.
    pub(super) fn begin(
        &self,
        user: &Arc<ConsoleUser>,
        now: ClockReading,
    ) -> Result<SessionSecret, RngError> {
        let secret = SessionSecret::generate()?;
        let session = Session { user: Arc::clone(user), idle_at: now + MAX_IDLE, ends_at: now + MAX_AGE };
        let mut sessions = locked(&self.0);
        sessions.retain(|_, session| !session.is_over(now));
        if sessions.len() >= MAX_SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.idle_at.mono);
            if let Some(oldest) = oldest.map(|(digest, _)| *digest) {
                sessions.remove(&oldest);
            }
        }
        sessions.insert(secret.digest("session"), session);
        Ok(secret)
    }

    /// The user of a session that goes on, if the configuration still has the user unchanged.
    pub(super) fn find(
        &self,
        secret: &SessionSecret,
        users: &[Arc<ConsoleUser>],
        now: ClockReading,
    ) -> Option<Arc<ConsoleUser>> {
        let mut sessions = locked(&self.0);
        let digest = secret.digest("session");
        let session = sessions.get_mut(&digest)?;
        let is_known = users.iter().any(|user| Arc::ptr_eq(user, &session.user));
        if session.is_over(now) || !is_known {
            sessions.remove(&digest);
            return None;
        }
        session.idle_at = now + MAX_IDLE;
        Some(Arc::clone(&session.user))
    }

    /// Ends a session.
    pub(super) fn end(&self, secret: &SessionSecret) {
        locked(&self.0).remove(&secret.digest("session"));
    }
}
