//! Honest requests: token reads of both APIs, each on a new connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::served::Served;

/// Pause between two requests of a caller.
const PAUSE: Duration = Duration::from_millis(5);

/// A request that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The measured requests.
pub(crate) struct Honest {
    /// Sorted.
    pub(crate) durations: Vec<Duration>,
    /// Requests without status 200, or without a token.
    pub(crate) failed: usize,
}

impl Honest {
    /// Two callers send requests until `end` completes.
    pub(crate) async fn measure(served: &Served, end: impl Future<Output = ()>) -> Self {
        let is_over = AtomicBool::new(false);
        let key = &served.keys[0];
        let read = format!(
            "GET /v1/apps/wx1/access_token HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
        );
        let body = format!("{{\"grant_type\":\"client_credential\",\"appid\":\"wx1\",\"secret\":\"{key}\"}}");
        let length = body.len();
        let stable = format!(
            "POST /cgi-bin/stable_token HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let end = async {
            end.await;
            is_over.store(true, Ordering::Relaxed);
        };
        let callers = (caller(served, &read, &is_over), caller(served, &stable, &is_over));
        let (mut one, two, ()) = tokio::join!(callers.0, callers.1, end);
        one.durations.extend(two.durations);
        one.durations.sort();
        Self { durations: one.durations, failed: one.failed + two.failed }
    }

    /// In milliseconds.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        self.durations[(self.durations.len() * percent / 100).min(self.durations.len() - 1)].as_secs_f64()
            * 1000.0
    }
}

async fn caller(served: &Served, request: &str, is_over: &AtomicBool) -> Honest {
    let (mut durations, mut failed) = (Vec::new(), 0);
    while !is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let response = timeout(TIMEOUT, ask(served, request)).await.unwrap_or_default();
        durations.push(begun.elapsed());
        failed +=
            usize::from(!response.starts_with("HTTP/1.1 200") || !response.contains("\"access_token\""));
        sleep(PAUSE).await;
    }
    Honest { durations, failed }
}

/// The response. Empty if the connection broke.
async fn ask(served: &Served, request: &str) -> String {
    let mut text = String::new();
    let Ok(mut stream) = TcpStream::connect(served.address).await else { return text };
    if stream.write_all(request.as_bytes()).await.is_ok() {
        let _ = stream.read_to_string(&mut text).await;
    }
    text
}
