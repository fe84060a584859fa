//! The contenders. Each does its work and reports a measurement.

mod bare;
mod sending;

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wxsub_benches::subject;
use wxsub_core::proto::endpoint::subscribe;
use wxsub_core::proto::{AccessToken, BaseUrl};
use wxsub_core::testing::{MockResponse, MockTransport};
use wxsub_core::token::{TokenCache, TokenSource};
use wxsub_core::transport::{HttpRequest, Transport};
use wxsub_hyper::{HyperTransport, Roots};
use wxsub_test_support::proc_fs;

use self::bare::ByHand;
use crate::process::Measured;

/// Runs the contender of this name.
pub(crate) fn run(name: &str, server: &str, in_flight: usize, amount: usize) {
    let measured = match name {
        "clocks" => clocks(in_flight, amount),
        "current-token" => current_token(in_flight, amount),
        "request" => request(amount),
        "bare-request" => bare_request(amount),
        "token-cache" => token_cache(server, amount),
        "watch" => watch_channel(amount),
        "library" => sending::send_all(server, in_flight, amount),
        _ => sending::run(name, server, in_flight, amount),
    };
    println!("{}", serde_json::to_string(&measured).unwrap());
}

fn clocks(threads: usize, reads: usize) -> Measured {
    on_threads(threads, reads, || {
        black_box((Instant::now(), SystemTime::now()));
    })
}

fn current_token(threads: usize, reads: usize) -> Measured {
    let weixin = MockTransport::new();
    weixin.respond_always("/cgi-bin/token", MockResponse::json(r#"{"access_token":"T","expires_in":7200}"#));
    let cache = TokenCache::builder(subject::app(), subject::secret(), weixin).build().unwrap();
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

fn token_cache(server: &str, tasks: usize) -> Measured {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let wire = Arc::new(HyperTransport::builder().roots(Roots::Bundled).build().unwrap());
    let transport = move |request: HttpRequest| {
        counted.fetch_add(1, Ordering::Relaxed);
        let wire = Arc::clone(&wire);
        async move { wire.execute(request).await }
    };
    let cache = TokenCache::builder(subject::app(), subject::secret(), transport)
        .api_base(format!("http://{server}").parse().unwrap())
        .build()
        .unwrap();
    let measured = on_tasks(tasks, || {
        let cache = cache.clone();
        async move { assert_eq!(cache.token().await.unwrap().token().expose_secret(), subject::TOKEN) }
    });
    Measured { count: requests.load(Ordering::Relaxed) as f64, ..measured }
}

fn watch_channel(tasks: usize) -> Measured {
    let (sender, receiver) = watch::channel(None);
    let first = AtomicUsize::new(0);
    let sender = Arc::new(sender);
    on_tasks(tasks, || {
        let mut receiver = receiver.clone();
        let sender = (first.fetch_add(1, Ordering::Relaxed) == tasks - 1).then(|| Arc::clone(&sender));
        async move {
            if let Some(sender) = sender {
                sender.send_replace(Some(Arc::new(subject::TOKEN)));
            }
            receiver.wait_for(Option::is_some).await.unwrap();
        }
    })
}

fn on_tasks<F: Future<Output = ()> + Send + 'static>(tasks: usize, task: impl Fn() -> F) -> Measured {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let before = proc_fs::cpu("self");
    runtime.block_on(async {
        let asking: JoinSet<()> = (0..tasks).map(|_| task()).collect();
        asking.join_all().await;
    });
    Measured {
        cpu: (proc_fs::cpu("self") - before).as_nanos() as f64 / tasks as f64,
        peak: proc_fs::peak("self").unwrap() as f64,
        ..Measured::default()
    }
}

fn request(requests: usize) -> Measured {
    let (base, token, message) =
        (BaseUrl::default(), AccessToken::new(subject::TOKEN).unwrap(), subject::message());
    measure_each(requests, || {
        let request = subscribe::request(black_box(&token), black_box(&message));
        HttpRequest::new(&base, request).unwrap().into_http()
    })
}

fn bare_request(requests: usize) -> Measured {
    let by_hand = ByHand::to(&BaseUrl::default());
    measure_each(requests, || {
        let by_hand = black_box(&by_hand);
        let mut request = Request::new(Bytes::from(by_hand.body()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = by_hand.url().try_into().unwrap();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("wxsub/0.1.0"));
        request
    })
}

fn measure_each<T>(times: usize, work: impl Fn() -> T) -> Measured {
    (0..times / 10).for_each(|_| drop(black_box(work())));
    let before = proc_fs::cpu_of_this_thread();
    (0..times).for_each(|_| drop(black_box(work())));
    let took = proc_fs::cpu_of_this_thread() - before;
    Measured { cpu: took.as_nanos() as f64 / times as f64, ..Measured::default() }
}
