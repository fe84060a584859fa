//! Converts errors of reqwest: the kind, whether the request may have been sent, and a detail without secrets.

use std::io;

use wxsub_core::transport::{Stage, TransportError, TransportFault, causes, chain};
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
        (Stage::BeforeSending, connect_error_kind(&error, target))
    } else {
        (request_state(&error), request_error_kind(&error))
    };
    let detail = match classify_tls_error(&error) {
        Some(TlsErrorKind::Certificate(reason)) => format!("{reason}; {}", describe(&error)),
        _ => describe(&error),
    };
    match stage {
        Stage::BeforeSending => TransportError::before_sending(kind, detail),
        Stage::MaybeSent => TransportError::maybe_sent(kind, detail),
    }
}

/// The kind of an error during connect. Nothing was sent.
fn connect_error_kind(error: &reqwest::Error, target: ConnectTarget) -> TransportFault {
    match classify_tls_error(error) {
        Some(TlsErrorKind::Certificate(_)) => TransportFault::Certificate,
        Some(_) => TransportFault::Tls,
        // With a proxy, this machine resolves and connects to the proxy only.
        None if target == ConnectTarget::Proxy => TransportFault::Proxy,
        None if error.is_dns() => TransportFault::Dns,
        None if is_end_of_stream(error) => TransportFault::Tls,
        None => TransportFault::Connect,
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
fn request_state(error: &reqwest::Error) -> Stage {
    match chain(error).find_map(|cause| cause.downcast_ref::<hyper::Error>()) {
        Some(error) if error.is_canceled() => Stage::BeforeSending,
        _ if error.is_builder() => Stage::BeforeSending,
        _ => Stage::MaybeSent,
    }
}

/// The kind of an error after connect.
fn request_error_kind(error: &reqwest::Error) -> TransportFault {
    if error.is_timeout() {
        return TransportFault::Timeout;
    }
    if error.is_builder() {
        return TransportFault::Other;
    }
    match classify_tls_error(error) {
        Some(TlsErrorKind::Certificate(_)) => return TransportFault::Certificate,
        Some(_) => return TransportFault::Tls,
        None => {}
    }
    match chain(error).find_map(|cause| cause.downcast_ref::<hyper::Error>()) {
        Some(error) if error.is_parse_too_large() => TransportFault::TooLarge,
        Some(error) if error.is_parse() => TransportFault::NotHttp,
        _ => TransportFault::Broken,
    }
}

/// The messages of the error's causes. The error's own message adds nothing to them.
pub(crate) fn describe(error: &reqwest::Error) -> String {
    causes(chain(error).skip(1))
}
