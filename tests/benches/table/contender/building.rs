//! Builds one subscribe request, from validated types to the input of a transport.

use std::hint::black_box;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request};
use wxsub_core::proto::endpoint::subscribe;
use wxsub_core::proto::{AccessToken, BaseUrl};
use wxsub_core::transport::HttpRequest;

use super::by_hand::ByHand;
use crate::measured::Measured;
use crate::{proc_fs, subject};

pub(super) fn ours(requests: usize) -> Measured {
    let (base, token, message) =
        (BaseUrl::default(), AccessToken::new(subject::TOKEN).unwrap(), subject::message());
    each(requests, || {
        let request = subscribe::request(black_box(&token), black_box(&message));
        HttpRequest::new(&base, request).unwrap().into_http()
    })
}

pub(super) fn bare(requests: usize) -> Measured {
    let by_hand = ByHand::to(&BaseUrl::default());
    each(requests, || {
        let by_hand = black_box(&by_hand);
        let mut request = Request::new(Bytes::from(by_hand.body()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = by_hand.url().try_into().unwrap();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("wxsub/0.1.0"));
        request
    })
}

fn each<T>(times: usize, work: impl Fn() -> T) -> Measured {
    (0..times / 10).for_each(|_| drop(black_box(work())));
    let before = proc_fs::cpu_of_this_thread();
    (0..times).for_each(|_| drop(black_box(work())));
    let took = proc_fs::cpu_of_this_thread() - before;
    Measured { cpu: took.as_nanos() as f64 / times as f64, ..Measured::default() }
}
