//! Dispatches each request: to the pages, the control API, or Weixin's endpoints with the next fault of the path and the app.

use std::time::Duration;

use serde_json::json;
use wxsub_proto::ErrCode;
use wxsub_proto::consent::ConsentUrl;

use crate::api_error::ApiError;
use crate::event_log::Trace;
use crate::exchange::{ConnectionFault, Exchange, Response};
use crate::fault::{CAPTIVE_PORTAL_PATH, Fault};
use crate::journal::JournalRecord;
#[cfg(feature = "pages")]
use crate::page::{self, error_page};
use crate::request::Request;
use crate::state::{Effect, SandboxState};
#[cfg(feature = "pages")]
use crate::ui;
use crate::{control, weixin};

/// Handles one request.
///
/// Faults apply to Weixin's paths only. Only requests to those appear in the event log and the journal.
pub(crate) fn handle(state: &mut SandboxState, request: &Request<'_>) -> Exchange {
    if let Some(response) = handle_own_path(state, request) {
        return Exchange { delay: Duration::ZERO, outcome: Ok(response) };
    }
    let appid = weixin::find_app(state, request).cloned();
    let fault = state.faults.take_next(request.path, appid.as_ref());
    let mut trace = Trace { appid, fault: fault.as_ref().map(Fault::name), ..Trace::default() };
    let Decision { mut exchange, effects, accepted } = decide(state, fault, request, &mut trace);
    match write_journal(state, request, &trace, accepted) {
        Ok(()) => effects.into_iter().for_each(|effect| state.apply(request.now, effect)),
        Err(response) => exchange = Exchange { delay: Duration::ZERO, outcome: Ok(response) },
    }
    state.event_log.record_request(request, trace);
    exchange
}

/// What a request leads to. Nothing has changed yet.
struct Decision {
    exchange: Exchange,
    effects: Vec<Effect>,
    /// Whether Weixin accepts the request.
    accepted: bool,
}

fn decide(state: &SandboxState, fault: Option<Fault>, request: &Request<'_>, trace: &mut Trace) -> Decision {
    let mut effects = Vec::new();
    let mut delay = Duration::ZERO;
    let mut respond = |trace: &mut Trace| decide_without_fault(state, request, trace, &mut effects);
    let (outcome, is_fault_response) = match fault {
        None => (Ok(respond(trace)), false),
        Some(Fault::Delay(duration)) => {
            delay = duration;
            (Ok(respond(trace)), false)
        }
        Some(Fault::ErrCode(code)) => {
            trace.errcode = Some(code);
            let error = ApiError::for_fault(code, request.client_ip);
            (Ok(Response::weixin(&error.to_json(request.now))), true)
        }
        Some(Fault::Status(status)) => (Ok(gateway_page(status)), true),
        Some(Fault::Html) => {
            let portal = "<h1>Welcome</h1><p>Sign in to use this network.</p>";
            (Ok(third_party_page(200, "Welcome", portal)), true)
        }
        Some(Fault::ResetBeforeApply) => (Err(ConnectionFault::ResetBeforeApply), true),
        Some(Fault::ResetAfterApply) => {
            let _lost = respond(trace);
            (Err(ConnectionFault::ResetAfterApply), false)
        }
        Some(Fault::Truncate) => (Err(ConnectionFault::Truncated(respond(trace))), false),
        Some(Fault::Hang) => (Err(ConnectionFault::Hang), true),
    };
    let is_decision = effects.iter().any(|effect| matches!(effect, Effect::RecordConsent { .. }));
    let accepted = !is_fault_response && (trace.errcode == Some(ErrCode::OK) || is_decision);
    Decision { exchange: Exchange { delay, outcome }, effects, accepted }
}

/// Decides about a request for one of Weixin's paths.
fn decide_without_fault(
    state: &SandboxState,
    request: &Request<'_>,
    trace: &mut Trace,
    effects: &mut Vec<Effect>,
) -> Response {
    if let Some(response) = weixin::decide(state, request, trace, effects) {
        return response;
    }
    #[cfg(feature = "pages")]
    if request.path == ConsentUrl::PATH {
        return page::decide_consent(state, request, effects);
    }
    error_page(404, "The sandbox has no page at this address.")
}

/// Writes the request to the journal, if there is one. The error is the response to the request.
fn write_journal(
    state: &mut SandboxState,
    request: &Request<'_>,
    trace: &Trace,
    accepted: bool,
) -> Result<(), Response> {
    let Some(journal) = &mut state.journal else { return Ok(()) };
    let operation = match request.path {
        ConsentUrl::PATH => "consent",
        path => weixin::operation(path).unwrap_or("unknown"),
    };
    let record = JournalRecord::new(request, operation, trace, accepted);
    journal.write(&record).map_err(|error| {
        let error =
            format!("journal: cannot be written: {error}; the request has no effect; restart the sandbox");
        Response::json(500, &json!({ "error": error }))
    })
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
