//! HTTP by hand, so that a process can be killed in the middle of a request.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wxsub_core::proto::codec::RawResponse;
use wxsub_core::transport::{HttpRequest, Transport, TransportError, TransportErrorKind};
use wxsub_tests::SEND;

use super::plan::{KillSwitch, Point};

pub(super) struct TcpTransport {
    pub(super) address: String,
    pub(super) kill_switch: Arc<KillSwitch>,
}

#[async_trait]
impl Transport for TcpTransport {
    async fn execute(&self, request: HttpRequest) -> Result<RawResponse<Bytes>, TransportError> {
        let is_send = request.path() == SEND;
        let pass = |point| {
            if is_send {
                self.kill_switch.pass(point);
            }
        };
        let request = request.into_http();
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let head = format!(
            "{} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{}content-length: {}\r\n\r\n",
            request.method(),
            headers(&request),
            request.body().len()
        );
        pass(Point::BeforeConnect);
        let refused = |error: std::io::Error| {
            TransportError::before_sending(TransportErrorKind::Connect, error.to_string())
        };
        let mut stream = TcpStream::connect(&self.address).await.map_err(refused)?;
        pass(Point::AfterConnect);
        let broken =
            |error: std::io::Error| TransportError::maybe_sent(TransportErrorKind::Broken, error.to_string());
        let (first, second) = request.body().split_at(request.body().len() / 2);
        stream.write_all(head.as_bytes()).await.map_err(broken)?;
        stream.write_all(first).await.map_err(broken)?;
        pass(Point::MidBody);
        stream.write_all(second).await.map_err(broken)?;
        pass(Point::AfterRequest);
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.map_err(broken)?;
        pass(Point::AfterResponse);
        let text = String::from_utf8_lossy(&response);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let unreadable = || TransportError::maybe_sent(TransportErrorKind::Broken, "no status");
        Ok(RawResponse::new(status.ok_or_else(unreadable)?, Bytes::from(body.to_owned())))
    }
}

/// The headers of a request, as they are written.
fn headers(request: &Request<Bytes>) -> String {
    request.headers().iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap())).collect()
}
