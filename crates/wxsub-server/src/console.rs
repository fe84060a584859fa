//! The console: its listener's routes, the sessions of operators, and the pages of `wxsub-console`.

mod audit;
mod context;
mod decisions;
mod grants;
mod known_browser;
mod ledger;
mod login;
mod login_limiter;
mod outbox;
mod overview;
mod passwords;
mod request;
mod session;
mod webhooks;
mod workers;

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::uri::{Authority, PathAndQuery};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tower_service::Service;
use wxsub_core::clock::timeout_at;
use wxsub_outbox::state::AuditAction;
use wxsub_proto::LocalizedText;

pub(crate) use self::context::Console;
use self::request::{Session, Visit};
use crate::config::ConsoleAddress;

/// Maximum size of a form, in bytes.
const MAX_FORM_BYTES: usize = 16 * 1024;

/// Maximum size of the headers, and of the URL, in bytes. The connection closes beyond 32 KiB, without a page.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Maximum number of forms that are not complete yet. They leave most connections to others.
const MAX_FORMS: usize = 16;

/// Nothing but the console's own style sheet, icon and forms. Text that became markup could not do anything.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The routes of the console.
pub(crate) fn router(console: &Arc<Console>) -> Router {
    // The action of a form, for the audit.
    let act = |action, form: MethodRouter<Arc<Console>>| form.layer(Extension(action));
    let pages = Router::new()
        .route("/", get(overview::show))
        .route("/outbox", get(outbox::list))
        .route("/outbox/find", get(outbox::find))
        .route("/outbox/{id}", get(outbox::show))
        .route("/outbox/{id}/reveal", act(AuditAction::Reveal, post(outbox::reveal)))
        .route("/outbox/{id}/cancel", act(AuditAction::Cancel, post(outbox::cancel)))
        .route("/decisions", get(decisions::list))
        .route("/decisions/{id}", act(AuditAction::Decide, post(decisions::decide)))
        .route("/grants", get(grants::list))
        .route("/grants/{id}/void", act(AuditAction::VoidGrant, post(grants::void)))
        .route("/webhooks", get(webhooks::list))
        .route("/webhooks/redeliver", act(AuditAction::Redeliver, post(webhooks::redeliver)))
        .route("/workers", get(workers::list))
        .route("/workers/pause", act(AuditAction::Pause, post(workers::pause)))
        .route("/workers/resume", act(AuditAction::Resume, post(workers::resume)))
        .route("/audit", get(audit::list))
        .route("/login", get(login::show).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/language", post(login::set_language))
        .route("/style.css", get(style))
        .route("/icon.svg", get(icon))
        .fallback(not_found)
        .with_state(Arc::clone(console));
    Router::new().fallback(enter).with_state(Entrance { console: Arc::clone(console), pages })
}

#[derive(Clone)]
struct Entrance {
    console: Arc<Console>,
    pages: Router,
}

/// What surrounds every page: the path of the public URL, the limits, the headers, and the page of an error.
async fn enter(State(Entrance { console, pages }): State<Entrance>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    if let Some(uri) = without_base(&parts.uri, &console.address.base_path) {
        parts.uri = uri;
    }
    let visit = Visit::of(&parts, &console);
    let response = match respond(&console, pages, parts, body).await {
        Ok(response) => response,
        Err(status) => status.into_response(),
    };
    with_headers(with_page(&visit, response), &console.address)
}

/// The response of a page.
///
/// # Errors
/// The status of a request beyond the limits.
async fn respond(
    console: &Console,
    mut pages: Router,
    parts: Parts,
    body: Body,
) -> Result<Response, StatusCode> {
    if !console.address.is_https && !is_this_machine(&parts.headers) {
        return Err(StatusCode::MISDIRECTED_REQUEST);
    }
    let head = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    if head.sum::<usize>() > MAX_HEAD_BYTES || parts.uri.to_string().len() > MAX_HEAD_BYTES {
        return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    let body = read_form(console, body).await?;
    let state = &console.state;
    let deadline = state.clock().now().mono + state.snapshot().limits.request;
    let response = pages.call(Request::from_parts(parts, Body::from(body)));
    match timeout_at(&**state.clock(), deadline, response).await {
        Some(Ok(response)) => Ok(response),
        None => Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// Whether the request names this machine. Otherwise a page of another site may have changed the address of its own name to that of
/// this machine, to read the console from there.
fn is_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    Authority::try_from(host.as_bytes()).is_ok_and(|authority| {
        let host = authority.host().to_ascii_lowercase();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || host.ends_with(".localhost") || address.is_ok()
    })
}

/// The form, which has to be there within the limits of size and time. If there are too many that are not complete yet, the oldest
/// one ends.
async fn read_form(console: &Console, body: Body) -> Result<Bytes, StatusCode> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let (mut incoming, _) = console.forms.begin_body(MAX_FORMS);
    let clock = console.state.clock();
    let deadline = clock.now().mono + console.state.snapshot().limits.header;
    let received = tokio::select! {
        biased;
        received = timeout_at(&**clock, deadline, Limited::new(body, MAX_FORM_BYTES).collect()) => received,
        () = incoming.displaced() => None,
    };
    match received {
        Some(Ok(form)) => Ok(form.to_bytes()),
        Some(Err(error)) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Some(Err(_)) | None => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// Gives an error without a page its page.
fn with_page(visit: &Visit, response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_page =
        response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if !is_error || is_page {
        return response;
    }
    let text = match status {
        StatusCode::NOT_FOUND => LocalizedText::new(
            "The console has no such page. Begin at the overview.",
            "控制台没有这个页面。请从概览页开始。",
        ),
        StatusCode::METHOD_NOT_ALLOWED => LocalizedText::new(
            "Open the page again, and use its forms.",
            "请重新打开页面，用页面上的表单操作。",
        ),
        StatusCode::REQUEST_TIMEOUT => LocalizedText::new(
            "The form did not arrive completely in time. Send it again.",
            "表单没有及时完整到达。请重新提交。",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => {
            LocalizedText::new("The form is too long. Shorten its texts.", "表单过长。请缩短内容。")
        }
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => LocalizedText::new(
            "The address or the cookies are too long. Delete the cookies of this host, and begin at the overview.",
            "地址或 cookie 过长。请删除本主机的 cookie，再从概览页开始。",
        ),
        StatusCode::MISDIRECTED_REQUEST => LocalizedText::new(
            "The console is not reached by this name. Open it as localhost or by its IP address, or set public_url to https and this name.",
            "不能用这个主机名访问控制台。请用 localhost 或 IP 地址打开，或把 public_url 设为 https 加这个主机名。",
        ),
        StatusCode::SERVICE_UNAVAILABLE => LocalizedText::new(
            "The page took too long. Try again, and look at the server's log.",
            "页面处理超时。请重试，并查看服务器日志。",
        ),
        _ => LocalizedText::new(
            "The address or the form is incomplete or wrong. Open the page again.",
            "地址或表单不完整或有误。请重新打开页面。",
        ),
    };
    let mut page = visit.notice(status, text);
    page.headers_mut().extend(response.headers().get(ALLOW).map(|allowed| (ALLOW, allowed.clone())));
    page
}

/// The URI without the path of the public URL. A proxy may have removed that path already.
fn without_base(uri: &Uri, base: &str) -> Option<Uri> {
    let rest = uri.path_and_query()?.as_str().strip_prefix(base).filter(|_| !base.is_empty())?;
    let path = match rest.as_bytes().first() {
        Some(b'/') => rest.to_owned(),
        None | Some(b'?') => format!("/{rest}"),
        Some(_) => return None,
    };
    Some(Uri::from(path.parse::<PathAndQuery>().ok()?))
}

fn with_headers(mut response: Response, address: &ConsoleAddress) -> Response {
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(CONTENT_SECURITY_POLICY, POLICY);
    set(CACHE_CONTROL, "no-store");
    // Not `no-referrer`: with it, browsers send no `Origin` that could be checked.
    set(REFERRER_POLICY, "same-origin");
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(X_FRAME_OPTIONS, "DENY");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    if address.is_https {
        set(STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    response
}

async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], wxsub_console::STYLE).into_response()
}

async fn icon() -> Response {
    ([(CONTENT_TYPE, "image/svg+xml")], wxsub_console::ICON).into_response()
}

async fn not_found(session: Session) -> Response {
    let text = LocalizedText::new("The console has no such page", "控制台没有这个页面");
    session.notice(StatusCode::NOT_FOUND, text)
}
