use std::sync::Arc;
use std::time::Duration;

use wxsub_proto::codec::DecodeError;
use wxsub_proto::{ApiError, ErrCode, Operation, Remedy};

use crate::clock::ClockReading;
use crate::retry::RetryClass;
use crate::transport::{RequestState, TransportError, TransportErrorKind};

/// Why no token could be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenErrorKind {
    /// Weixin refused to issue one.
    #[error("Weixin refused: {0}")]
    Refused(ApiError),
    /// The exchange failed.
    #[error("{0}")]
    Transport(TransportError),
    /// What came back is not Weixin's word.
    #[error("unreadable reply: {0}")]
    Unreadable(DecodeError),
    /// No reply within the attempt's time.
    #[error("no reply in time")]
    TimedOut,
    /// The attempt was dropped half-way, because its runtime ended or something panicked.
    #[error("the attempt was interrupted")]
    Interrupted,
    /// The token had ended when it came.
    #[error("the token had ended before it arrived")]
    ExpiredOnArrival,
    /// Weixin rejects the token it keeps handing out, and forcing another is not allowed yet.
    #[error("Weixin keeps handing out a token that it rejects")]
    RejectedTokenReissued,
    /// The token was reported, but Weixin says it is the current one.
    #[error("Weixin has no other token than the one reported")]
    TokenUnchanged,
    /// Refreshes on report are used up for now.
    #[error("too many refreshes on report; the next is allowed in {} s", .0.as_secs().max(1))]
    RateLimited(Duration),
    /// The last token has ended, and tokens were fetched so often lately that another fetch has to wait: their lives are too
    /// short.
    #[error(
        "fetch rate limit reached because tokens end too soon after they are fetched; retry in {} s",
        .0.as_secs().max(1)
    )]
    ShortLived(Duration),
    /// A fixed token cannot be refreshed.
    #[error("this token was given by hand and cannot be refreshed; supply a new one")]
    NotRefreshable,
    /// Whoever keeps the token elsewhere gave none: a control server, or a token source of your own.
    #[error("{text}")]
    Upstream {
        /// What it says. It must not contain a secret.
        text: String,
        /// What to do about it.
        remedy: Remedy,
    },
    /// The store that several processes share does not answer, and no token is held. Fetching without it could end theirs,
    /// so that is put off.
    #[error(
        "the token store does not answer; without it a fetch could end the token of others, so it is put off"
    )]
    StoreUnavailable,
    /// There is no tokio runtime here to fetch in.
    #[error("no tokio runtime; ask for tokens from within one")]
    NoRuntime,
}

impl TokenErrorKind {
    /// Whether Weixin may have issued a token that nobody received.
    #[must_use]
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Transport(error) => error.stage() == RequestState::MaybeSent,
            Self::Unreadable(_) | Self::TimedOut | Self::Interrupted | Self::ExpiredOnArrival => true,
            _ => false,
        }
    }

    /// Whether the call certainly did not reach the host.
    pub(crate) fn is_unsent(&self) -> bool {
        matches!(self, Self::Transport(error) if error.stage() == RequestState::NotSent)
    }

    /// Whether another host of Weixin's may do better.
    pub(crate) fn may_pass_at_another_host(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.errcode().remedy(Operation::FetchToken) == Remedy::RetryLater,
            Self::Transport(_) | Self::Unreadable(_) => true,
            _ => false,
        }
    }

    /// Whether another process that asked now would most likely fare no better: something answered, or broke, at Weixin's
    /// end. A wait for nothing is not among them; it has taken long enough.
    pub(crate) fn affects_all_peers(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.errcode().remedy(Operation::FetchToken) != Remedy::AllowIp,
            Self::Transport(error) => {
                error.stage() == RequestState::MaybeSent && error.kind() != TransportErrorKind::Timeout
            }
            Self::Unreadable(_) => true,
            _ => false,
        }
    }

    /// How soon another attempt makes sense.
    pub(crate) fn pace(&self) -> RetryClass {
        match self {
            Self::Refused(refusal) => {
                match (refusal.errcode(), refusal.errcode().remedy(Operation::FetchToken)) {
                    (ErrCode::MINUTE_QUOTA, _) => RetryClass::After(Duration::from_secs(60)),
                    (_, Remedy::RetryLater) => RetryClass::Transient,
                    _ => RetryClass::Persistent,
                }
            }
            Self::Transport(error) if error.is_config_error() => RetryClass::Persistent,
            Self::RejectedTokenReissued | Self::TokenUnchanged => RetryClass::Persistent,
            Self::RateLimited(wait) | Self::ShortLived(wait) => RetryClass::After(*wait),
            Self::Upstream { remedy: Remedy::RetryLater, .. } => RetryClass::Transient,
            Self::Upstream { .. } => RetryClass::Persistent,
            _ => RetryClass::Transient,
        }
    }
}

