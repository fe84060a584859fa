//! Reading the current token, beside the reads of the clock that it cannot do without; with one thread and with two.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "benchmarks may panic, and this one measures the clock"
)]

use std::sync::LazyLock;
use std::time::{Instant, SystemTime};

use divan::{AllocProfiler, Bencher, black_box};
use tokio::runtime::{Builder, Runtime};
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::testing::{MockResponse, MockTransport};
use wxsub_core::token::{TokenCache, TokenSource};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// The runtime of its task lives as long: a task that has ended would be started again at each read.
static CACHE: LazyLock<(TokenCache, Runtime)> = LazyLock::new(|| {
    let weixin = MockTransport::new();
    weixin.respond_always("/cgi-bin/token", MockResponse::json(r#"{"access_token":"T","expires_in":7200}"#));
    let cache = TokenCache::builder("wx1", "SECRET", weixin).build().unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(cache.token()).unwrap();
    (cache, runtime)
});

fn main() {
    divan::main();
}

#[divan::bench(threads = [1, 2], sample_size = 10_000)]
fn current_token(bencher: Bencher<'_, '_>) {
    let (cache, _) = &*CACHE;
    bencher.bench(|| black_box(cache).current().get().is_some());
}

#[divan::bench]
fn moment(bencher: Bencher<'_, '_>) {
    let clock = SystemClock::new();
    bencher.bench(|| black_box(&clock).now());
}

#[divan::bench(threads = [1, 2], sample_size = 10_000)]
fn both_clocks(bencher: Bencher<'_, '_>) {
    bencher.bench(|| (black_box(Instant::now()), black_box(SystemTime::now())));
}
