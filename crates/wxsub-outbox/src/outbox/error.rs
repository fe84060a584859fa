use std::time::Duration;

use wxsub_proto::{AppId, Language, LocalizedText};

use crate::id::{MessageId, NoRandomBytes};
use crate::ledger::{LedgerError, NotCancelled, NotDecided, NotRecorded};

/// What an [`Outbox`](crate::Outbox) did not do, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// It has no such app.
    #[error("app: the outbox has no app {0}; add it when the outbox is built")]
    UnknownApp(AppId),
    /// It has several apps, or none, and the call does not say which it is about.
    #[error("app: the outbox does not have exactly one; choose one with `for_app`")]
    NoAppChosen,
    /// The app requires an idempotency key.
    #[error("idempotency_key: is missing, and the app requires one; give each message a key")]
    KeyRequired,
    /// The message was not recorded.
    #[error("the message was not recorded: {0}")]
    NotRecorded(#[from] NotRecorded),
    /// A synchronous send, and the outbox does not run or its heartbeat fails.
    #[error("not sent: the outbox does not run, or cannot reach its ledger; run it, or try again later")]
    NotRunning,
    /// A synchronous send beyond the app's rate.
    #[error("not sent: the app's rate is reached; try again in {} ms", .0.as_millis())]
    RateLimited(Duration),
    /// A synchronous send whose outcome the ledger has not taken yet. The message may have been sent.
    #[error(
        "the message {0} may have been sent: its outcome is not in the ledger yet; wait for it, do not send it again"
    )]
    NotSettled(MessageId),
    /// There is no such message.
    #[error("message: there is none with the id {0}; list the messages to find it")]
    NoSuchMessage(MessageId),
    /// The message was not cancelled.
    #[error("the message was not cancelled: {0}")]
    NotCancelled(#[from] NotCancelled),
    /// The message was not decided.
    #[error("the message was not decided: {0}")]
    NotDecided(#[from] NotDecided),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// No id could be made.
    #[error(transparent)]
    NoRandomBytes(#[from] NoRandomBytes),
}

impl OutboxError {
    /// Returns the error in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        let chinese = |text: LocalizedText<String>| text.in_language(Language::Chinese);
        let chinese = match self {
            Self::UnknownApp(appid) => format!("app：发件箱没有应用 {appid}；请在创建发件箱时加上"),
            Self::NoAppChosen => "app：发件箱的应用不是恰好一个；请用 `for_app` 选择".to_owned(),
            Self::KeyRequired => {
                "idempotency_key：未填写，而该应用要求填写；请给每条消息一个幂等键".to_owned()
            }
            Self::NotRecorded(why) => format!("消息没有登记：{}", chinese(why.localized())),
            Self::NotRunning => "没有发送：发件箱没有运行，或无法访问消息库；请先运行，或稍后重试".to_owned(),
            Self::RateLimited(wait) => {
                format!("没有发送：已达到该应用的频率上限；请在 {} 毫秒后重试", wait.as_millis())
            }
            Self::NotSettled(id) => {
                format!("消息 {id} 可能已发出：结果还没有写入消息库；请等待，不要重发")
            }
            Self::NoSuchMessage(id) => format!("message：没有 id 为 {id} 的消息；请在消息列表中查找"),
            Self::NotCancelled(why) => format!("消息没有取消：{}", chinese(why.localized())),
            Self::NotDecided(why) => format!("消息没有裁定：{}", chinese(why.localized())),
            Self::Ledger(error) => return error.localized(),
            Self::NoRandomBytes(error) => return error.localized(),
        };
        LocalizedText::new(self.to_string(), chinese)
    }
}
