//! What reqwest's errors mean: what went wrong, whether the request can have left, and what may be describe of it.

use std::io;

use wxsub_core::transport::{Stage, TransportError, TransportFault, causes, chain};
use wxsub_tls::{TlsErrorKind, classify_tls_error};

/// Whom a connection is made to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectTarget {
    Server,
    Proxy,
}

/// Reads an error of reqwest.
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

/// No connection: nothing can have been sent.
fn connect_error_kind(error: &reqwest::Error, target: ConnectTarget) -> TransportFault {
    match classify_tls_error(error) {
        Some(TlsErrorKind::Certificate(_)) => TransportFault::Certificate,
        Some(_) => TransportFault::Tls,
        // Only the proxy's name is resolved here, and only the proxy is connected to.
        None if target == ConnectTarget::Proxy => TransportFault::Proxy,
        None if error.is_dns() => TransportFault::Dns,
        None if is_end_of_stream(error) => TransportFault::Tls,
        None => TransportFault::Connect,
    }
}

/// A connect does not read, so a stream that ended while connecting ended in the TLS handshake.
fn is_end_of_stream(error: &reqwest::Error) -> bool {
    chain(error).any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
    })
}

/// hyper calls a request canceled if it gave it back without having begun to write it, and only then.
fn request_state(error: &reqwest::Error) -> Stage {
    match chain(error).find_map(|cause| cause.downcast_ref::<hyper::Error>()) {
        Some(error) if error.is_canceled() => Stage::BeforeSending,
        _ if error.is_builder() => Stage::BeforeSending,
        _ => Stage::MaybeSent,
    }
}

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

/// What its causes say; the error itself says no more than that there was one.
pub(crate) fn describe(error: &reqwest::Error) -> String {
    causes(chain(error).skip(1))
}
