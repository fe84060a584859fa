use std::error::Error;

use rustls::CertificateError;
use wxsub_core::transport::chain;

/// What kind of TLS error occurred.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsErrorKind {
    /// The server's certificate is not trusted. A retry cannot succeed; an operator must change the configuration.
    #[error("{0}")]
    Certificate(CertificateErrorKind),
    /// Any other TLS error: the server speaks no TLS, no common version, a malformed record. Holds the message of rustls.
    #[error("{0}")]
    Other(String),
}

/// Why a certificate is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateErrorKind {
    /// No trusted authority signed the certificate.
    #[error("the certificate's issuer is not among the trusted authorities")]
    UnknownIssuer,
    /// The certificate is for another host name.
    #[error("the certificate is for another host name")]
    HostnameMismatch,
    /// The certificate has expired, or this machine's clock is ahead.
    #[error("the certificate has expired, or this machine's clock is ahead")]
    Expired,
    /// The certificate is not valid yet, or this machine's clock is behind.
    #[error("the certificate is not valid yet, or this machine's clock is behind")]
    NotYetValid,
    /// The authority revoked the certificate.
    #[error("the certificate was revoked")]
    Revoked,
    /// The certificate's key usage does not allow server authentication.
    #[error("the certificate does not allow server authentication")]
    InvalidPurpose,
    /// The server sent no certificate.
    #[error("the server sent no certificate")]
    Missing,
    /// The certificate is invalid for another reason. Holds the message of rustls.
    #[error("the certificate is invalid: {0}")]
    Invalid(String),
}

/// Finds the TLS error among the causes of `error` and classifies it. `None` if there is none.
pub fn classify_tls_error(error: &(dyn Error + 'static)) -> Option<TlsErrorKind> {
    chain(error).find_map(|error| error.downcast_ref()).map(classify_rustls_error)
}

fn classify_rustls_error(error: &rustls::Error) -> TlsErrorKind {
    match error {
        rustls::Error::InvalidCertificate(error) => {
            TlsErrorKind::Certificate(classify_certificate_error(error))
        }
        rustls::Error::NoCertificatesPresented => TlsErrorKind::Certificate(CertificateErrorKind::Missing),
        error => TlsErrorKind::Other(error.to_string()),
    }
}

fn classify_certificate_error(error: &CertificateError) -> CertificateErrorKind {
    use CertificateError as E;
    match error {
        // A bad signature means that an authority of the same name signed with another key.
        E::UnknownIssuer | E::BadSignature => CertificateErrorKind::UnknownIssuer,
        E::NotValidForName | E::NotValidForNameContext { .. } => CertificateErrorKind::HostnameMismatch,
        E::Expired | E::ExpiredContext { .. } => CertificateErrorKind::Expired,
        E::NotValidYet | E::NotValidYetContext { .. } => CertificateErrorKind::NotYetValid,
        E::Revoked => CertificateErrorKind::Revoked,
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => CertificateErrorKind::InvalidPurpose,
        error => CertificateErrorKind::Invalid(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn tls_error_is_found_at_end_of_chain() {
        let expired = rustls::Error::InvalidCertificate(CertificateError::Expired);
        let wrapped = io::Error::other(io::Error::other(Box::<dyn Error + Send + Sync>::from(expired)));
        assert_eq!(
            classify_tls_error(&wrapped),
            Some(TlsErrorKind::Certificate(CertificateErrorKind::Expired))
        );

        let no_version = rustls::Error::HandshakeNotComplete;
        assert!(matches!(classify_tls_error(&io::Error::other(no_version)), Some(TlsErrorKind::Other(_))));
        assert_eq!(classify_tls_error(&io::Error::from(io::ErrorKind::ConnectionReset)), None);
    }
}
