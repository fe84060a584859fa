use std::fmt;

/// Whether the request of a failed exchange was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "every match must handle both")]
pub enum RequestState {
    /// No byte was sent. A retry is safe.
    NotSent,
    /// Some bytes may have been sent. The server may have processed the request.
    MaybeSent,
}

/// Why an exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The host name could not be resolved.
    Dns,
    /// The connection failed: refused, unreachable, or not in time.
    Connect,
    /// The TLS handshake failed for another reason than the certificate.
    Tls,
    /// The server's certificate is not trusted: unknown issuer, wrong name or expired. An operator must change the
    /// configuration.
    Certificate,
    /// The exchange took longer than allowed.
    Timeout,
    /// The connection broke: it was reset or closed, or the response was incomplete.
    Broken,
    /// The response is longer than allowed.
    TooLarge,
    /// The response is not HTTP.
    NotHttp,
    /// The proxy refused the connection.
    Proxy,
    /// Another cause.
    Other,
}

impl fmt::Display for TransportErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "the host name could not be resolved; check DNS and the base URL",
            Self::Connect => "no connection; check the network, firewall and base URL",
            Self::Tls => "the TLS handshake failed; check that the base URL is the one of an HTTPS server",
            Self::Certificate => {
                "the server's certificate is not trusted; check the base URL, root certificates and this machine's clock"
            }
            Self::Timeout => "no complete response in time",
            Self::Broken => "the connection broke before the response was complete",
            Self::TooLarge => "the response is longer than allowed",
            Self::NotHttp => "the response is not HTTP; check the base URL",
            Self::Proxy => "the proxy refused the connection; check its address and credentials",
            Self::Other => "the exchange failed",
        })
    }
}

/// A failed exchange: the cause, and whether the request may have been sent. It never contains a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} ({detail}; {})", match stage { RequestState::NotSent => "nothing was sent", RequestState::MaybeSent => "the request may have arrived" })]
pub struct TransportError {
    stage: RequestState,
    kind: TransportErrorKind,
    detail: String,
}

impl TransportError {
    /// Creates an error for a request that was certainly not sent. `detail` must not contain a URL or a secret.
    pub fn before_sending(kind: TransportErrorKind, detail: impl Into<String>) -> Self {
        Self { stage: RequestState::NotSent, kind, detail: detail.into() }
    }

    /// Creates an error for a request that may have been sent. `detail` must not contain a URL or a secret.
    pub fn maybe_sent(kind: TransportErrorKind, detail: impl Into<String>) -> Self {
        Self { stage: RequestState::MaybeSent, kind, detail: detail.into() }
    }

    /// Returns whether the request may have been sent.
    #[must_use]
    pub fn stage(&self) -> RequestState {
        self.stage
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }

    /// Returns whether only a change of configuration can help.
    #[must_use]
    pub fn is_config_error(&self) -> bool {
        self.kind == TransportErrorKind::Certificate
    }

    /// Returns the text of the HTTP library.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

#[cfg(test)]
mod tests {
    use super::TransportError;
    use super::TransportErrorKind::*;

    #[test]
    fn detail_of_the_library_is_kept() {
        assert_eq!(TransportError::maybe_sent(Broken, "reset").detail(), "reset");
    }

    #[test]
    fn each_kind_has_its_own_text() {
        let all = [Dns, Connect, Tls, Certificate, Timeout, Broken, TooLarge, NotHttp, Proxy, Other];
        let mut texts = all.map(|kind| kind.to_string()).to_vec();
        texts.sort();
        texts.dedup();
        assert!(texts.len() == all.len() && texts.iter().all(|text| text.contains(' ')), "{texts:?}");
    }
}
