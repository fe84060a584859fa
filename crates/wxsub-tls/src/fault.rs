use std::error::Error;
use std::fmt;
use std::io;

use rustls::CertificateError;

/// What a TLS failure was about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsFault {
    /// The other side's certificate is not trusted. Trying again changes nothing; somebody has to.
    Certificate(CertificateFault),
    /// Anything else: no TLS at the other end, no version in common, a broken record. What rustls said of it.
    Other(String),
}

impl fmt::Display for TlsFault {
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
pub enum CertificateFault {
    /// No trusted authority signed it.
    UnknownIssuer,
    /// It belongs to another host.
    WrongName,
    /// Its time is over, or this machine's clock is ahead.
    Expired,
    /// Its time has not come, or this machine's clock is behind.
    NotYetValid,
    /// Its authority took it back.
    Revoked,
    /// It was made for something else than serving.
    WrongPurpose,
    /// The server showed none.
    Missing,
    /// Something else is wrong with it. What rustls said of it.
    Invalid(String),
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownIssuer => "the certificate's issuer is not among the trusted authorities",
            Self::WrongName => "the certificate is for another host name",
            Self::Expired => "the certificate has expired, or this machine's clock is ahead",
            Self::NotYetValid => "the certificate is not valid yet, or this machine's clock is behind",
            Self::Revoked => "the certificate was revoked",
            Self::WrongPurpose => "the certificate is not meant for a server",
            Self::Missing => "the server showed no certificate",
            Self::Invalid(text) => return write!(f, "the certificate is invalid: {text}"),
        })
    }
}

/// What the TLS failure in this chain of errors was about; `None` if there is none in it.
///
/// Looks into [`io::Error`] too, which hides the error it was made from when asked for its source.
#[must_use]
pub fn fault_of(error: &(dyn Error + 'static)) -> Option<TlsFault> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(classify(error));
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn classify(error: &rustls::Error) -> TlsFault {
    match error {
        rustls::Error::InvalidCertificate(error) => TlsFault::Certificate(certificate_fault(error)),
        rustls::Error::NoCertificatesPresented => TlsFault::Certificate(CertificateFault::Missing),
        error => TlsFault::Other(error.to_string()),
    }
}

fn certificate_fault(error: &CertificateError) -> CertificateFault {
    use CertificateError as E;
    match error {
        // A bad signature: an authority of the same name, with another key.
        E::UnknownIssuer | E::BadSignature => CertificateFault::UnknownIssuer,
        E::NotValidForName | E::NotValidForNameContext { .. } => CertificateFault::WrongName,
        E::Expired | E::ExpiredContext { .. } => CertificateFault::Expired,
        E::NotValidYet | E::NotValidYetContext { .. } => CertificateFault::NotYetValid,
        E::Revoked => CertificateFault::Revoked,
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => CertificateFault::WrongPurpose,
        error => CertificateFault::Invalid(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_at_the_bottom_of_a_chain() {
        let expired = rustls::Error::InvalidCertificate(CertificateError::Expired);
        let wrapped = io::Error::other(io::Error::other(Box::<dyn Error + Send + Sync>::from(expired)));
        assert_eq!(fault_of(&wrapped), Some(TlsFault::Certificate(CertificateFault::Expired)));

        let no_version = rustls::Error::HandshakeNotComplete;
        assert!(matches!(fault_of(&io::Error::other(no_version)), Some(TlsFault::Other(_))));
        assert_eq!(fault_of(&io::Error::from(io::ErrorKind::ConnectionReset)), None);
    }
}
