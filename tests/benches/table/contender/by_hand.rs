//! The same message with serde_json and format!, as an application would write it without wxsub: no checks, no token cache, no
//! retry rules.

use serde::{Deserialize, Serialize};
use wxsub_core::proto::{BaseUrl, Message, endpoint::subscribe};

use crate::subject;

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

#[derive(Deserialize)]
struct Answer {
    errcode: i64,
    errmsg: String,
}

/// The message, built anew every time.
#[derive(Clone)]
pub(super) struct ByHand {
    base: String,
    message: Message,
}

impl ByHand {
    pub(super) fn to(base: &BaseUrl) -> Self {
        Self { base: base.as_str().to_owned(), message: subject::message() }
    }

    pub(super) fn url(&self) -> String {
        format!("{}{}?access_token={}", self.base, subscribe::PATH, subject::TOKEN)
    }

    pub(super) fn body(&self) -> Vec<u8> {
        let grant = self.message.grant();
        let body = Body {
            touser: grant.openid().as_str(),
            template_id: grant.template_id().as_str(),
            scene: &grant.scene().get().to_string(),
            title: self.message.title().as_str(),
            data: Data { content: Content { value: self.message.content().as_str() } },
        };
        serde_json::to_vec(&body).unwrap()
    }

    pub(super) fn read(answer: &[u8]) {
        let answer: Answer = serde_json::from_slice(answer).unwrap();
        assert_eq!(answer.errcode, 0, "{}", answer.errmsg);
    }
}
