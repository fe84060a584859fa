//! A failed send in words: what happened, what it means, what to do.

use std::fmt::Write;

use wxsub_core::SendError;
use wxsub_core::error::Delivery;
use wxsub_core::token::TokenError;
use wxsub_proto::{ApiError, Operation, Remedy};

/// One line about a message that was not, or not certainly, sent.
pub(crate) fn describe_send_error(error: &SendError) -> String {
    let mut text = error.to_string();
    match (error.refusal(), error.delivery()) {
        (Some(refusal), _) => add_refusal(&mut text, refusal, error.operation()),
        (None, Delivery::NotSent) => add_safe(&mut text, error.remedy()),
        // What it says of itself is all there is to do.
        (None, Delivery::MaybeSent | Delivery::Rejected) => {}
    }
    text
}

/// One line about a token that could not be had.
pub(crate) fn describe_token_error(error: &TokenError) -> String {
    let mut text = error.to_string();
    match error.refusal() {
        Some(refusal) => add_refusal(&mut text, refusal, Operation::FetchToken),
        None => add_safe(&mut text, error.remedy()),
    }
    text
}

/// One line about a refused token call.
pub(crate) fn describe_api_error(refusal: &ApiError) -> String {
    refusal_of(refusal, Operation::FetchToken)
}

/// One line about a refused call.
pub(crate) fn refusal_of(refusal: &ApiError, role: Operation) -> String {
    let mut text = format!("Weixin refused: {refusal}");
    add_refusal(&mut text, refusal, role);
    text
}

/// Nothing was sent.
fn add_safe(text: &mut String, remedy: Remedy) {
    text.push_str("; it is safe to try again");
    match remedy {
        Remedy::RetryLater => {}
        Remedy::Investigate => text.push_str(", once you know what answered in Weixin's place"),
        remedy => {
            // Writing into a String cannot fail.
            let _ = write!(text, ", but first {}", remedy.advice());
        }
    }
}

fn add_refusal(text: &mut String, refusal: &ApiError, role: Operation) {
    let code = refusal.errcode();
    // Writing into a String cannot fail.
    let _ = write!(text, "; this means: {}; what to do: {}", code.meaning(role), code.remedy(role).advice());
    if let Some(address) = refusal.blocked_ip() {
        let _ = write!(text, "; the address is {address}");
    }
    if let Some(trace_id) = refusal.trace_id() {
        let _ = write!(text, "; trace id for Weixin's support: {trace_id}");
    }
}
