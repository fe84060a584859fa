//! Honest requests: token reads of both APIs, and messages, each on a new connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::attack::{MESSAGE, post};
use super::served::Served;

/// Pause between two requests of a caller.
const PAUSE: Duration = Duration::from_millis(5);

/// A request that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The measured requests.
pub(crate) struct Honest {
    pub(crate) reads: Measured,
    pub(crate) sends: Measured,
}

/// Requests of one kind.
#[derive(Default)]
pub(crate) struct Measured {
    /// Sorted.
    durations: Vec<Duration>,
    /// Requests without the expected response.
    pub(crate) failed: usize,
}

impl Honest {
    /// Three callers send requests until `end` completes. Returns them, and what `end` returned.
    pub(crate) async fn measure<T>(served: &Served, end: impl Future<Output = T>) -> (Self, T) {
        let is_over = AtomicBool::new(false);
        let key = &served.keys[0];
        let read = format!(
            "GET /v1/apps/wx1/access_token HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
        );
        let body = format!("{{\"grant_type\":\"client_credential\",\"appid\":\"wx1\",\"secret\":\"{key}\"}}");
        let stable = closing(&post("/cgi-bin/stable_token", "", body.len(), &body));
        let send = closing(&post("/v1/apps/wx1/messages", key, MESSAGE.len(), MESSAGE));
        let end = async {
            let output = end.await;
            is_over.store(true, Ordering::Relaxed);
            output
        };
        let token = ["HTTP/1.1 200", "\"access_token\""];
        let (mut reads, more, sends, output) = tokio::join!(
            caller(served, &read, token, &is_over),
            caller(served, &stable, token, &is_over),
            // There is no consent.
            caller(served, &send, ["HTTP/1.1 422", "43101"], &is_over),
            end
        );
        reads.durations.extend(more.durations);
        reads.durations.sort();
        reads.failed += more.failed;
        (Self { reads, sends }, output)
    }
}

impl Measured {
    /// In milliseconds.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        self.durations[(self.durations.len() * percent / 100).min(self.durations.len() - 1)].as_secs_f64()
            * 1000.0
    }
}

fn closing(request: &str) -> String {
    request.replacen("Host: h\r\n", "Host: h\r\nConnection: close\r\n", 1)
}

/// Sends the request again and again. A good response has both texts.
async fn caller(served: &Served, request: &str, expected: [&str; 2], is_over: &AtomicBool) -> Measured {
    let mut measured = Measured::default();
    while !is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let response = timeout(TIMEOUT, ask(served, request)).await.unwrap_or_default();
        measured.durations.push(begun.elapsed());
        measured.failed += usize::from(!response.starts_with(expected[0]) || !response.contains(expected[1]));
        sleep(PAUSE).await;
    }
    measured.durations.sort();
    measured
}

/// The response. Empty if the connection broke.
pub(crate) async fn ask(served: &Served, request: &str) -> String {
    let Ok(stream) = TcpStream::connect(served.address).await else { return String::new() };
    let Some(tls) = &served.tls else { return exchange(stream, request).await };
    let name = ServerName::from(served.address.ip());
    match tls.connect(name, stream).await {
        Ok(stream) => exchange(stream, request).await,
        Err(_) => String::new(),
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    let mut text = String::new();
    if stream.write_all(request.as_bytes()).await.is_ok() {
        let _ = stream.read_to_string(&mut text).await;
    }
    text
}
