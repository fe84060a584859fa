use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use wxsub_core::proto::LocalizedText;

use crate::Roots;

/// Why [`client_config`] returned no configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// The PEM text contains no certificate.
    #[error(
        "cannot read PEM roots: no certificate found; provide at least one -----BEGIN CERTIFICATE----- section \
         (a private key is not a certificate)"
    )]
    EmptyPem,
    /// A certificate in the PEM text is malformed.
    #[error("cannot read PEM roots: certificate {number}: {detail}; export the certificate again")]
    InvalidPem {
        /// Position of the certificate in the text, counted from 1.
        number: usize,
        /// The error of the parser.
        detail: String,
    },
    /// This machine has no readable certificate authorities. Holds the cause.
    #[error(
        "no certificate authorities found on this machine: {0}; install the ca-certificates package, \
         or use the bundled roots or a PEM file"
    )]
    NoSystemRoots(String),
    /// rustls rejected the configuration. Holds the message of rustls.
    #[error("rustls rejected the TLS configuration: {0}; report this as a bug")]
    Rustls(String),
}

impl TlsConfigError {
    /// Returns the error in every language.
    pub fn localized(&self) -> LocalizedText<String> {
        let chinese = match self {
            Self::EmptyPem => {
                "PEM 文件中没有证书；至少要有一段 -----BEGIN CERTIFICATE-----（私钥不是证书）".to_owned()
            }
            Self::InvalidPem { number, detail } => {
                format!("PEM 文件中第 {number} 个证书无法读取：{detail}；请重新导出该证书")
            }
            Self::NoSystemRoots(cause) => {
                format!(
                    "本机没有 CA 证书：{cause}；请安装 ca-certificates 软件包，或使用内置 CA 证书或 PEM 文件"
                )
            }
            Self::Rustls(error) => format!("rustls 拒绝了 TLS 配置：{error}；请报告此缺陷"),
        };
        LocalizedText::new(self.to_string(), chinese)
    }
}

/// Builds a client configuration for HTTP/1.1 over TLS 1.2 or 1.3 that trusts only `roots`.
///
/// [`Roots::System`] reads files and blocks the thread meanwhile. Call this function once, at the start of the program.
///
/// # Errors
/// [`TlsConfigError`] if `roots` contains no usable certificate authority. Every handshake would fail without one.
pub fn client_config(roots: &Roots) -> Result<ClientConfig, TlsConfigError> {
    let trusted = match root_certificates(roots)? {
        Some(certificates) => {
            let mut trusted = RootCertStore::empty();
            trusted.add_parsable_certificates(certificates);
            trusted
        }
        None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsConfigError::Rustls(error.to_string()))?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The certificates of `roots`, for a library that makes its own configuration. `None` stands for [`Roots::Bundled`], which
/// are no whole certificates.
///
/// [`Roots::System`] reads files and blocks the thread meanwhile.
///
/// # Errors
/// [`TlsConfigError`] if `roots` contains no usable certificate authority.
pub fn root_certificates(roots: &Roots) -> Result<Option<Vec<CertificateDer<'static>>>, TlsConfigError> {
    match roots {
        Roots::System => system_certificates().map(Some),
        Roots::Bundled => Ok(None),
        Roots::Pem(pem) => pem_certificates(pem).map(Some),
    }
}

fn system_certificates() -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let mut found = rustls_native_certs::load_native_certs();
    let count = found.certs.len();
    found.certs.retain(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok());
    if !found.certs.is_empty() {
        return Ok(found.certs);
    }
    Err(TlsConfigError::NoSystemRoots(match found.errors.first() {
        Some(error) => error.to_string(),
        None if count > 0 => format!("all {count} certificates found are unusable"),
        None => "the default locations are empty".to_owned(),
    }))
}

fn pem_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    // Some editors write a byte order mark at the beginning. It would hide the first certificate.
    let pem = pem.strip_prefix(b"\xef\xbb\xbf").unwrap_or(pem);
    let mut certificates = Vec::new();
    for (index, section) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let invalid = |detail: String| TlsConfigError::InvalidPem { number: index.saturating_add(1), detail };
        let certificate = section.map_err(|error| invalid(error.to_string()))?;
        RootCertStore::empty().add(certificate.clone()).map_err(|error| invalid(error.to_string()))?;
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        return Err(TlsConfigError::EmptyPem);
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_config_installs_no_process_wide_provider() {
        let key = rcgen::KeyPair::generate().unwrap();
        let authority = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        let twice = format!("{}\n{}", authority.pem(), authority.pem());
        let with_comment = Roots::Pem(format!("# comment\n{twice}").into_bytes());
        let with_mark = Roots::Pem(format!("\u{feff}{twice}").into_bytes());
        for roots in [&Roots::Bundled, &with_comment, &with_mark] {
            assert_eq!(client_config(roots).unwrap().alpn_protocols, [b"http/1.1"]);
        }
        assert_eq!(root_certificates(&with_mark).unwrap().unwrap().len(), 2);
        assert!(rustls::crypto::CryptoProvider::get_default().is_none());
    }

    #[test]
    fn pem_without_certificate_fails_with_empty_pem() {
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for pem in ["", "hello", &key] {
            let error = client_config(&Roots::Pem(pem.as_bytes().to_vec())).unwrap_err();
            assert_eq!(error, TlsConfigError::EmptyPem);
            assert!(error.to_string().contains("BEGIN CERTIFICATE"));
        }
    }

    #[test]
    fn malformed_certificate_fails_with_its_number() {
        for malformed in [
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n",
        ] {
            let error = client_config(&Roots::Pem(malformed.as_bytes().to_vec())).unwrap_err();
            assert!(matches!(error, TlsConfigError::InvalidPem { number: 1, .. }), "{error}");
        }
    }

    #[test]
    fn debug_output_omits_pem_bytes() {
        assert_eq!(format!("{:?}", [Roots::default(), Roots::Pem(vec![7; 3])]), "[System, Pem(3 bytes)]");
    }
}
