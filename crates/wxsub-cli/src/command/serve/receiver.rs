//! The receiver of webhooks of `wxsub serve --sandbox`: verifies each one, and prints it.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::webhook::{WebhookHeaders, WebhookSecret};

use crate::console;
use crate::language::{localized, shown};

/// Maximum length of a body, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Prints webhooks for ever.
pub(super) async fn print_webhooks(listener: TcpListener, secret: WebhookSecret) {
    let secret = Arc::new(secret);
    while let Ok((stream, _)) = listener.accept().await {
        let secret = Arc::clone(&secret);
        tokio::spawn(async move {
            let service = service_fn(|request| async {
                let mut response = Response::new(Empty::<Bytes>::new());
                *response.status_mut() = receive(request, &secret).await;
                Ok::<_, Infallible>(response)
            });
            // The sender retries after a broken connection.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn receive(request: Request<Incoming>, secret: &WebhookSecret) -> StatusCode {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await else {
        return StatusCode::BAD_REQUEST;
    };
    let body = body.to_bytes();
    let headers = WebhookHeaders {
        id: text(&head.headers, "webhook-id"),
        timestamp: text(&head.headers, "webhook-timestamp"),
        signature: text(&head.headers, "webhook-signature"),
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
