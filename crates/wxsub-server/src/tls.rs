//! The server's certificate.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What TLS needs, read and checked.
#[derive(Clone)]
pub(crate) struct Tls(pub(crate) Arc<ServerConfig>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// Which of the two files is wrong, and how.
pub(crate) struct TlsFileError {
    pub(crate) key: &'static str,
    pub(crate) text: String,
}

impl Tls {
    /// Certificate chain and key, both PEM.
    pub(crate) fn read(certificate: &Path, key: &Path) -> Result<Self, TlsFileError> {
        let wrong = |key, error: &dyn fmt::Display| TlsFileError {
            key,
            text: format!("names a file that cannot be used: {error}"),
        };
        let of_chain = |error: &dyn fmt::Display| wrong("tls_cert_file", error);
        let chain = CertificateDer::pem_file_iter(certificate).map_err(|error| of_chain(&error))?;
        let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| of_chain(&error))?;
        if chain.is_empty() {
            return Err(of_chain(&"it has no certificate in PEM form"));
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong("tls_key_file", &error))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| of_chain(&error))?;
        let mut config = config
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| wrong("tls_key_file", &error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}
