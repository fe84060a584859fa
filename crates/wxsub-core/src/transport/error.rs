use std::fmt;

/// How far a failed exchange can have come. There is nothing in between that could be known for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "every match on it must decide both")]
pub enum RequestState {
    /// Not one byte of the request has left: safe to repeat.
    NotSent,
    /// Sending may have begun: the request may have been carried out.
    MaybeSent,
}

/// What went wrong with an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The host name could not be resolved.
    Dns,
    /// No connection: refused, unreachable, or not in time.
    Connect,
    /// The TLS handshake failed, other than over the certificate.
    Tls,
    /// The other side's certificate is not trusted: unknown issuer, wrong name, expired. A matter of configuration.
    Certificate,
    /// The exchange took longer than it may.
    Timeout,
    /// The connection broke: reset, closed, or the reply ended too early.
    Broken,
    /// The reply is longer than it may be.
    TooLarge,
    /// What came back is not HTTP.
    NotHttp,
    /// The proxy refused.
    Proxy,
    /// Something else.
    Other,
}

impl fmt::Display for TransportErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "the host name could not be resolved; check DNS and the base URL",
            Self::Connect => "no connection; check the network, firewall and base URL",
            Self::Tls => "the TLS handshake failed",
            Self::Certificate => {
                "the server's certificate is not trusted; check base URL, roots and this machine's clock"
            }
            Self::Timeout => "no complete reply in time",
            Self::Broken => "the connection broke before the reply was complete",
            Self::TooLarge => "the reply is longer than allowed",
            Self::NotHttp => "what came back is not HTTP",
            Self::Proxy => "the proxy refused; check the proxy's address and credentials",
            Self::Other => "the exchange failed",
        })
    }
}

/// An exchange that gave no reply: what went wrong, and whether the request can have left. Never holds a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault} ({detail}; {})", match stage { RequestState::NotSent => "nothing was sent", RequestState::MaybeSent => "the request may have arrived" })]
pub struct TransportError {
    stage: RequestState,
    fault: TransportErrorKind,
    detail: String,
}

impl TransportError {
    /// A failure of which it is certain that nothing had been sent. `detail` must not contain a URL or a secret.
    pub fn before_sending(fault: TransportErrorKind, detail: impl Into<String>) -> Self {
        Self { stage: RequestState::NotSent, fault, detail: detail.into() }
    }

    /// Any other failure: the request may have arrived. `detail` must not contain a URL or a secret.
    pub fn maybe_sent(fault: TransportErrorKind, detail: impl Into<String>) -> Self {
        Self { stage: RequestState::MaybeSent, fault, detail: detail.into() }
    }

    /// How far the exchange can have come.
    #[must_use]
    pub fn stage(&self) -> RequestState {
        self.stage
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> TransportErrorKind {
        self.fault
    }

    /// Whether only a change of configuration can help: the server is not who it should be.
    #[must_use]
    pub fn is_config_error(&self) -> bool {
        self.fault == TransportErrorKind::Certificate
    }

    /// What the HTTP library said of it.
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
    fn what_the_library_said_is_kept() {
        assert_eq!(TransportError::maybe_sent(Broken, "reset").detail(), "reset");
    }

    #[test]
    fn every_fault_has_words_of_its_own() {
        let all = [Dns, Connect, Tls, Certificate, Timeout, Broken, TooLarge, NotHttp, Proxy, Other];
        let mut said = all.map(|fault| fault.to_string()).to_vec();
        said.sort();
        said.dedup();
        assert!(said.len() == all.len() && said.iter().all(|text| text.contains(' ')), "{said:?}");
    }
}
