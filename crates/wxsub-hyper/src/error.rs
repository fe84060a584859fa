//! What the errors of hyper mean: what went wrong, and whether the request can have left.

use std::error::Error;

use wxsub_core::transport::{TransportError, TransportFault, causes, chain};
use wxsub_tls::{TlsErrorKind, classify_tls_error};

/// The connection died before it was given a request, or gave it back unwritten.
pub(crate) fn before_request(error: &hyper::Error) -> TransportError {
    let (fault, detail) = read(error);
    let fault = if fault == TransportFault::Broken { TransportFault::Connect } else { fault };
    TransportError::before_sending(fault, detail)
}

/// No reply came.
pub(crate) fn without_reply(error: &hyper::Error) -> TransportError {
    let (fault, detail) = read(error);
    // hyper calls a request canceled if it gave it back without having begun to write it, and only then.
    if error.is_canceled() {
        return TransportError::before_sending(fault, detail);
    }
    TransportError::maybe_sent(fault, detail)
}

/// The reply ended too early.
pub(crate) fn within_body(error: &hyper::Error) -> TransportError {
    let (fault, detail) = read(error);
    TransportError::maybe_sent(fault, detail)
}

fn read(error: &(dyn Error + 'static)) -> (TransportFault, String) {
    let said = causes(chain(error));
    let fault = match (classify_tls_error(error), hyper_error(error)) {
        (Some(TlsErrorKind::Certificate(reason)), _) => {
            return (TransportFault::Certificate, format!("{reason}; {said}"));
        }
        (Some(_), _) => TransportFault::Tls,
        (None, Some(error)) if error.is_parse_too_large() => TransportFault::TooLarge,
        (None, Some(error)) if error.is_parse() => TransportFault::NotHttp,
        _ => TransportFault::Broken,
    };
    (fault, said)
}

fn hyper_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a hyper::Error> {
    chain(error).find_map(|cause| cause.downcast_ref())
}
