use wxsub_proto::LocalizedText;

/// The result of a call to a ledger.
pub type LedgerResult<T> = Result<T, LedgerError>;

/// What a ledger could not do. It holds no message content and no password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Nothing was changed.
    #[error("ledger unavailable: {0}; nothing was recorded, try again later")]
    Unavailable(String),
    /// The reply to the commit was lost: everything was changed, or nothing.
    #[error("ledger: the reply to a commit was lost ({0}); repeat the request with the same idempotency key")]
    Unknown(String),
    /// A row breaks a rule of the schema. The change was undone.
    #[error("ledger: a row would break a rule: {0}; run `wxsub ledger check`")]
    Inconsistent(String),
}

impl LedgerError {
    /// Returns the error in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        let chinese = match self {
            Self::Unavailable(why) => format!("消息库不可用：{why}；没有写入任何内容，请稍后重试"),
            Self::Unknown(why) => format!("消息库：未收到提交的结果（{why}）；请用同一个幂等键重新提交"),
            Self::Inconsistent(why) => {
                format!("消息库：有数据不符合规则：{why}；请运行 `wxsub ledger check`")
            }
        };
        LocalizedText::new(self.to_string(), chinese)
    }
}
