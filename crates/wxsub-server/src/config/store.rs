//! The `[store]` table: the store in which several servers share tokens.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use wxsub_redis::{RedisConfigError, RedisStore};
use zeroize::Zeroizing;

use super::document::TableReader;
use super::file::pem;
use super::secret;

/// The shared store, and a digest of its settings.
#[derive(Clone)]
pub(crate) struct SharedStore {
    pub(crate) store: Arc<RedisStore>,
    settings: [u8; 32],
}

impl PartialEq for SharedStore {
    fn eq(&self, other: &Self) -> bool {
        self.settings.ct_eq(&other.settings).into()
    }
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

/// Reads `[store]`. `None` if it is absent, or has a problem.
pub(super) fn read(mut section: TableReader<'_>) -> Option<SharedStore> {
    if section.is_empty() {
        return None;
    }
    section.check_present("redis");
    let address = section.text("redis").map(Zeroizing::new);
    let prefix = section.text("prefix");
    let master = section.text("sentinel_master");
    let authorities = pem(&mut section, "redis_ca_file");
    let password = secret::file(&mut section, "redis_password_file");
    let encryption = secret::line(&mut section, "encryption_key_file");
    let previous = secret::line(&mut section, "previous_encryption_key_file");
    let mut settings = Sha256::new();
    let texts =
        [address.as_deref(), prefix.as_ref(), master.as_ref(), encryption.as_deref(), previous.as_deref()];
    for text in texts {
        let text = text.map_or("", String::as_str);
        settings.update(text.len().to_be_bytes());
        settings.update(text);
    }
    settings.update(authorities.as_deref().unwrap_or_default());

    let mut builder = RedisStore::builder(address?.as_str());
    if let Some(prefix) = prefix {
        builder = builder.prefix(prefix);
    }
    if let Some(master) = master {
        builder = builder.sentinel_master(master);
    }
    if let Some(pem) = authorities {
        builder = builder.certificate_authorities(pem);
    }
    if let Some(password) = password {
        builder = builder.password_from(password);
    }
    if let Some(key) = encryption {
        match key.parse() {
            Ok(key) => builder = builder.encryption_key(key),
            Err(error) => section.problem("encryption_key_file", error.localized()),
        }
    }
    if let Some(key) = previous {
        match key.parse() {
            Ok(key) => builder = builder.previous_encryption_key(key),
            Err(error) => section.problem("previous_encryption_key_file", error.localized()),
        }
    }
    let built = builder.build().map_err(|error| section.problem(key_of(&error), error.localized()));
    section.finish();
    Some(SharedStore { store: Arc::new(built.ok()?), settings: settings.finalize().into() })
}

fn key_of(error: &RedisConfigError) -> &'static str {
    match error {
        RedisConfigError::Prefix => "prefix",
        RedisConfigError::CertificateAuthorities(_) => "redis_ca_file",
        _ => "redis",
    }
}
