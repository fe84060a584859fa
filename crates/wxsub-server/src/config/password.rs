//! Passwords of operators: hashed with argon2id by `wxsub console password`, verified at the login.

use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::{Output, PasswordHash as Phc};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use wxsub_core::consent::RngError;
use wxsub_proto::LocalizedText;

/// Minimum length of a password, in characters.
pub const MIN_PASSWORD_CHARS: usize = 12;

/// Maximum length of a password, in bytes.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// Maximum memory of one verification, in KiB. A hash that needs more is refused.
const MAX_MEMORY_KIB: u32 = 256 * 1024;

/// Maximum number of passes of one verification.
const MAX_PASSES: u32 = 16;

/// Hashes a password with argon2id, a random salt and the recommended costs, for `password_hash` of the configuration.
///
/// # Errors
/// [`RngError`] if the system gives no random bytes.
pub fn hash_password(password: &str) -> Result<String, RngError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| RngError)?;
    // Salt and costs are valid here, so this cannot fail.
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt).map_err(|_| RngError)?;
    Ok(hash.to_string())
}

/// The memory of a verification. The next one uses it again: the allocator would keep a part of it for each thread.
#[derive(Debug, Default)]
pub(crate) struct PasswordMemory(Vec<Block>);

/// The hash of a password.
#[derive(Clone, PartialEq, Eq, derive_more::Debug)]
#[debug("PasswordHash(…)")]
pub(crate) struct PasswordHash(String);

impl PasswordHash {
    /// Parses a hash in the PHC format.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(super) fn parse(text: &str) -> Result<Self, LocalizedText> {
        let no_hash = LocalizedText::new(
            "must be an argon2id hash; make one with wxsub console password",
            "必须是 argon2id 散列；请用 wxsub console password 生成",
        );
        let parsed = Phc::new(text).map_err(|_| no_hash)?;
        let params = Params::try_from(&parsed).map_err(|_| no_hash)?;
        match () {
            () if parsed.algorithm != Algorithm::Argon2id.ident() || parsed.hash.is_none() => Err(no_hash),
            () if params.m_cost() > MAX_MEMORY_KIB || params.t_cost() > MAX_PASSES => {
                Err(LocalizedText::new(
                    "needs too much memory or time for each login; make one with wxsub console password",
                    "每次登录所需的内存或时间过多；请用 wxsub console password 生成",
                ))
            }
            () => Ok(Self(text.to_owned())),
        }
    }

    /// Whether it costs less than the hashes of `wxsub console password`.
    pub(super) fn is_weak(&self) -> bool {
        let params = Phc::new(&self.0).ok().and_then(|parsed| Params::try_from(&parsed).ok());
        let recommended = Params::DEFAULT;
        params.is_none_or(|params| {
            params.m_cost() < recommended.m_cost() || params.t_cost() < recommended.t_cost()
        })
    }

    /// Whether this is the password. It takes tens of milliseconds.
    pub(crate) fn matches(&self, password: &str, memory: &mut PasswordMemory) -> bool {
        self.compute(password, memory).unwrap_or_default()
    }

    /// `None` if the hash cannot be computed, which [`parse`](Self::parse) excludes.
    fn compute(&self, password: &str, memory: &mut PasswordMemory) -> Option<bool> {
        let hash = Phc::new(&self.0).ok()?;
        let (salt, expected) = hash.salt.zip(hash.hash)?;
        let params = Params::try_from(&hash).ok()?;
        let version = hash.version.map(Version::try_from).transpose().ok()?.unwrap_or_default();
        memory.0.resize(params.block_count().max(memory.0.len()), Block::default());
        let argon2 = Argon2::new(Algorithm::Argon2id, version, params);
        let mut output = [0; Output::MAX_LENGTH];
        let output = output.get_mut(..expected.len())?;
        argon2.hash_password_into_with_memory(password.as_bytes(), &salt, output, &mut memory.0).ok()?;
        Some(expected.as_ref().ct_eq(output).into())
    }

    /// A signature that only this server can make. It changes with the hash.
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    pub(crate) fn sign(&self, text: &str) -> [u8; 32] {
        let mac: Hmac<Sha256> =
            Hmac::new_from_slice(self.0.as_bytes()).expect("HMAC takes keys of any length");
        mac.chain_update(text).finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_matches_its_password_only() {
        let text = hash_password("correct horse battery").unwrap();
        let hash = PasswordHash::parse(&text).unwrap();
        let mut memory = PasswordMemory::default();
        for _ in 0..2 {
            assert!(!hash.is_weak() && hash.matches("correct horse battery", &mut memory));
            assert!(!hash.matches("correct horse batterz", &mut memory) && !hash.matches("", &mut memory));
        }
        assert_ne!(text, hash_password("correct horse battery").unwrap());
        assert!(!format!("{hash:?}").contains("argon2"));
    }

    #[test]
    fn only_an_argon2id_hash_with_bounded_costs_is_a_hash() {
        let hash =
            |head: &str| format!("{head}$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g");
        assert!(PasswordHash::parse(&hash("$argon2id$v=19$m=64,t=1,p=1")).unwrap().is_weak());
        for text in [
            "",
            "secret",
            "$argon2id$v=19$m=64,t=1,p=1",
            &hash("$argon2i$v=19$m=64,t=1,p=1"),
            &hash("$argon2id$v=19$m=1048576,t=1,p=1"),
            &hash("$argon2id$v=19$m=64,t=1000,p=1"),
            &hash("$2b"),
        ] {
            assert!(PasswordHash::parse(text).is_err(), "{text}");
        }
    }
}
