//! Zero and below.

use super::super::Remedy::{Investigate, RetryLater};
use super::{Entry, both, link, on, row};

#[rustfmt::skip]
pub(super) const ROWS: [Entry; 3] = [
    both(-1000, "system_error", link::TROUBLESHOOTING, RetryLater,
        "an undocumented failure inside Weixin"),
    row(-1, "system_busy", link::SEND,
        on(RetryLater, "Weixin is busy"),
        on(RetryLater, "Weixin says it is busy; if it keeps saying so, suspect template or body")),
    both(0, "ok", link::SEND, Investigate,
        "no error at all; wxsub never treats it as a refusal"),
];
