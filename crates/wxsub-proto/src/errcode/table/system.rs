//! Zero and below.

use super::super::Remedy::{Investigate, RetryLater};
use super::{ErrCodeInfo, both, link, on, row};

#[rustfmt::skip]
pub(super) const ROWS: [ErrCodeInfo; 3] = [
    both(-1000, "system_error", link::TROUBLESHOOTING, RetryLater,
        "an undocumented failure inside Weixin",
        "微信内部出错，文档没有说明"),
    row(-1, "system_busy", link::SEND,
        on(RetryLater, "Weixin is busy",
                       "微信繁忙"),
        on(RetryLater, "Weixin says it is busy; if it keeps saying so, suspect template or body",
                       "微信说它繁忙；如果一直如此，请怀疑模板或请求体有问题")),
    both(0, "ok", link::SEND, Investigate,
        "no error at all; wxsub never treats it as a refusal",
        "根本不是错误；wxsub 从不把它当作拒绝"),
];
