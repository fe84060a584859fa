//! One subscribe request, from validated types to what a transport takes.

use std::hint::black_box;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request};
use serde::Serialize;
use wxsub_core::proto::endpoint::subscribe;
use wxsub_core::proto::{AccessToken, BaseUrl};
use wxsub_core::transport::Outgoing;

use crate::measured::Measured;
use crate::{proc_fs, subject};

pub(super) fn ours(requests: usize) -> Measured {
    let (base, token, message) =
        (BaseUrl::default(), AccessToken::new(subject::TOKEN).unwrap(), subject::message());
    each(requests, || {
        let request = subscribe::encode(black_box(&token), black_box(&message));
        Outgoing::new(&base, request).unwrap().into_http()
    })
}

#[derive(Serialize)]
struct Body<'a> {
    touser: &'a str,
    template_id: &'a str,
    scene: &'a str,
    title: &'a str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    content: Content<'a>,
}

#[derive(Serialize)]
struct Content<'a> {
    value: &'a str,
}

/// The same with serde_json and http alone, as one would write it by hand.
pub(super) fn bare(requests: usize) -> Measured {
    let message = subject::message();
    let grant = message.grant();
    let body = Body {
        touser: grant.openid().as_str(),
        template_id: grant.template_id().as_str(),
        scene: "1000",
        title: message.title().as_str(),
        data: Data { content: Content { value: message.content().as_str() } },
    };
    each(requests, || {
        let body = serde_json::to_vec(black_box(&body)).unwrap();
        let token = black_box(subject::TOKEN);
        let uri = format!("{}{}?access_token={token}", BaseUrl::API, subscribe::PATH);
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.try_into().unwrap();
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
