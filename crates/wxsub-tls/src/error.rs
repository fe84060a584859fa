use std::error::Error;

use rustls::CertificateError;
use wxsub_core::transport::chain;

/// What kind of TLS error occurred.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsErrorKind {
    /// The server's certificate is not trusted. A retry cannot succeed; an operator must change the configuration. Holds the
    /// reason.
    #[error("{0}")]
    Certificate(String),
    /// Any other TLS error: the server speaks no TLS, no common version, a malformed record. Holds the message of rustls.
    #[error("{0}")]
    Other(String),
}

/// Finds the TLS error among the causes of `error` and classifies it. `None` if there is none.
pub fn classify_tls_error(error: &(dyn Error + 'static)) -> Option<TlsErrorKind> {
    chain(error).find_map(|error| error.downcast_ref()).map(classify_rustls_error)
}

fn classify_rustls_error(error: &rustls::Error) -> TlsErrorKind {
    use CertificateError as E;
    let reason = match error {
        rustls::Error::InvalidCertificate(error) => match error {
            // A bad signature means that an authority of the same name signed with another key.
            E::UnknownIssuer | E::BadSignature => {
                "the certificate's issuer is not among the trusted authorities"
            }
            E::NotValidForName | E::NotValidForNameContext { .. } => {
                "the certificate is for another host name"
            }
            E::Expired | E::ExpiredContext { .. } => {
                "the certificate has expired, or this machine's clock is ahead"
            }
            E::NotValidYet | E::NotValidYetContext { .. } => {
                "the certificate is not valid yet, or this machine's clock is behind"
            }
            E::Revoked => "the certificate was revoked",
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
                "the certificate does not allow server authentication"
            }
            error => return TlsErrorKind::Certificate(format!("the certificate is invalid: {error}")),
        },
        rustls::Error::NoCertificatesPresented => "the server sent no certificate",
        error => return TlsErrorKind::Other(error.to_string()),
    };
    TlsErrorKind::Certificate(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn tls_error_is_found_at_end_of_chain() {
        let expired = rustls::Error::InvalidCertificate(CertificateError::Expired);
        let wrapped = io::Error::other(io::Error::other(Box::<dyn Error + Send + Sync>::from(expired)));
        let reason = "the certificate has expired, or this machine's clock is ahead".to_owned();
        assert_eq!(classify_tls_error(&wrapped), Some(TlsErrorKind::Certificate(reason)));

        let no_version = rustls::Error::HandshakeNotComplete;
        assert!(matches!(classify_tls_error(&io::Error::other(no_version)), Some(TlsErrorKind::Other(_))));
        assert_eq!(classify_tls_error(&io::Error::from(io::ErrorKind::ConnectionReset)), None);
    }
}
