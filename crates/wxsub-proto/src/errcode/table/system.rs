//! Zero and below.

use super::super::Remedy::{Investigate, RetryLater};
use super::{ErrCodeInfo, both, docs, on, row};

#[rustfmt::skip]
pub(super) const ROWS: [ErrCodeInfo; 3] = [
    both(-1000, "system_error", docs::TROUBLESHOOTING, RetryLater,
        "an internal error of Weixin, which does not document it",
        "微信内部错误；官方文档没有说明该错误码"),
    row(-1, "system_busy", docs::SEND,
        on(RetryLater, "Weixin is busy",
                       "微信系统繁忙"),
        on(RetryLater, "Weixin is busy; if this continues, check template and body",
                       "微信系统繁忙；如果持续出现，请检查模板和请求体")),
    both(0, "ok", docs::SEND, Investigate,
        "no error; wxsub never treats it as a refusal",
        "请求成功，不是错误；wxsub 不会把它当成失败"),
];
