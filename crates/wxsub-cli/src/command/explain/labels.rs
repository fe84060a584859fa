//! The words around what the table says.

use wxsub_proto::Operation;
use wxsub_proto::errcode::Language;

/// Headings and connecting words in one language.
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
    /// In this language; English where there is no better.
    pub(super) fn of(language: Language) -> &'static Self {
        match language {
            Language::Chinese => &CHINESE,
            _ => &ENGLISH,
        }
    }

    /// What kind of call it was.
    pub(super) fn on(&self, role: Operation) -> &'static str {
        match role {
            Operation::FetchToken => self.token_call,
            Operation::Send => self.send,
        }
    }
}
