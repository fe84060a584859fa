//! One subscribe request, from validated types to bytes, and its response: time and allocations.

#![allow(missing_docs, clippy::unwrap_used, reason = "benchmarks may panic")]

use divan::{AllocProfiler, Bencher, black_box};
use wxsub_proto::endpoint::subscribe;
use wxsub_proto::{AccessToken, BaseUrl, Grant, Message};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn message() -> Message {
    let openid = "oABCDEFGHIJKLMNOPQRSTUVWXYZ0";
    let template_id = "abcdefghijklmnopqrstuvwxyz_0123456789-ABCDE";
    Message::builder(Grant::assume_verified(openid, template_id, 1000).unwrap())
        .title("快递到了")
        .content("您的包裹已到达。\n请于今日内领取，取件码 1234。")
        .color("#FF0000")
        .build()
        .unwrap()
}

/// As long as Weixin's are today.
fn token() -> AccessToken {
    AccessToken::new("81_".to_owned() + &"aZ09_-".repeat(25)).unwrap()
}

#[divan::bench]
fn url_and_body(bencher: Bencher<'_, '_>) {
    let (base, token, message) = (BaseUrl::default(), token(), message());
    bencher.bench(|| {
        let request = subscribe::request(black_box(&token), black_box(&message));
        (request.url(&base), request.into_body())
    });
}

#[divan::bench]
fn body(bencher: Bencher<'_, '_>) {
    let message = message();
    bencher.bench(|| black_box(&message).to_json());
}

#[divan::bench]
fn response(bencher: Bencher<'_, '_>) {
    bencher.bench(|| subscribe::parse_response(200, black_box(br#"{"errcode":0,"errmsg":"ok"}"#)));
}
