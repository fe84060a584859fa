//! The builder of a [`RedisStore`].

use std::sync::Arc;

use parking_lot::Mutex;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisResult,
    TlsCertificates, TlsMode,
};
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::proto::is_loopback_host;
use wxsub_core::store::ChangeWatcher;
use zeroize::Zeroizing;

use crate::connection::{RedisConnection, Target};
use crate::encryption::EncryptionKeys;
use crate::keys::Keys;
use crate::store::RedisStore;
use crate::{EncryptionKey, RedisConfigError};

/// Returns the password for a new connection. `None` keeps the one in the address.
type PasswordSource = Box<dyn Fn() -> Option<Zeroizing<String>> + Send + Sync>;

/// Builds a [`RedisStore`].
// The address may hold a password.
#[derive(derive_more::Debug, derive_setters::Setters)]
#[debug("RedisStoreBuilder({prefix})")]
#[setters(strip_option)]
pub struct RedisStoreBuilder {
    #[setters(skip)]
    address: Zeroizing<String>,
    #[setters(skip)]
    password: Option<PasswordSource>,
    /// Sets the prefix of all keys: 1 to 64 of `A-Z a-z 0-9 . _ -`. The default is `wxsub`.
    #[setters(into)]
    prefix: String,
    #[setters(skip)]
    is_plaintext_allowed: bool,
    /// Asks sentinels for the master of this name. The address is that of the sentinels: hosts separated by commas.
    #[setters(into)]
    sentinel_master: Option<String>,
    /// Trusts these certificate authorities (PEM) instead of those of the system.
    #[setters(into)]
    certificate_authorities: Option<Vec<u8>>,
    /// Encrypts tokens before they leave the process.
    encryption_key: Option<EncryptionKey>,
    /// Also decrypts tokens that this key encrypted, while the key is rotated. Each write uses the
    /// [current key](Self::encryption_key).
    previous_encryption_key: Option<EncryptionKey>,
    /// Sets the clock. The default is the system clock.
    clock: Arc<dyn Clock>,
}

impl RedisStore {
    /// Starts a store for this address: `redis://host:6379/0`, or `rediss://` for TLS.
    ///
    /// A Redis ACL user stands before the host, as in `redis://user@host`. `redis://` to another machine needs
    /// [`plaintext`](RedisStoreBuilder::plaintext).
    #[must_use]
    pub fn builder(address: impl Into<String>) -> RedisStoreBuilder {
        RedisStoreBuilder {
            address: Zeroizing::new(address.into()),
            password: None,
            prefix: "wxsub".to_owned(),
            is_plaintext_allowed: false,
            sentinel_master: None,
            certificate_authorities: None,
            encryption_key: None,
            previous_encryption_key: None,
            clock: Arc::new(SystemClock::new()),
        }
    }
}

impl RedisStoreBuilder {
    /// Sets the password of Redis. It replaces a password in the address.
    #[must_use]
    pub fn password(self, password: impl Into<String>) -> Self {
        let password = Zeroizing::new(password.into());
        self.password_from(move || Some(password.clone()))
    }

    /// Asks for the password before each new connection, for example because it is in a file that changes. It
    /// replaces a password in the address.
    #[must_use]
    pub fn password_from(
        self,
        source: impl Fn() -> Option<Zeroizing<String>> + Send + Sync + 'static,
    ) -> Self {
        Self { password: Some(Box::new(source)), ..self }
    }

    /// Allows `redis://` to another machine. The password, and tokens without an [encryption key](Self::encryption_key), then
    /// travel unencrypted: for a network that no other machine can reach.
    #[must_use]
    pub fn plaintext(self, is_allowed: bool) -> Self {
        Self { is_plaintext_allowed: is_allowed, ..self }
    }

    /// Builds the store. It connects on first use, so Redis may be unavailable now.
    ///
    /// # Errors
    /// [`RedisConfigError`] names the invalid setting.
    pub fn build(mut self) -> Result<RedisStore, RedisConfigError> {
        let keys = Keys::with_prefix(&self.prefix).ok_or(RedisConfigError::Prefix)?;
        let has_certificate =
            |pem: &Vec<u8>| String::from_utf8_lossy(pem).contains("-----BEGIN CERTIFICATE-----");
        if self.certificate_authorities.as_ref().is_some_and(|pem| !has_certificate(pem)) {
            return Err(RedisConfigError::CertificateAuthorities(
                "they contain no certificate in PEM".to_owned(),
            ));
        }
        let hosts = parse_addresses(&self.address)?;
        if self.sentinel_master.is_none() && hosts.len() != 1 {
            return Err(RedisConfigError::Address);
        }
        if !self.is_plaintext_allowed && !hosts.iter().all(is_private) {
            return Err(RedisConfigError::Plaintext);
        }
        let (current, previous) = (self.encryption_key.take(), self.previous_encryption_key.take());
        let encryption = current.map(|current| EncryptionKeys { current, previous });
        let clock = Arc::clone(&self.clock);
        self.target(&hosts)
            .map_err(|error| RedisConfigError::CertificateAuthorities(error.category().to_owned()))?;
        let watcher = Arc::new(ChangeWatcher::new(Arc::clone(&clock)));
        let target = Arc::new(move || self.target(&hosts));
        let connection = RedisConnection::new(target, keys.clone(), Arc::clone(&watcher));
        Ok(RedisStore { connection, keys, encryption, clock, watcher, redis_time: Mutex::default() })
    }

