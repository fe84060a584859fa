//! The names of states, in the language of the page.

use maud::{Markup, html};
use wxsub_outbox::state::{AuditAction, EventKind, GrantState, MessageState, Reason, Stage, WaitingFor};

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

    pub(crate) fn state(&self, state: MessageState) -> &'static str {
        match state {
            MessageState::Queued => self.text("queued", "排队中"),
            MessageState::Attempting => self.text("attempting", "发送中"),
            MessageState::Sent => self.text("sent", "已发送"),
            MessageState::Refused => self.text("refused", "被微信拒绝"),
            MessageState::MaybeSent => self.text("maybe sent", "可能已发出"),
            MessageState::NotSent => self.text("not sent", "未发出"),
            MessageState::Cancelled => self.text("cancelled", "已取消"),
        }
    }

    pub(crate) fn state_badge(&self, state: MessageState) -> Markup {
        let class = match state {
            MessageState::Sent => "badge good",
            MessageState::Refused | MessageState::NotSent => "badge bad",
            MessageState::MaybeSent => "badge warn",
            MessageState::Queued | MessageState::Attempting | MessageState::Cancelled => "badge quiet",
        };
        html! { span class=(class) { (self.state(state)) } }
    }

    pub(crate) fn reason(&self, reason: Reason) -> &'static str {
        match reason {
            Reason::Expired => self.text("its time was over", "已过期"),
            Reason::Failures => self.text("too many failures", "失败次数过多"),
            Reason::Synchronous => self.text("the synchronous send failed", "同步发送失败"),
            Reason::Late => self.text("proven not sent, late", "事后确认未发出"),
            Reason::Invalid => self.text("it breaks a rule", "不符合规则"),
            Reason::GrantUnavailable => self.text("its grant is in use", "授权正被占用"),
            Reason::NoGrant => self.text("it has no grant", "没有授权"),
            Reason::ResponseLost => self.text("the response of Weixin was lost", "没有收到微信的响应"),
            Reason::WorkerLost => {
                self.text("its worker was lost during the attempt", "发送过程中 worker 失联")
            }
            Reason::Restored => self.text("not final in a restored backup", "恢复的备份中尚未结束"),
        }
    }

    pub(crate) fn stage(&self, stage: Stage) -> &'static str {
        match stage {
            Stage::Grant => self.text("grant", "授权"),
            Stage::Claim => self.text("claim", "领取"),
            Stage::Token => self.text("access token", "获取 access_token"),
            Stage::Send => self.text("send", "发送"),
        }
    }

    pub(crate) fn grant_state(&self, state: GrantState) -> &'static str {
        match state {
            GrantState::Open => self.text("open", "可用"),
            GrantState::Reserved => self.text("reserved by a queued message", "已被排队的消息占用"),
            GrantState::Attempting => self.text("its message is being sent", "消息发送中"),
            GrantState::Used => self.text("used", "已使用"),
            GrantState::InDoubt => self.text("in doubt", "存疑"),
            GrantState::Void => self.text("void", "已作废"),
        }
    }

    pub(crate) fn event(&self, event: EventKind) -> &'static str {
        match event {
            EventKind::Enqueued => self.text("queued", "进入队列"),
            EventKind::Begun => self.text("begun", "开始同步发送"),
            EventKind::Claimed => self.text("claimed by a worker", "被 worker 领取"),
            EventKind::Requeued => self.text("back in the queue", "回到队列"),
            EventKind::Sent => self.text("sent", "已发送"),
            EventKind::Refused => self.text("refused by Weixin", "被微信拒绝"),
            EventKind::NotSent => self.text("not sent", "未发出"),
            EventKind::MaybeSent => self.text("maybe sent", "可能已发出"),
            EventKind::Reclaimed => self.text("its worker was lost", "worker 失联"),
            EventKind::Restored => self.text("restored from a backup", "从备份恢复"),
            EventKind::Expired => self.text("expired", "已过期"),
            EventKind::Cancelled => self.text("cancelled", "已取消"),
            EventKind::Decided => self.text("decided", "已裁定"),
            EventKind::LateAnswer => {
                self.text("a late response, which changed nothing", "迟到的响应，不改变结果")
            }
        }
    }

    pub(crate) fn action(&self, action: AuditAction) -> &'static str {
        match action {
            AuditAction::Login => self.text("logged in", "登录"),
            AuditAction::Logout => self.text("logged out", "退出"),
            AuditAction::Reveal => self.text("revealed an openid", "查看完整 openid"),
            AuditAction::Decide => self.text("decided", "裁定"),
            AuditAction::Cancel => self.text("cancelled a message", "取消消息"),
            AuditAction::Pause => self.text("paused an app", "暂停应用"),
            AuditAction::Resume => self.text("resumed an app", "恢复应用"),
            AuditAction::VoidGrant => self.text("voided a grant", "作废授权"),
            AuditAction::Redeliver => self.text("delivered webhooks again", "重新投递 webhook"),
            AuditAction::Denied => self.text("was denied", "无权执行"),
        }
    }
}
