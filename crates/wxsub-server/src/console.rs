//! The console: its listener's routes, the sessions of operators, and the pages of `wxsub-console`.

mod audit;
mod context;
mod decisions;
mod grants;
mod ledger;
mod login;
mod login_limiter;
mod outbox;
mod overview;
mod request;
mod session;
mod webhooks;
mod workers;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_service::Service;
use wxsub_core::clock::timeout_at;
use wxsub_proto::LocalizedText;

pub(crate) use self::context::Console;
use self::request::{Session, Visit};

/// Maximum size of a form, in bytes.
const MAX_FORM_BYTES: usize = 16 * 1024;

/// Nothing but the console's own style sheet, icon and forms. Text that became markup could not do anything.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The routes of the console.
pub(crate) fn router(console: &Arc<Console>) -> Router {
    let pages = Router::new()
        .route("/", get(overview::show))
        .route("/outbox", get(outbox::list))
        .route("/outbox/find", get(outbox::find))
        .route("/outbox/{id}", get(outbox::show))
        .route("/outbox/{id}/reveal", post(outbox::reveal))
        .route("/outbox/{id}/cancel", post(outbox::cancel))
        .route("/decisions", get(decisions::list))
        .route("/decisions/{id}", post(decisions::decide))
        .route("/grants", get(grants::list))
        .route("/grants/{id}/void", post(grants::void))
        .route("/webhooks", get(webhooks::list))
        .route("/webhooks/redeliver", post(webhooks::redeliver))
        .route("/workers", get(workers::list))
        .route("/workers/pause", post(workers::pause))
        .route("/workers/resume", post(workers::resume))
        .route("/audit", get(audit::list))
        .route("/login", get(login::show).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/language", post(login::set_language))
        .route("/style.css", get(style))
        .route("/icon.svg", get(icon))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .with_state(Arc::clone(console));
    Router::new().fallback(enter).with_state(Entrance { console: Arc::clone(console), pages })
}

#[derive(Debug, Clone)]
struct Entrance {
    console: Arc<Console>,
    pages: Router,
}

/// What surrounds every page: the path of the public URL, the deadline, and the headers.
async fn enter(State(mut entrance): State<Entrance>, mut request: Request) -> Response {
    let state = &entrance.console.state;
    if let Some(uri) = without_base(request.uri(), &entrance.console.address.base_path) {
        *request.uri_mut() = uri;
    }
    let deadline = state.clock().now().mono + state.snapshot().limits.request;
    let response = match timeout_at(&**state.clock(), deadline, entrance.pages.call(request)).await {
        Some(Ok(response)) => response,
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    };
    with_headers(response)
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

fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(CONTENT_SECURITY_POLICY, POLICY);
    set(CACHE_CONTROL, "no-store");
    set(REFERRER_POLICY, "no-referrer");
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(X_FRAME_OPTIONS, "DENY");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
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
    session.visit.notice(StatusCode::NOT_FOUND, text)
}

async fn wrong_method(visit: Visit) -> Response {
    let text =
        LocalizedText::new("Open the page again, and use its forms", "请重新打开页面，用页面上的表单操作");
    visit.notice(StatusCode::METHOD_NOT_ALLOWED, text)
}
