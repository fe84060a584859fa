//! Errors of exchanges, and the text of their causes.

use std::error::Error;
use std::io;

use wxsub_proto::redact::sanitize_line;
use wxsub_proto::{Language, LocalizedText};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The host name could not be resolved.
    #[error("the host name could not be resolved; check DNS and the base URL")]
    Dns,
    /// The connection failed: refused, unreachable, or not in time.
    #[error("no connection; check the network, firewall and base URL")]
    Connect,
    /// The TLS handshake failed for another reason than the certificate.
    #[error("the TLS handshake failed; check that the base URL is the one of an HTTPS server")]
    Tls,
    /// The server's certificate is not trusted: unknown issuer, wrong name or expired. An operator must change the
    /// configuration.
    #[error(
        "the server's certificate is not trusted; check the base URL, root certificates and this machine's clock"
    )]
    Certificate,
    /// The exchange took longer than allowed.
    #[error("no complete response in time")]
    Timeout,
    /// The connection broke: it was reset or closed, or the response was incomplete.
    #[error("the connection broke before the response was complete")]
    Broken,
    /// The response is longer than allowed.
    #[error("the response is longer than allowed")]
    TooLarge,
    /// The response is not HTTP.
    #[error("the response is not HTTP; check the base URL")]
    NotHttp,
    /// The proxy refused the connection.
    #[error("the proxy refused the connection; check its address and credentials")]
    Proxy,
    /// Another cause.
    #[error("the exchange failed")]
    Other,
}

impl TransportErrorKind {
    /// Returns the cause in every language.
    pub fn localized(self) -> LocalizedText<String> {
        let chinese = match self {
            Self::Dns => "主机名无法解析；请检查 DNS 和地址",
            Self::Connect => "无法连接；请检查网络、防火墙和地址",
            Self::Tls => "TLS 握手失败；请检查该地址是否为 HTTPS 服务器",
            Self::Certificate => "服务器证书不受信任；请检查地址、CA 证书和本机时间",
            Self::Timeout => "没有按时收到完整的响应",
            Self::Broken => "响应尚未完整，连接就断开了",
            Self::TooLarge => "响应超过长度上限",
            Self::NotHttp => "响应不是 HTTP；请检查地址",
            Self::Proxy => "代理拒绝了连接；请检查代理的地址和账号",
            Self::Other => "请求失败",
        };
        LocalizedText::new(self.to_string(), chinese.to_owned())
    }
}

/// A failed exchange: the cause, and whether the request may have been sent. It never contains a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, getset::CopyGetters)]
#[getset(get_copy = "pub")]
#[error("{kind} ({detail}; {})", match request_state { RequestState::NotSent => "nothing was sent", RequestState::MaybeSent => "the request may have arrived" })]
pub struct TransportError {
    /// Whether the request may have been sent.
    request_state: RequestState,
    /// The kind of the error.
    kind: TransportErrorKind,
    #[getset(skip)]
    detail: String,
}

impl TransportError {
    /// Creates an error for a request that was certainly not sent. `detail` must not contain a URL or a secret.
    pub fn before_sending(kind: TransportErrorKind, detail: impl Into<String>) -> Self {
        Self { request_state: RequestState::NotSent, kind, detail: sanitize_line(detail.into().chars()) }
    }

    /// Creates an error for a request that may have been sent. `detail` must not contain a URL or a secret.
    pub fn maybe_sent(kind: TransportErrorKind, detail: impl Into<String>) -> Self {
        Self { request_state: RequestState::MaybeSent, kind, detail: sanitize_line(detail.into().chars()) }
    }

    /// Returns whether only a change of configuration can help.
    pub fn is_config_error(&self) -> bool {
        self.kind == TransportErrorKind::Certificate
    }

    /// Returns the error in every language.
    pub fn localized(&self) -> LocalizedText<String> {
        let (kind, detail) = (self.kind.localized().in_language(Language::Chinese), &self.detail);
        let state = match self.request_state {
            RequestState::NotSent => "没有发出任何数据",
            RequestState::MaybeSent => "请求可能已发出",
        };
        LocalizedText::new(self.to_string(), format!("{kind}（{detail}；{state}）"))
    }

    /// Returns the text of the HTTP library.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

/// Returns the error and all its causes, outermost first.
///
/// It includes the error inside an [`io::Error`], which is not its source. HTTP libraries wrap errors several
/// times, and adapters need the inner ones.
pub fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> + use<'a> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    })
}

/// Joins the texts of these errors, as the detail of a [`TransportError`](super::TransportError).
///
/// It omits repeated texts and texts that look like they contain a URL. It also omits `client error (…)` of hyper-util,
/// which says no more than its cause.
///
/// ```
/// use std::io::Error;
/// use wxsub_core::transport::{chain, format_chain};
///
/// let error = Error::other(Error::other("reset by peer"));
/// assert_eq!(format_chain(chain(&error)), "reset by peer");
///
/// let with_url = Error::other("no response from https://api.test/?secret=S");
/// assert_eq!(format_chain(chain(&with_url)), "no cause was given");
/// ```
pub fn format_chain<'a>(errors: impl IntoIterator<Item = &'a (dyn Error + 'static)>) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in errors.into_iter().map(ToString::to_string) {
        let repeated = texts.iter().any(|earlier| earlier.contains(&text));
        let url = text.contains("://") || text.contains('?');
        if !repeated && !url && !text.starts_with("client error (") {
            texts.push(text);
        }
    }
    if texts.is_empty() {
        texts.push("no cause was given".to_owned());
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::TransportErrorKind::*;
    use super::*;

    #[test]
    fn detail_of_the_library_is_kept_on_one_line() {
        assert_eq!(TransportError::maybe_sent(Broken, "reset").detail(), "reset");
        assert_eq!(TransportError::before_sending(Proxy, "a\r\nb\u{202e}").detail(), "a  b ");
    }

    #[test]
    fn each_kind_has_its_own_text() {
        let all = [Dns, Connect, Tls, Certificate, Timeout, Broken, TooLarge, NotHttp, Proxy, Other];
        let mut texts = all.map(|kind| kind.to_string()).to_vec();
        texts.sort();
        texts.dedup();
        assert!(texts.len() == all.len() && texts.iter().all(|text| text.contains(' ')), "{texts:?}");
    }

    #[test]
    fn chain_ends_at_the_last_cause() {
        let error = io::Error::other(io::Error::other(io::Error::from(io::ErrorKind::TimedOut)));
        assert_eq!(chain(&error).count(), 3);
        assert_eq!(chain(&std::fmt::Error).count(), 1);
    }

    #[test]
    fn texts_appear_once_and_without_urls() {
        for (texts, expected) in [
            (["reset by peer", "os error 104"].as_slice(), "reset by peer: os error 104"),
            (&["broken: reset by peer", "reset by peer", "reset"], "broken: reset by peer"),
            (&["reset", "reset by peer"], "reset: reset by peer"),
            (&["client error (Connect)", "refused"], "refused"),
            (&["no response from http://api.test/", "refused"], "refused"),
            (&["no response to /cgi-bin/token?secret=S", "refused"], "refused"),
            (&["no response from http://api.test/?secret=S"], "no cause was given"),
            (&[], "no cause was given"),
        ] {
            let errors: Vec<_> = texts.iter().map(|text| io::Error::other(*text)).collect();
            assert_eq!(format_chain(errors.iter().map(|error| error as &dyn Error)), expected);
        }
    }
}
