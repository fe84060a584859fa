//! The receiver of webhooks of `wxsub serve --sandbox`: verifies each one, and prints it.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::webhook::{WebhookHeaders, WebhookSecret};

use crate::console;
use crate::language::{localized, shown};

/// Maximum length of a body, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Prints webhooks for ever. After an error that does not concern one connection only, axum waits before it accepts again.
pub(super) async fn print_webhooks(listener: TcpListener, secret: WebhookSecret) {
    let limit = DefaultBodyLimit::max(MAX_BODY_BYTES);
    let router = Router::new().fallback(receive).layer(limit).with_state(Arc::new(secret));
    // It never ends.
    let _ = axum::serve(listener, router).await;
}

async fn receive(State(secret): State<Arc<WebhookSecret>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let headers = WebhookHeaders {
        id: text(&headers, "webhook-id"),
        timestamp: text(&headers, "webhook-timestamp"),
        signature: text(&headers, "webhook-signature"),
    };
    match secret.verify(headers, &body, SystemClock::new().now().wall) {
        Ok(()) => {
            console::note(format_args!("webhook: {}", String::from_utf8_lossy(&body)));
            StatusCode::NO_CONTENT
        }
        Err(error) => {
            let cause = shown(&error.localized());
            console::warning(localized!("webhook rejected: {cause}", "webhook 被拒绝：{cause}"));
            StatusCode::BAD_REQUEST
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
