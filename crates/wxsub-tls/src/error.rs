use std::error::Error;
use std::fmt;
use std::io;

use rustls::CertificateError;

/// What a TLS failure was about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsErrorKind {
    /// The other side's certificate is not trusted. Trying again changes nothing; somebody has to.
    Certificate(CertificateErrorKind),
    /// Anything else: no TLS at the other end, no version in common, a broken record. What rustls said of it.
    Other(String),
}

impl fmt::Display for TlsErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(fault) => fault.fmt(f),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// Why a certificate is not trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateErrorKind {
    /// No trusted authority signed it.
    UnknownIssuer,
    /// It belongs to another host.
    HostnameMismatch,
    /// Its time is over, or this machine's clock is ahead.
    Expired,
    /// Its time has not come, or this machine's clock is behind.
    NotYetValid,
    /// Its authority took it back.
    Revoked,
    /// It was made for something else than serving.
    InvalidPurpose,
    /// The server showed none.
    Missing,
    /// Something else is wrong with it. What rustls said of it.
    Invalid(String),
}

impl fmt::Display for CertificateErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownIssuer => "the certificate's issuer is not among the trusted authorities",
            Self::HostnameMismatch => "the certificate is for another host name",
            Self::Expired => "the certificate has expired, or this machine's clock is ahead",
            Self::NotYetValid => "the certificate is not valid yet, or this machine's clock is behind",
            Self::Revoked => "the certificate was revoked",
            Self::InvalidPurpose => "the certificate is not meant for a server",
            Self::Missing => "the server showed no certificate",
            Self::Invalid(text) => return write!(f, "the certificate is invalid: {text}"),
        })
    }
}

/// What the TLS failure in this chain of errors was about; `None` if there is none in it.
///
/// Looks into [`io::Error`] too, which hides the error it was made from when asked for its source.
#[must_use]
pub fn classify_tls_error(error: &(dyn Error + 'static)) -> Option<TlsErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(classify_rustls_error(error));
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
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
        // A bad signature: an authority of the same name, with another key.
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
    use super::*;

    #[test]
    fn it_is_found_at_the_bottom_of_a_chain() {
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
