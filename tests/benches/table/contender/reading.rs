//! Reads the current token while it is valid, and the two clock reads that this needs.

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Instant, SystemTime};

use tokio::runtime::Builder;
use wxsub_core::testing::{MockResponse, MockTransport};
use wxsub_core::token::{TokenCache, TokenSource};

use crate::measured::Measured;
use crate::{proc_fs, subject};

pub(super) fn clocks(threads: usize, reads: usize) -> Measured {
    on_threads(threads, reads, || {
        black_box((Instant::now(), SystemTime::now()));
    })
}

pub(super) fn current_token(threads: usize, reads: usize) -> Measured {
    let weixin = MockTransport::new();
    weixin.respond_always("/cgi-bin/token", MockResponse::json(r#"{"access_token":"T","expires_in":7200}"#));
    let cache = TokenCache::builder(subject::app(), subject::secret(), Arc::new(weixin)).build();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(cache.token()).unwrap();
    on_threads(threads, reads, || {
        black_box(black_box(&cache).current().get().is_some());
    })
}

/// Every thread counts its own CPU time, so that waiting for a CPU does not count.
fn on_threads(threads: usize, reads: usize, read: impl Fn() + Sync) -> Measured {
    let start = Barrier::new(threads);
    let one = || {
        (0..reads / 10).for_each(|_| read());
        start.wait();
        let before = proc_fs::cpu_of_this_thread();
        (0..reads).for_each(|_| read());
        (proc_fs::cpu_of_this_thread() - before).as_nanos() as f64 / reads as f64
    };
    let each: Vec<f64> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    Measured { cpu: each.iter().sum::<f64>() / threads as f64, ..Measured::default() }
}
