//! The names of states, in the language of the page.

use wxsub_outbox::state::WaitingFor;

use crate::frame::Frame;

impl Frame<'_> {
    /// What the messages of an app, or one message, wait for.
    pub(crate) fn waiting_for(&self, waiting_for: WaitingFor) -> &'static str {
        match waiting_for {
            WaitingFor::SendAt => self.text("waits for its time", "等待发送时间"),
            WaitingFor::Retry => self.text("waits before the next attempt", "等待下次尝试"),
            WaitingFor::Rate => self.text("waits for Weixin's limit per minute", "等待微信的每分钟限额"),
            WaitingFor::Paused => self.text("paused by an operator", "已被操作员暂停"),
            WaitingFor::Token => self.text("waits for an access token", "等待 access_token"),
            WaitingFor::Quota => self.text("waits for Weixin's limit per day", "等待微信的每日限额"),
        }
    }
}
