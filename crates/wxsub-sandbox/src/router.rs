//! Dispatches each request: to the pages, the control API, or Weixin's endpoints with the next fault of the path.

use std::time::Duration;

use wxsub_proto::consent::ConsentUrl;

use crate::api_error::ApiError;
use crate::event_log::Trace;
use crate::exchange::{ConnectionFault, Exchange, Response};
use crate::fault::{CAPTIVE_PORTAL_PATH, Fault};
#[cfg(feature = "pages")]
use crate::page::{self, error_page};
use crate::request::Request;
use crate::state::SandboxState;
#[cfg(feature = "pages")]
use crate::ui;
use crate::{control, weixin};

/// Handles one request.
///
/// Faults apply to Weixin's paths only, and only requests to those appear in the event log.
pub(crate) fn handle(state: &mut SandboxState, request: &Request<'_>) -> Exchange {
    if let Some(response) = handle_own_path(state, request) {
        return Exchange { delay: Duration::ZERO, outcome: Ok(response) };
    }
    let fault = state.faults.take_next(request.path);
    let mut trace = Trace { fault: fault.as_ref().map(Fault::name), ..Trace::default() };
    let exchange = apply_fault(state, fault, request, &mut trace);
    state.event_log.record_request(request, trace);
    exchange
}

/// Handles a request for the sandbox itself. `None` if the path belongs to Weixin.
fn handle_own_path(state: &mut SandboxState, request: &Request<'_>) -> Option<Response> {
    if is_cross_site_write(request) {
        let error = "The request came from a page of another site. Use the pages of the sandbox.";
        return Some(error_page(403, error));
    }
    #[cfg(feature = "pages")]
    if let Some(response) = ui::handle(state, request) {
        return Some(response);
    }
    control::handle(state, request)
}

/// Whether a page of another site sends a control or a consent decision.
fn is_cross_site_write(request: &Request<'_>) -> bool {
    let is_read = matches!(request.method, "GET" | "HEAD" | "OPTIONS");
    let is_protected = request.path.starts_with("/_sandbox") || request.path == ConsentUrl::PATH;
    request.is_cross_site && !is_read && is_protected
}

fn apply_fault(
    state: &mut SandboxState,
    fault: Option<Fault>,
    request: &Request<'_>,
    trace: &mut Trace,
) -> Exchange {
    let mut delay = Duration::ZERO;
    let outcome = match fault {
        None => Ok(handle_weixin_path(state, request, trace)),
        Some(Fault::Delay(duration)) => {
            delay = duration;
            Ok(handle_weixin_path(state, request, trace))
        }
        Some(Fault::ErrCode(code)) => {
            trace.errcode = Some(code);
            Ok(Response::weixin(&ApiError::for_fault(code, request.client_ip).to_json(request.now)))
        }
        Some(Fault::Status(status)) => Ok(gateway_page(status)),
        Some(Fault::Html) => Ok(captive_portal()),
        Some(Fault::ResetBeforeApply) => Err(ConnectionFault::ResetBeforeApply),
        Some(Fault::ResetAfterApply) => {
            let _lost = handle_weixin_path(state, request, trace);
            Err(ConnectionFault::ResetAfterApply)
        }
        Some(Fault::Truncate) => Err(ConnectionFault::Truncated(handle_weixin_path(state, request, trace))),
        Some(Fault::Hang) => Err(ConnectionFault::Hang),
    };
    Exchange { delay, outcome }
}

/// Handles a request for one of Weixin's paths, without faults.
fn handle_weixin_path(state: &mut SandboxState, request: &Request<'_>, trace: &mut Trace) -> Response {
    if let Some(response) = weixin::handle(state, request, trace) {
        return response;
    }
    #[cfg(feature = "pages")]
    if request.path == ConsentUrl::PATH {
        return page::handle_consent(state, request);
    }
    error_page(404, "The sandbox has no page at this address.")
}

/// The response of a failing proxy or load balancer. A 3xx redirects to the captive portal.
fn gateway_page(status: u16) -> Response {
    match status {
        300..400 => Response::redirect(status, CAPTIVE_PORTAL_PATH.to_owned()),
        _ => third_party_page(
            status,
            "Gateway",
            &format!("<h1>{status}</h1><p>The server could not be reached.</p>"),
        ),
    }
}

/// The response of a captive portal.
fn captive_portal() -> Response {
    third_party_page(200, "Welcome", "<h1>Welcome</h1><p>Sign in to use this network.</p>")
}

/// A page that neither Weixin nor the sandbox wrote.
fn third_party_page(status: u16, title: &str, body: &str) -> Response {
    let head = format!("<meta charset=\"utf-8\"><title>{title}</title>");
    let page = format!("<!DOCTYPE html><html lang=\"en\"><head>{head}</head><body>{body}</body></html>");
    Response::html(status, page)
}

/// The response to a request that is rejected as a whole. Without the pages, it is plain text.
#[cfg(not(feature = "pages"))]
fn error_page(status: u16, error: &str) -> Response {
    Response::new(status, "text/plain; charset=utf-8", error)
}