/// No token could be had: why, and when it will be tried again without anybody asking.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no usable access token: {why}")]
pub struct TokenError {
    why: Arc<TokenErrorKind>,
    retry_after: Option<Duration>,
}

impl TokenError {
    /// For token sources of your own.
    #[must_use]
    pub fn new(why: TokenErrorKind, retry_after: Option<Duration>) -> Self {
        Self { why: Arc::new(why), retry_after }
    }

    /// The same, told later: what is left until the next attempt.
    pub(crate) fn with_remaining_delay(&self, due: Option<ClockReading>, now: ClockReading) -> Self {
        Self {
            why: Arc::clone(&self.why),
            retry_after: due.map(|due| due.remaining(now)).or(self.retry_after),
        }
    }

    /// Why.
    #[must_use]
    pub fn kind(&self) -> &TokenErrorKind {
        &self.why
    }

    /// How long after this error another attempt is made, or allowed. `None` where waiting does not help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Weixin's refusal, if it was one.
    #[must_use]
    pub fn refusal(&self) -> Option<&ApiError> {
        match &*self.why {
            TokenErrorKind::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match &*self.why {
            TokenErrorKind::Refused(refusal) => refusal.errcode().remedy(Operation::FetchToken),
            TokenErrorKind::Transport(error) if error.is_config_error() => Remedy::FixConfig,
            TokenErrorKind::NotRefreshable | TokenErrorKind::NoRuntime => Remedy::FixConfig,
            TokenErrorKind::RateLimited(_) => Remedy::SlowDown,
            TokenErrorKind::Upstream { remedy, .. } => *remedy,
            TokenErrorKind::RejectedTokenReissued
            | TokenErrorKind::TokenUnchanged
            | TokenErrorKind::Unreadable(_) => Remedy::Investigate,
            _ => Remedy::RetryLater,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::TransportErrorKind;

    /// What each failure means for the attempts that follow, of this process and of others, and for whoever reads it.
    #[test]
    fn each_failure_answers_every_question() {
        let refused = |code| TokenErrorKind::Refused(ApiError::new(ErrCode::new(code), "x"));
        let before = |fault| TokenErrorKind::Transport(TransportError::before_sending(fault, ""));
        let after = TokenErrorKind::Transport(TransportError::maybe_sent(TransportErrorKind::Broken, ""));
        let elsewhere = |remedy| TokenErrorKind::Upstream { text: "away".to_owned(), remedy };
        let minute = Duration::from_secs(60);
        use Remedy::*;
        for (failure, whose, pace, remedy) in [
            (refused(-1), (false, true), RetryClass::Transient, RetryLater),
            (refused(40125), (false, true), RetryClass::Persistent, FixConfig),
            (refused(40164), (false, false), RetryClass::Persistent, AllowIp),
            (refused(45011), (false, true), RetryClass::After(minute), SlowDown),
            (before(TransportErrorKind::Connect), (false, false), RetryClass::Transient, RetryLater),
            (before(TransportErrorKind::Certificate), (false, false), RetryClass::Persistent, FixConfig),
            (after, (true, true), RetryClass::Transient, RetryLater),
            (
                TokenErrorKind::Unreadable(DecodeError::HtmlBody),
                (true, true),
                RetryClass::Transient,
                Investigate,
            ),
            (TokenErrorKind::TimedOut, (true, false), RetryClass::Transient, RetryLater),
            (TokenErrorKind::Interrupted, (true, false), RetryClass::Transient, RetryLater),
            (TokenErrorKind::ExpiredOnArrival, (true, false), RetryClass::Transient, RetryLater),
            (TokenErrorKind::RejectedTokenReissued, (false, false), RetryClass::Persistent, Investigate),
            (TokenErrorKind::TokenUnchanged, (false, false), RetryClass::Persistent, Investigate),
            (TokenErrorKind::RateLimited(minute), (false, false), RetryClass::After(minute), SlowDown),
            (TokenErrorKind::ShortLived(minute), (false, false), RetryClass::After(minute), RetryLater),
            (TokenErrorKind::NotRefreshable, (false, false), RetryClass::Transient, FixConfig),
            (TokenErrorKind::NoRuntime, (false, false), RetryClass::Transient, FixConfig),
            (elsewhere(RetryLater), (false, false), RetryClass::Transient, RetryLater),
            (elsewhere(FixConfig), (false, false), RetryClass::Persistent, FixConfig),
        ] {
            let (applied, everybody) = (failure.may_have_taken_effect(), failure.affects_all_peers());
            assert_eq!(((applied, everybody), failure.pace()), (whose, pace), "{failure}");
            let error = TokenError::new(failure, Some(minute));
            assert_eq!((error.remedy(), error.retry_after()), (remedy, Some(minute)), "{error}");
        }
    }
}