    /// What to connect to, with the password of now.
    fn target(&self, hosts: &[ConnectionInfo]) -> RedisResult<Target> {
        let password = self.password.as_ref().and_then(|source| source());
        let hosts: Vec<_> = hosts
            .iter()
            .map(|host| match &password {
                Some(password) => with_password(host.clone(), password),
                None => host.clone(),
            })
            .collect();
        match (&self.sentinel_master, hosts.first()) {
            (None, Some(host)) => Ok(Target::Server(Box::new(self.server(host.clone())?))),
            (master, _) => {
                let master = master.as_deref().unwrap_or_default();
                Ok(Target::Sentinel(Box::new(self.sentinels(hosts, master)?)))
            }
        }
    }

    fn certificates(&self) -> Option<TlsCertificates> {
        let root_cert = self.certificate_authorities.clone();
        root_cert.map(|root_cert| TlsCertificates { client_tls: None, root_cert: Some(root_cert) })
    }

    fn server(&self, host: ConnectionInfo) -> RedisResult<Client> {
        match self.certificates() {
            Some(certificates) => Client::build_with_tls(host, certificates),
            None => Client::open(host),
        }
    }

    /// User, password and database are for the Redis server. The sentinels get none of them.
    fn sentinels(
        &self,
        hosts: Vec<ConnectionInfo>,
        master: &str,
    ) -> RedisResult<redis::sentinel::SentinelClient> {
        let settings = hosts.first().map(|host| host.redis_settings().clone()).unwrap_or_default();
        let addresses = hosts.into_iter().map(|host| host.addr().clone());
        let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?
            .set_client_to_redis_db(settings.db())
            .set_client_to_redis_protocol(settings.protocol());
        if let Some(user) = settings.username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = settings.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if self.address.starts_with("rediss://") {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
            if let Some(certificates) = self.certificates() {
                builder = builder
                    .set_client_to_redis_certificates(certificates.clone())
                    .set_client_to_sentinel_certificates(certificates);
            }
        }
        builder.build()
    }
}

/// Whether the connection is encrypted, or does not leave this machine.
fn is_private(host: &ConnectionInfo) -> bool {
    let ConnectionAddr::Tcp(name, _) = host.addr() else { return true };
    is_loopback_host(name)
}

fn with_password(host: ConnectionInfo, password: &str) -> ConnectionInfo {
    let settings = host.redis_settings().clone().set_password(password);
    host.set_redis_settings(settings)
}

/// Splits an address into one connection info per host. Several hosts are sentinels.
fn parse_addresses(address: &str) -> Result<Vec<ConnectionInfo>, RedisConfigError> {
    let (scheme, rest) = address.split_once("://").ok_or(RedisConfigError::Address)?;
    if !["redis", "rediss"].contains(&scheme) {
        return Err(RedisConfigError::Address);
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (userinfo, hosts) = match authority.rsplit_once('@') {
        Some((userinfo, hosts)) => (format!("{userinfo}@"), hosts),
        None => (String::new(), authority),
    };
    let parse_host = |host: &str| {
        let address = format!("{scheme}://{userinfo}{host}/{path}");
        let host = address.into_connection_info().map_err(|_| RedisConfigError::Address)?;
        // RESP3 delivers published messages on the connection that also carries the responses.
        let settings = host.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(host.set_redis_settings(settings))
    };
    hosts.split(',').map(parse_host).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_setting_is_named_and_debug_hides_the_password() {
        let error = |builder: RedisStoreBuilder| builder.build().unwrap_err();
        let store = || RedisStore::builder("redis://:SESAME@localhost/0").password("SESAME");
        assert_eq!(error(RedisStore::builder("localhost:6379")), RedisConfigError::Address);
        assert_eq!(error(RedisStore::builder("redis://a,b")), RedisConfigError::Address);
        assert_eq!(error(store().prefix("{}")), RedisConfigError::Prefix);
        assert!(!format!("{:?} {:?}", store(), store().build().unwrap()).contains("SESAME"));
        let authorities = RedisStore::builder("rediss://localhost").certificate_authorities("no PEM");
        assert!(matches!(error(authorities), RedisConfigError::CertificateAuthorities(_)));
    }

    #[test]
    fn connection_to_another_machine_is_encrypted_unless_plaintext_is_allowed() {
        let built = |address: &str, is_allowed| {
            let store = RedisStore::builder(address).sentinel_master("m").plaintext(is_allowed);
            store.build().map(drop)
        };
        for remote in
            ["redis://10.0.0.1", "redis://db.example", "redis://localhost,10.0.0.1", "redis://[2001:db8::1]"]
        {
            assert_eq!(built(remote, false), Err(RedisConfigError::Plaintext), "{remote}");
            assert_eq!(built(remote, true), Ok(()), "{remote}");
        }
        for private in ["redis://localhost", "redis://127.0.0.1:1,[::1]:2", "rediss://10.0.0.1,db.example"] {
            assert_eq!(built(private, false), Ok(()), "{private}");
        }
    }

    #[test]
    fn each_host_gets_user_and_database() {
        let found = parse_addresses("rediss://user@a:1,b:2/3").unwrap();
        let shown: Vec<_> = found.iter().map(|info| info.addr().to_string()).collect();
        assert_eq!(shown, ["a:1", "b:2"]);
        assert!(found.iter().all(|info| info.redis_settings().db() == 3));
        assert!(found.iter().all(|info| info.redis_settings().username() == Some("user")));
    }

    #[test]
    fn invalid_address_is_an_error_that_does_not_show_it() {
        for invalid in ["", "localhost", "http://h", "redis://", "redis://h:x", "redis://h/x", "redis://a:1,"]
        {
            assert_eq!(parse_addresses(invalid).unwrap_err(), RedisConfigError::Address, "{invalid}");
        }
    }
}
