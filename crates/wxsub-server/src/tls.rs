//! The TLS configuration of the server.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A validated TLS configuration.
#[derive(Clone)]
pub(crate) struct Tls(pub(crate) Arc<ServerConfig>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// The key of the file that cannot be used, and why.
pub(crate) struct TlsFileError {
    pub(crate) key: &'static str,
    pub(crate) text: String,
}

impl Tls {
    /// Reads certificate chain and private key, both PEM.
    pub(crate) fn read(certificate: &Path, key: &Path) -> Result<Self, TlsFileError> {
        let file_error = |key, error: &dyn fmt::Display| TlsFileError {
            key,
            text: format!("names a file that cannot be used: {error}"),
        };
        let chain_error = |error: &dyn fmt::Display| file_error("tls_cert_file", error);
        let chain = CertificateDer::pem_file_iter(certificate).map_err(|error| chain_error(&error))?;
        let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| chain_error(&error))?;
        if chain.is_empty() {
            return Err(chain_error(&"it contains no certificate in PEM"));
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| file_error("tls_key_file", &error))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| chain_error(&error))?;
        let mut config = config
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| file_error("tls_key_file", &error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}
