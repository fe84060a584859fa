//! The sandbox's own pages: the home page with its forms, and the callback page.
//!
//! They are not part of Weixin. No fault applies to them, and the event log omits them.

mod form;

use wxsub_proto::consent::ConsentUrl;

use crate::exchange::Response;
use crate::page::{self, CALLBACK_PATH, ICON_PATH, SCRIPT_PATH, STYLE_PATH};
use crate::request::Request;
use crate::state::SandboxState;

/// Handles a request for a page, a form, or a file of the pages. `None` for any other path.
pub(crate) fn handle(state: &mut SandboxState, request: &Request<'_>) -> Option<Response> {
    if is_cross_site_write(request) {
        return Some(page::form_error(
            403,
            "The request came from a page of another site. Use the pages of the sandbox.",
        ));
    }
    let render: fn(&SandboxState, &Request<'_>) -> Response = match request.path {
        "/" => |state, request| page::home(state, request, form::result(request.query)),
        CALLBACK_PATH => |_, request| page::callback(request),
        ICON_PATH => |_, _| Response::new(200, "image/svg+xml", include_str!("page/icon.svg")),
        STYLE_PATH => |_, _| Response::new(200, "text/css; charset=utf-8", include_str!("page/style.css")),
        SCRIPT_PATH => {
            |_, _| Response::new(200, "text/javascript; charset=utf-8", include_str!("page/refresh.js"))
        }
        _ => return form::handle(state, request),
    };
    Some(match request.method {
        "GET" | "HEAD" => render(state, request),
        _ => page::form_error(405, "This page accepts only GET."),
    })
}

/// Whether a page of another site sends a control or a consent decision.
fn is_cross_site_write(request: &Request<'_>) -> bool {
    let is_read = matches!(request.method, "GET" | "HEAD" | "OPTIONS");
    let is_protected = request.path.starts_with("/_sandbox") || request.path == ConsentUrl::PATH;
    request.is_cross_site && !is_read && is_protected
}
