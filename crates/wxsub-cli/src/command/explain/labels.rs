//! Labels of the output, in each language.

use wxsub_proto::Operation;
use wxsub_proto::errcode::Language;

/// The labels in one language.
pub(super) struct Labels {
    token_call: &'static str,
    send: &'static str,
    pub(super) to_do: &'static str,
    pub(super) address: &'static str,
    pub(super) trace_id: &'static str,
    pub(super) more: &'static str,
    pub(super) unknown: &'static str,
}

const ENGLISH: Labels = Labels {
    token_call: "on a token call: ",
    send: "on a send: ",
    to_do: "what to do: ",
    address: "IP address: ",
    trace_id: "trace id for Weixin's support: ",
    more: "documentation: ",
    unknown: "unknown",
};

const CHINESE: Labels = Labels {
    token_call: "获取 access_token 时：",
    send: "发送消息时：",
    to_do: "处理建议：",
    address: "IP 地址：",
    trace_id: "rid（联系微信客服时提供）：",
    more: "官方文档：",
    unknown: "未收录",
};

impl Labels {
    /// The labels in this language. Other languages get English.
    pub(super) fn of(language: Language) -> &'static Self {
        match language {
            Language::Chinese => &CHINESE,
            _ => &ENGLISH,
        }
    }

    /// The label of an operation.
    pub(super) fn operation(&self, operation: Operation) -> &'static str {
        match operation {
            Operation::FetchToken => self.token_call,
            Operation::Send => self.send,
        }
    }
}
