//! Converts errors of hyper: the kind, and whether the request may have been sent.

use std::error::Error;

use wxsub_core::transport::{TransportError, TransportErrorKind, chain, format_chain};
use wxsub_tls::{TlsErrorKind, classify_tls_error};

/// An error before the first byte of the request was written. Nothing was sent.
pub(crate) fn connect_error(error: &hyper::Error) -> TransportError {
    let (kind, detail) = classify(error);
    let kind = if kind == TransportErrorKind::Broken { TransportErrorKind::Connect } else { kind };
    TransportError::before_sending(kind, detail)
}

/// An error while sending the request or waiting for the response head.
pub(crate) fn response_error(error: &hyper::Error) -> TransportError {
    let (kind, detail) = classify(error);
    // hyper reports a request as canceled only if it did not start to write it.
    if error.is_canceled() {
        return TransportError::before_sending(kind, detail);
    }
    TransportError::maybe_sent(kind, detail)
}

/// An error while reading the response body. The request may have been sent.
pub(crate) fn body_error(error: &hyper::Error) -> TransportError {
    let (kind, detail) = classify(error);
    TransportError::maybe_sent(kind, detail)
}

fn classify(error: &(dyn Error + 'static)) -> (TransportErrorKind, String) {
    let detail = format_chain(chain(error));
    let hyper_error: Option<&hyper::Error> = chain(error).find_map(|cause| cause.downcast_ref());
    let kind = match (classify_tls_error(error), hyper_error) {
        (Some(TlsErrorKind::Certificate(reason)), _) => {
            return (TransportErrorKind::Certificate, format!("{reason}; {detail}"));
        }
        (Some(_), _) => TransportErrorKind::Tls,
        (None, Some(error)) if error.is_parse_too_large() => TransportErrorKind::TooLarge,
        (None, Some(error)) if error.is_parse() => TransportErrorKind::NotHttp,
        _ => TransportErrorKind::Broken,
    };
    (kind, detail)
}
