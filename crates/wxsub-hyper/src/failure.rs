//! What the errors of hyper and its pool mean: what went wrong, and whether the request can have left.

use std::error::Error;

use hyper_util::client::legacy;
use wxsub_core::transport::{TransportError, TransportFault, causes, chain};
use wxsub_tls::{TlsFault, fault_of};

/// No reply came.
pub(crate) fn without_reply(error: &legacy::Error) -> TransportError {
    if let Some(error) = chain(error).find_map(|cause| cause.downcast_ref::<TransportError>()) {
        // It comes from our own connector, which knows best.
        return error.clone();
    }
    if error.connect_info().is_none() {
        // The pool had no connection to write to: none could be had, or the new one died before it was ready.
        let (fault, detail) = read(error);
        let fault = if fault == TransportFault::Broken { TransportFault::Connect } else { fault };
        return TransportError::before_sending(fault, detail);
    }
    let (fault, detail) = read(error);
    match hyper_error(error) {
        // hyper calls a request canceled if it gave it back without having begun to write it, and only then.
        Some(error) if error.is_canceled() => TransportError::before_sending(fault, detail),
        _ => TransportError::maybe_sent(fault, detail),
    }
}

/// The reply ended too early.
pub(crate) fn within_body(error: &hyper::Error) -> TransportError {
    let (fault, detail) = read(error);
    TransportError::maybe_sent(fault, detail)
}

fn read(error: &(dyn Error + 'static)) -> (TransportFault, String) {
    let said = causes(chain(error));
    let fault = match (fault_of(error), hyper_error(error)) {
        (Some(TlsFault::Certificate(reason)), _) => {
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
