//! Converts errors of reqwest: the kind, whether the request may have been sent, and a detail without secrets.

use std::io;

use wxsub_core::transport::{RequestState, TransportError, TransportErrorKind, chain, format_chain};
use wxsub_tls::{TlsErrorKind, classify_tls_error};

/// What the transport connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectTarget {
    Server,
    Proxy,
}

/// Converts an error of reqwest.
pub(crate) fn transport_error(error: reqwest::Error, target: ConnectTarget) -> TransportError {
    let error = error.without_url();
    let (stage, kind) = if error.is_connect() {
        (RequestState::NotSent, connect_error_kind(&error, target))
    } else {
        (request_state(&error), request_error_kind(&error))
    };
    let detail = match classify_tls_error(&error) {
        Some(TlsErrorKind::Certificate(reason)) => format!("{reason}; {}", describe(&error)),
        _ => describe(&error),
    };
    match stage {
        RequestState::NotSent => TransportError::before_sending(kind, detail),
        RequestState::MaybeSent => TransportError::maybe_sent(kind, detail),
    }
}

/// The kind of an error during connect. Nothing was sent.
fn connect_error_kind(error: &reqwest::Error, target: ConnectTarget) -> TransportErrorKind {
    match classify_tls_error(error) {
        Some(TlsErrorKind::Certificate(_)) => TransportErrorKind::Certificate,
        Some(_) => TransportErrorKind::Tls,
        // With a proxy, this machine resolves and connects to the proxy only.
        None if target == ConnectTarget::Proxy => TransportErrorKind::Proxy,
        None if error.is_dns() => TransportErrorKind::Dns,
        None if is_end_of_stream(error) => TransportErrorKind::Tls,
        None => TransportErrorKind::Connect,
    }
}

/// Whether the stream ended during connect. A TCP connect does not read, so it ended in the TLS handshake.
fn is_end_of_stream(error: &reqwest::Error) -> bool {
    chain(error).any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
    })
}

/// Whether the request may have been sent.
///
/// hyper reports a request as canceled only if it did not start to write it.
fn request_state(error: &reqwest::Error) -> RequestState {
    match chain(error).find_map(|cause| cause.downcast_ref::<hyper::Error>()) {
        Some(error) if error.is_canceled() => RequestState::NotSent,
        _ if error.is_builder() => RequestState::NotSent,
        _ => RequestState::MaybeSent,
    }
}

/// The kind of an error after connect.
fn request_error_kind(error: &reqwest::Error) -> TransportErrorKind {
    if error.is_timeout() {
        return TransportErrorKind::Timeout;
    }
    if error.is_builder() {
        return TransportErrorKind::Other;
    }
    match classify_tls_error(error) {
        Some(TlsErrorKind::Certificate(_)) => return TransportErrorKind::Certificate,
        Some(_) => return TransportErrorKind::Tls,
        None => {}
    }
    match chain(error).find_map(|cause| cause.downcast_ref::<hyper::Error>()) {
        Some(error) if error.is_parse_too_large() => TransportErrorKind::TooLarge,
        Some(error) if error.is_parse() => TransportErrorKind::NotHttp,
        _ => TransportErrorKind::Broken,
    }
}

/// The messages of the error's causes. The error's own message adds nothing to them.
pub(crate) fn describe(error: &reqwest::Error) -> String {
    format_chain(chain(error).skip(1))
}
