//! One message: its JSON, its request and the response. Time and allocations.

#![allow(missing_docs, clippy::unwrap_used, reason = "benchmarks may panic")]

use divan::{AllocProfiler, Bencher, black_box};
use wxsub_proto::endpoint::subscribe;
use wxsub_proto::message::MessageDraft;
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

/// What the control server does with a body.
#[divan::bench]
fn parse_draft(bencher: Bencher<'_, '_>) {
    let json = message().to_json();
    bencher.bench(|| MessageDraft::from_json(black_box(&json)).unwrap().validate().unwrap());
}

/// With a web page and a mini program, escapes, and the scene as a number.
#[divan::bench]
fn parse_full_draft(bencher: Bencher<'_, '_>) {
    let json = br##"{"touser":"oABCDEFGHIJKLMNOPQRSTUVWXYZ0","template_id":"abcdefghijklmnopqrstuvwxyz_0123456789-ABCDE",
        "url":"https://shop.example/parcel/1","miniprogram":{"appid":"wx0123456789abcdef","pagepath":"pages/parcel?id=1"},
        "scene":1000,"title":"\u5feb\u9012\u5230\u4e86","data":{"content":{"value":"It is here.\nCome and get it.","color":"#FF0000"}}}"##;
    bencher.bench(|| MessageDraft::from_json(black_box(json)).unwrap().validate().unwrap());
}
