//! The table of error codes, one row per code.
//!
//! Each file has the rows of one number range, in ascending order. Each meaning is in English and in Chinese.

mod call;
mod docs;
mod limit;
mod parameter;
mod permission;
mod platform;
mod system;

use super::{ErrCode, LocalizedText, Operation, Remedy};

/// The meaning of a code on one kind of call, and its remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrCodeMeaning {
    meaning: LocalizedText,
    remedy: Remedy,
}

impl ErrCodeMeaning {
    /// The meaning.
    pub const fn meaning(self) -> LocalizedText {
        self.meaning
    }

    /// The remedy.
    pub const fn remedy(self) -> Remedy {
        self.remedy
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrCodeInfo {
    code: ErrCode,
    name: &'static str,
    docs_url: &'static str,
    on_token_call: ErrCodeMeaning,
    on_send: ErrCodeMeaning,
}

impl ErrCodeInfo {
    /// The number.
    pub const fn code(&self) -> ErrCode {
        self.code
    }

    /// A short, stable, `snake_case` name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The official page about the code.
    pub const fn docs_url(&self) -> &'static str {
        self.docs_url
    }

    /// Meaning and remedy on this call.
    pub const fn advice(&self, operation: Operation) -> ErrCodeMeaning {
        match operation {
            Operation::FetchToken => self.on_token_call,
            Operation::Send => self.on_send,
        }
    }
}

/// For a code outside the table.
pub(super) const UNKNOWN: ErrCodeMeaning = on(
    Remedy::Investigate,
    "unknown to wxsub; look the number up in Weixin's documentation and keep the trace id",
    "wxsub 未收录该错误码；请查阅微信官方文档，并保留 rid",
);

const NOT_ON_TOKEN_CALL: ErrCodeMeaning = on(
    Remedy::Investigate,
    "not documented for a token call",
    "官方文档中，获取 access_token 的接口没有列出该错误码",
);

const PARTS: [&[ErrCodeInfo]; 6] =
    [&system::ROWS, &parameter::ROWS, &call::ROWS, &limit::ROWS, &permission::ROWS, &platform::ROWS];

pub(super) fn all() -> impl Iterator<Item = &'static ErrCodeInfo> {
    PARTS.into_iter().flatten()
}

pub(super) fn find(code: ErrCode) -> Option<&'static ErrCodeInfo> {
    // The parts follow each other, so the first one that does not end below the code is the only candidate.
    let part = PARTS.into_iter().find(|part| part.last().is_some_and(|last| code <= last.code))?;
    part.binary_search_by_key(&code, |entry| entry.code).ok().and_then(|at| part.get(at))
}

/// A code with different meanings on a token call and on a send.
const fn row(
    code: i64,
    name: &'static str,
    docs_url: &'static str,
    on_token_call: ErrCodeMeaning,
    on_send: ErrCodeMeaning,
) -> ErrCodeInfo {
    ErrCodeInfo { code: ErrCode::new(code), name, docs_url, on_token_call, on_send }
}

/// A code with the same meaning on both calls.
const fn both(
    code: i64,
    name: &'static str,
    docs_url: &'static str,
    remedy: Remedy,
    english: &'static str,
    chinese: &'static str,
) -> ErrCodeInfo {
    let advice = on(remedy, english, chinese);
    row(code, name, docs_url, advice, advice)
}

/// A code that does not occur on a token call.
const fn send(
    code: i64,
    name: &'static str,
    docs_url: &'static str,
    remedy: Remedy,
    english: &'static str,
    chinese: &'static str,
) -> ErrCodeInfo {
    row(code, name, docs_url, NOT_ON_TOKEN_CALL, on(remedy, english, chinese))
}

const fn on(remedy: Remedy, english: &'static str, chinese: &'static str) -> ErrCodeMeaning {
    ErrCodeMeaning { meaning: LocalizedText::new(english, chinese), remedy }
}
