//! Converts errors of reqwest: the kind, whether the request may have been sent, and a detail without secrets.

use std::io;

use wxsub_core::transport::{TransportError, TransportErrorKind, chain, format_chain};
use wxsub_tls::{TlsErrorKind, classify_tls_error};

/// What the transport connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectTarget {
    Server,
    Proxy,
}

/// Converts an error of reqwest. hyper reports a request as canceled only if it did not start to write it.
pub(crate) fn transport_error(error: reqwest::Error, target: ConnectTarget) -> TransportError {
    let error = error.without_url();
    let (tls_error, is_connect) = (classify_tls_error(&error), error.is_connect());
    let hyper_error = chain(&error).find_map(|cause| cause.downcast_ref::<hyper::Error>());
    let io_errors = || chain(&error).filter_map(|cause| cause.downcast_ref::<io::Error>());
    let is_end_of_stream = || io_errors().any(|error| error.kind() == io::ErrorKind::UnexpectedEof);
    let kind = match (&tls_error, hyper_error) {
        _ if error.is_timeout() && !is_connect => TransportErrorKind::Timeout,
        _ if error.is_builder() && !is_connect => TransportErrorKind::Other,
        (Some(TlsErrorKind::Certificate(_)), _) => TransportErrorKind::Certificate,
        (Some(_), _) => TransportErrorKind::Tls,
        // With a proxy, this machine resolves and connects to the proxy only.
        _ if is_connect && target == ConnectTarget::Proxy => TransportErrorKind::Proxy,
        _ if is_connect && error.is_dns() => TransportErrorKind::Dns,
        // A TCP connect does not read, so the stream ended in the TLS handshake.
        _ if is_connect && is_end_of_stream() => TransportErrorKind::Tls,
        _ if is_connect => TransportErrorKind::Connect,
        (_, Some(error)) if error.is_parse_too_large() => TransportErrorKind::TooLarge,
        (_, Some(error)) if error.is_parse() => TransportErrorKind::NotHttp,
        _ => TransportErrorKind::Broken,
    };
    let detail = match &tls_error {
        Some(TlsErrorKind::Certificate(reason)) => format!("{reason}; {}", describe(&error)),
        _ => describe(&error),
    };
    match is_connect || error.is_builder() || hyper_error.is_some_and(hyper::Error::is_canceled) {
        true => TransportError::before_sending(kind, detail),
        false => TransportError::maybe_sent(kind, detail),
    }
}

/// The messages of the error's causes. The error's own message adds nothing to them.
pub(crate) fn describe(error: &reqwest::Error) -> String {
    format_chain(chain(error).skip(1))
}
