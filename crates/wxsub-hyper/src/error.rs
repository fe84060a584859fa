//! What the errors of hyper mean: what went wrong, and whether the request can have left.

use std::error::Error;

use wxsub_core::transport::{TransportError, TransportFault, causes, chain};
use wxsub_tls::{TlsErrorKind, classify_tls_error};

/// The connection died before it was given a request, or gave it back unwritten.
pub(crate) fn connect_error(error: &hyper::Error) -> TransportError {
    let (kind, detail) = classify(error);
    let kind = if kind == TransportFault::Broken { TransportFault::Connect } else { kind };
    TransportError::before_sending(kind, detail)
}

/// No reply came.
pub(crate) fn response_error(error: &hyper::Error) -> TransportError {
    let (kind, detail) = classify(error);
    // hyper calls a request canceled if it gave it back without having begun to write it, and only then.
    if error.is_canceled() {
        return TransportError::before_sending(kind, detail);
    }
    TransportError::maybe_sent(kind, detail)
}

/// The reply ended too early.
pub(crate) fn body_error(error: &hyper::Error) -> TransportError {
    let (kind, detail) = classify(error);
    TransportError::maybe_sent(kind, detail)
}

fn classify(error: &(dyn Error + 'static)) -> (TransportFault, String) {
    let detail = causes(chain(error));
    let kind = match (classify_tls_error(error), hyper_error(error)) {
        (Some(TlsErrorKind::Certificate(reason)), _) => {
            return (TransportFault::Certificate, format!("{reason}; {detail}"));
        }
        (Some(_), _) => TransportFault::Tls,
        (None, Some(error)) if error.is_parse_too_large() => TransportFault::TooLarge,
        (None, Some(error)) if error.is_parse() => TransportFault::NotHttp,
        _ => TransportFault::Broken,
    };
    (kind, detail)
}

fn hyper_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a hyper::Error> {
    chain(error).find_map(|cause| cause.downcast_ref())
}
