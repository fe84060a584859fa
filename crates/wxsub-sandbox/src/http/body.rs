//! Reads the body of a request.

use std::future::poll_fn;
use std::pin::Pin;

use axum::body::{Body, HttpBody};

/// Reads the body and keeps at most `max` + 1 bytes. The rest is read and dropped, so that the client gets its response.
pub(super) async fn read_limited(mut body: Body, max: usize) -> Result<Vec<u8>, axum::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            let remaining = (max + 1).saturating_sub(bytes.len());
            bytes.extend(data.iter().take(remaining));
        }
    }
    Ok(bytes)
}
