use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::Roots;

/// No configuration could be made of the chosen roots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// The PEM text holds no certificate.
    #[error(
        "the PEM text holds no certificate; it must have at least one -----BEGIN CERTIFICATE----- section, \
         and a private key is no certificate"
    )]
    EmptyPem,
    /// A section of the PEM text cannot be read.
    #[error("certificate {number} of the PEM text cannot be read ({detail}); export it again")]
    InvalidPem {
        /// Which one, from 1.
        number: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// This machine has no certificate authorities that could be read.
    #[error(
        "no certificate authorities found on this machine ({0}); install its ca-certificates package, \
         or choose the bundled roots or a PEM file"
    )]
    NoSystemRoots(String),
    /// rustls refused the configuration.
    #[error("rustls refused the configuration: {0}")]
    Rustls(String),
}

/// A configuration for HTTP/1.1 over TLS 1.2 or 1.3, which trusts these roots and nothing else.
///
/// [`Roots::System`] reads files; call this once, at the start.
///
/// # Errors
/// [`TlsConfigError`] if there is no certificate authority to trust, which would let no handshake succeed.
pub fn client_config(roots: &Roots) -> Result<ClientConfig, TlsConfigError> {
    let trusted = match roots {
        Roots::System => system_roots()?,
        Roots::Bundled => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
        Roots::Pem(pem) => pem_roots(pem)?,
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

fn system_roots() -> Result<RootCertStore, TlsConfigError> {
    let found = rustls_native_certs::load_native_certs();
    let mut trusted = RootCertStore::empty();
    let (_, unusable) = trusted.add_parsable_certificates(found.certs);
    if !trusted.is_empty() {
        return Ok(trusted);
    }
    Err(TlsConfigError::NoSystemRoots(match found.errors.first() {
        Some(error) => error.to_string(),
        None if unusable > 0 => format!("{unusable} were found, none of them is usable"),
        None => "the usual places are empty".to_owned(),
    }))
}

fn pem_roots(pem: &[u8]) -> Result<RootCertStore, TlsConfigError> {
    let mut trusted = RootCertStore::empty();
    for (index, section) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let bad = |detail: String| TlsConfigError::InvalidPem { number: index.saturating_add(1), detail };
        let certificate = section.map_err(|error| bad(error.to_string()))?;
        trusted.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    if trusted.is_empty() {
        return Err(TlsConfigError::EmptyPem);
    }
    Ok(trusted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundled_roots_and_pem_make_a_configuration_and_nothing_is_installed() {
        let key = rcgen::KeyPair::generate().unwrap();
        let authority = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        let twice = format!("# ours\n{}\n{}", authority.pem(), authority.pem());
        for roots in [Roots::Bundled, Roots::Pem(twice.into_bytes())] {
            assert_eq!(client_config(&roots).unwrap().alpn_protocols, [b"http/1.1"]);
        }
        assert!(rustls::crypto::CryptoProvider::get_default().is_none());
    }

    #[test]
    fn a_pem_without_certificates_says_what_it_should_hold() {
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for pem in ["", "hello", &key] {
            let error = client_config(&Roots::Pem(pem.as_bytes().to_vec())).unwrap_err();
            assert_eq!(error, TlsConfigError::EmptyPem);
            assert!(error.to_string().contains("BEGIN CERTIFICATE"));
        }
    }

    #[test]
    fn a_broken_certificate_is_named_by_its_number() {
        for broken in [
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n",
        ] {
            let error = client_config(&Roots::Pem(broken.as_bytes().to_vec())).unwrap_err();
            assert!(matches!(error, TlsConfigError::InvalidPem { number: 1, .. }), "{error}");
        }
    }

    #[test]
    fn debug_shows_the_choice_and_not_the_bytes() {
        assert_eq!(format!("{:?}", [Roots::default(), Roots::Pem(vec![7; 3])]), "[System, Pem(3 bytes)]");
    }
}
