//! The `[store]` table: the store in which several servers share tokens.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use wxsub_redis::{EncryptionKey, RedisConfigError, RedisStore, RedisStoreBuilder};
use zeroize::Zeroizing;

use super::document::TableReader;
use super::file::pem;
use super::secret;

/// The shared store, and a digest of its settings.
#[derive(Clone, derive_more::Debug)]
#[debug("{store:?}")]
pub(crate) struct SharedStore {
    pub(crate) store: Arc<RedisStore>,
    settings: [u8; 32],
}

impl PartialEq for SharedStore {
    fn eq(&self, other: &Self) -> bool {
        self.settings.ct_eq(&other.settings).into()
    }
}

/// Reads `[store]`. `None` if it is absent, or has a problem.
pub(super) fn read(mut section: TableReader<'_>) -> Option<SharedStore> {
    if section.is_empty() {
        return None;
    }
    section.check_present("redis");
    let address = section.text("redis").map(Zeroizing::new);
    let is_plaintext_allowed = section.flag("plaintext");
    let prefix = section.text("prefix");
    let master = section.text("sentinel_master");
    let authorities = pem(&mut section, "redis_ca_file");
    let password = secret::path(&mut section, "redis_password_file");
    let encryption = secret::line(&mut section, "encryption_key_file");
    let previous = secret::line(&mut section, "previous_encryption_key_file");
    let parts = [
        address.as_ref().map(|text| text.as_bytes()),
        prefix.as_ref().map(String::as_bytes),
        master.as_ref().map(String::as_bytes),
        encryption.as_ref().map(|text| text.as_bytes()),
        previous.as_ref().map(|text| text.as_bytes()),
        password.as_ref().map(|path| path.as_os_str().as_encoded_bytes()),
        authorities.as_deref(),
    ];
    let settings = parts.into_iter().map(Option::unwrap_or_default).fold(Sha256::new(), |settings, part| {
        settings.chain_update(part.len().to_be_bytes()).chain_update(part)
    });
    let key = |text: Option<Zeroizing<String>>, name: &str| {
        let key = text?.parse::<EncryptionKey>();
        key.map_err(|error| section.problem(name, error.localized())).ok()
    };
    let builder = RedisStore::builder(address?.as_str()).plaintext(is_plaintext_allowed);
    let builder = prefix.into_iter().fold(builder, RedisStoreBuilder::prefix);
    let builder = master.into_iter().fold(builder, RedisStoreBuilder::sentinel_master);
    let builder = authorities.into_iter().fold(builder, RedisStoreBuilder::certificate_authorities);
    let builder = match password {
        // Read for each connection, so that the file may change.
        Some(path) => builder.password_from(move || secret::read_file(&path).ok().map(|file| file.text)),
        None => builder,
    };
    let encryption = key(encryption, "encryption_key_file");
    let builder = encryption.into_iter().fold(builder, RedisStoreBuilder::encryption_key);
    let previous = key(previous, "previous_encryption_key_file");
    let builder = previous.into_iter().fold(builder, RedisStoreBuilder::previous_encryption_key);
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
