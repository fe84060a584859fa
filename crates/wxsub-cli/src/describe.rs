//! Describes a failed send or token call: what failed, what it means, what to do.

use std::fmt::Write;

use wxsub_core::SendError;
use wxsub_core::error::Delivery;
use wxsub_core::token::TokenError;
use wxsub_proto::{ApiError, Operation, Remedy};

/// Describes a failed send in one line.
pub(crate) fn describe_send_error(error: &SendError) -> String {
    let mut text = error.to_string();
    match (error.api_error(), error.delivery()) {
        (Some(api_error), _) => add_refusal(&mut text, api_error, error.operation()),
        (None, Delivery::NotSent) => add_safe_retry(&mut text, error.remedy()),
        // The text of the error already says what to do.
        (None, Delivery::MaybeSent | Delivery::Rejected) => {}
    }
    text
}

/// Describes a failed token call in one line.
pub(crate) fn describe_token_error(error: &TokenError) -> String {
    let mut text = error.to_string();
    match error.api_error() {
        Some(api_error) => add_refusal(&mut text, api_error, Operation::FetchToken),
        None => add_safe_retry(&mut text, error.remedy()),
    }
    text
}

/// Describes a refused call of this operation in one line.
pub(crate) fn describe_refusal(api_error: &ApiError, operation: Operation) -> String {
    let mut text = format!("Weixin refused: {api_error}");
    add_refusal(&mut text, api_error, operation);
    text
}

/// Adds that a retry is safe, and what to do first.
fn add_safe_retry(text: &mut String, remedy: Remedy) {
    text.push_str("; it is safe to try again");
    match remedy {
        Remedy::RetryLater => {}
        Remedy::Investigate => text.push_str(", but first find out what responded instead of Weixin"),
        remedy => {
            // Writing into a String cannot fail.
            let _ = write!(text, ", but first {}", remedy.advice());
        }
    }
}

fn add_refusal(text: &mut String, api_error: &ApiError, operation: Operation) {
    let code = api_error.errcode();
    // Writing into a String cannot fail.
    let _ = write!(
        text,
        "; this means: {}; what to do: {}",
        code.meaning(operation),
        code.remedy(operation).advice()
    );
    if let Some(address) = api_error.blocked_ip() {
        let _ = write!(text, "; the address is {address}");
    }
    if let Some(trace_id) = api_error.trace_id() {
        let _ = write!(text, "; trace id for Weixin's support: {trace_id}");
    }
}
