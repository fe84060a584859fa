//! One subscribe request, from validated types to what a transport takes: how long, and how many allocations.

#![allow(missing_docs, clippy::unwrap_used, reason = "benchmarks may panic")]

use divan::{AllocProfiler, Bencher, black_box};
use wxsub_core::proto::endpoint::subscribe;
use wxsub_core::proto::{AccessToken, BaseUrl, Grant, Message};
use wxsub_core::transport::HttpRequest;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench]
fn subscribe_request(bencher: Bencher<'_, '_>) {
    let base = BaseUrl::default();
    // As long as Weixin's are today.
    let token = AccessToken::new("81_".to_owned() + &"aZ09_-".repeat(25)).unwrap();
    let grant = Grant::assume_verified(
        "oABCDEFGHIJKLMNOPQRSTUVWXYZ0",
        "abcdefghijklmnopqrstuvwxyz_0123456789-ABCDE",
        1000,
    )
    .unwrap();
    let message = Message::builder(grant)
        .title("快递到了")
        .content("您的包裹已到达。\n请于今日内领取，取件码 1234。")
        .build()
        .unwrap();
    bencher.bench(|| {
        let request = subscribe::request(black_box(&token), black_box(&message));
        HttpRequest::new(&base, request).unwrap().into_http()
    });
}
