//! Dispatches each request: to the pages, the control API, or Weixin's endpoints with the next fault of the path.

use std::time::Duration;

use crate::api_error::ApiError;
use crate::event_log::Trace;
use crate::exchange::{ConnectionFault, Exchange, Response};
use crate::fault::Fault;
use crate::request::Request;
use crate::state::SandboxState;
use crate::{control, page, ui, weixin};

/// Handles one request.
///
/// Faults apply to Weixin's paths only, and only requests to those appear in the event log.
pub(crate) fn handle(state: &mut SandboxState, request: &Request<'_>) -> Exchange {
    if let Some(response) = ui::handle(state, request).or_else(|| control::handle(state, request)) {
        return Exchange { delay: Duration::ZERO, outcome: Ok(response) };
    }
    let fault = state.faults.take_next(request.path);
    let mut trace = Trace { fault: fault.as_ref().map(Fault::name), ..Trace::default() };
    let exchange = apply_fault(state, fault, request, &mut trace);
    state.event_log.record_request(request, trace);
    exchange
}

fn apply_fault(
    state: &mut SandboxState,
    fault: Option<Fault>,
    request: &Request<'_>,
    trace: &mut Trace,
) -> Exchange {
    let mut delay = Duration::ZERO;
    let outcome = match fault {
        None => Ok(weixin::handle(state, request, trace)),
        Some(Fault::Delay(duration)) => {
            delay = duration;
            Ok(weixin::handle(state, request, trace))
        }
        Some(Fault::ErrCode(code)) => {
            trace.errcode = Some(code);
            Ok(Response::weixin(&ApiError::for_fault(code, request.client_ip).to_json(request.now)))
        }
        Some(Fault::Status(status)) => Ok(page::intermediary(status)),
        Some(Fault::Html) => Ok(page::captive_portal()),
        Some(Fault::ResetBeforeApply) => Err(ConnectionFault::ResetBeforeApply),
        Some(Fault::ResetAfterApply) => {
            weixin::handle(state, request, trace);
            Err(ConnectionFault::ResetAfterApply)
        }
        Some(Fault::Truncate) => Err(ConnectionFault::Truncated(weixin::handle(state, request, trace))),
        Some(Fault::Hang) => Err(ConnectionFault::Hang),
    };
    Exchange { delay, outcome }
}
