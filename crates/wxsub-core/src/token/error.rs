use std::sync::Arc;
use std::time::Duration;

use wxsub_proto::codec::DecodeError;
use wxsub_proto::{ApiError, ErrCode, Language, LocalizedText, Operation, Remedy};

use crate::clock::ClockReading;
use crate::quota::MINUTE_QUOTA_DELAY;
use crate::retry::RetryClass;
use crate::store::StoreError;
use crate::transport::{RequestState, TransportError, TransportErrorKind};

/// Why there is no valid token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenErrorKind {
    /// Weixin refused to issue a token.
    #[error("Weixin refused the token call: {0}")]
    Refused(ApiError),
    /// The HTTP exchange failed.
    #[error("{0}")]
    Transport(TransportError),
    /// The response is not one of Weixin's.
    #[error("invalid response: {0}")]
    Unreadable(DecodeError),
    /// No response came within the timeout of the attempt.
    #[error("no response in time; retry later")]
    TimedOut,
    /// The attempt was interrupted: its runtime ended, or the refresh task panicked.
    #[error("the attempt was interrupted; retry later")]
    Interrupted,
    /// The token had expired when it arrived.
    #[error("the token expired before it arrived; retry later")]
    ExpiredOnArrival,
    /// The upstream returns the token that Weixin rejected, and cannot be forced to return another yet.
    #[error("{upstream} returned the rejected token again; retry later")]
    RejectedTokenReissued {
        /// The [name](super::UpstreamBehavior::name) of the upstream.
        upstream: LocalizedText,
    },
    /// The token was reported, but the upstream returns it as the current one.
    #[error(
        "{upstream} returned the reported token as the current one; find out which call Weixin rejected, and with which errcode"
    )]
    TokenUnchanged {
        /// The [name](super::UpstreamBehavior::name) of the upstream.
        upstream: LocalizedText,
    },
    /// The rate limit for refreshes after reports is reached. The value is the time until the next one is allowed.
    #[error("refresh rate limit reached; retry in {} s", .0.as_secs().max(1))]
    RateLimited(Duration),
    /// The last token expired, and the rate limit for fetches is reached because lifetimes are too short. The value
    /// is the time until the next fetch is allowed.
    #[error(
        "fetch rate limit reached because tokens expire too soon; retry in {} s",
        .0.as_secs().max(1)
    )]
    ShortLived(Duration),
    /// A control server, or your own token source, gave no token.
    #[error("{text}")]
    Upstream {
        /// Its error text. It must not contain a secret.
        text: LocalizedText<String>,
        /// What to do about it.
        remedy: Remedy,
    },
    /// The shared store is unavailable, and there is no current token. A fetch without the store could invalidate
    /// the token of peers, so it is postponed.
    #[error("{0}; the refresh is postponed so that other servers keep their token")]
    StoreUnavailable(StoreError),
    /// The caller is not in a tokio runtime.
    #[error("no tokio runtime; call it from within one")]
    NoRuntime,
}

impl TokenErrorKind {
    /// Returns the cause in every language.
    pub fn localized(&self) -> LocalizedText<String> {
        let english = self.to_string();
        let chinese = match self {
            Self::Refused(api_error) => format!("微信拒绝签发 access_token：{api_error}"),
            Self::Transport(error) => return error.localized(),
            Self::Unreadable(error) => {
                format!("响应无效：{}", error.localized().in_language(Language::Chinese))
            }
            Self::TimedOut => "没有按时收到响应；请稍后重试".to_owned(),
            Self::Interrupted => "获取被中断；请稍后重试".to_owned(),
            Self::ExpiredOnArrival => "access_token 收到时已过期；请稍后重试".to_owned(),
            Self::RejectedTokenReissued { upstream } => {
                let upstream = upstream.in_language(Language::Chinese);
                format!("{upstream}又返回了微信已拒绝的 access_token；请稍后重试")
            }
            Self::TokenUnchanged { upstream } => {
                let upstream = upstream.in_language(Language::Chinese);
                format!("{upstream}返回的仍是被上报的 access_token；请查明微信拒绝了哪个请求、错误码是什么")
            }
            Self::RateLimited(wait) => format!("刷新过于频繁；请在 {} 秒后重试", wait.as_secs().max(1)),
            Self::ShortLived(wait) => {
                format!("access_token 的有效期太短，获取过于频繁；请在 {} 秒后重试", wait.as_secs().max(1))
            }
            Self::Upstream { text, .. } => return text.clone(),
            Self::StoreUnavailable(error) => {
                let error = error.localized().in_language(Language::Chinese);
                format!("{error}；已推迟刷新，以免其他服务器的 access_token 失效")
            }
            Self::NoRuntime => "不在 tokio 运行时中；请在其中调用".to_owned(),
        };
        LocalizedText::new(english, chinese)
    }

    /// Returns whether Weixin may have issued a token that did not arrive.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Transport(error) => error.request_state() == RequestState::MaybeSent,
            Self::Unreadable(_) | Self::TimedOut | Self::Interrupted | Self::ExpiredOnArrival => true,
            _ => false,
        }
    }

    /// Returns whether the request was certainly not sent.
    pub(crate) fn is_unsent(&self) -> bool {
        matches!(self, Self::Transport(error) if error.request_state() == RequestState::NotSent)
    }

    /// Returns whether another host of Weixin may succeed.
    pub(crate) fn may_pass_at_another_host(&self) -> bool {
        match self {
            Self::Refused(api_error) => {
                api_error.errcode().remedy(Operation::FetchToken) == Remedy::RetryLater
            }
            Self::Transport(_) | Self::Unreadable(_) => true,
            _ => false,
        }
    }

    /// Returns whether a peer would most likely fail in the same way, because the failure is on Weixin's side. A
    /// timeout does not count: peers have waited long enough.
    pub(crate) fn affects_all_peers(&self) -> bool {
        match self {
            Self::Refused(api_error) => api_error.errcode().remedy(Operation::FetchToken) != Remedy::AllowIp,
            Self::Transport(error) => {
                error.request_state() == RequestState::MaybeSent
                    && error.kind() != TransportErrorKind::Timeout
            }
            Self::Unreadable(_) => true,
            _ => false,
        }
    }

    /// Returns how soon another attempt makes sense.
    pub(crate) fn retry_class(&self) -> RetryClass {
        match self {
            Self::Refused(api_error) => {
                match (api_error.errcode(), api_error.errcode().remedy(Operation::FetchToken)) {
                    (ErrCode::MINUTE_QUOTA, _) => RetryClass::After(MINUTE_QUOTA_DELAY),
                    (_, Remedy::RetryLater) => RetryClass::Transient,
                    _ => RetryClass::Persistent,
                }
            }
            Self::Transport(error) if error.is_config_error() => RetryClass::Persistent,
            Self::RejectedTokenReissued { .. } | Self::TokenUnchanged { .. } => RetryClass::Persistent,
            Self::RateLimited(wait) | Self::ShortLived(wait) => RetryClass::After(*wait),
            Self::Upstream { remedy: Remedy::RetryLater, .. } => RetryClass::Transient,
            Self::Upstream { .. } => RetryClass::Persistent,
            _ => RetryClass::Transient,
        }
    }
}

/// There is no valid token: why, and when the next attempt starts.
#[derive(Debug, Clone, thiserror::Error, getset::CopyGetters)]
#[error("no usable access token: {kind}")]
pub struct TokenError {
    kind: Arc<TokenErrorKind>,
    /// The delay after which another attempt starts or is allowed. `None` if waiting does not help.
    #[getset(get_copy = "pub")]
    retry_after: Option<Duration>,
}

impl TokenError {
    /// Creates an error, for your own token sources.
    pub fn new(kind: TokenErrorKind, retry_after: Option<Duration>) -> Self {
        Self { kind: Arc::new(kind), retry_after }
    }

    /// Returns this error with the delay that remains at `now`.
    pub(crate) fn with_remaining_delay(&self, due: Option<ClockReading>, now: ClockReading) -> Self {
        Self {
            kind: Arc::clone(&self.kind),
            retry_after: due.map(|due| due.remaining(now)).or(self.retry_after),
        }
    }

    /// Returns the cause.
    pub fn kind(&self) -> &TokenErrorKind {
        &self.kind
    }

    /// Returns the error in every language.
    pub fn localized(&self) -> LocalizedText<String> {
        let kind = self.kind.localized().in_language(Language::Chinese);
        LocalizedText::new(self.to_string(), format!("没有可用的 access_token：{kind}"))
    }

    /// Returns Weixin's error, if Weixin refused the call.
    pub fn api_error(&self) -> Option<&ApiError> {
        match &*self.kind {
            TokenErrorKind::Refused(api_error) => Some(api_error),
            _ => None,
        }
    }

    /// Returns what to do about it.
    pub fn remedy(&self) -> Remedy {
        match &*self.kind {
            TokenErrorKind::Refused(api_error) => api_error.errcode().remedy(Operation::FetchToken),
            TokenErrorKind::Transport(error) if error.is_config_error() => Remedy::FixConfig,
            TokenErrorKind::NoRuntime => Remedy::FixConfig,
            TokenErrorKind::RateLimited(_) => Remedy::SlowDown,
            TokenErrorKind::StoreUnavailable(error) => error.remedy(),
            TokenErrorKind::Upstream { remedy, .. } => *remedy,
            TokenErrorKind::RejectedTokenReissued { .. }
            | TokenErrorKind::TokenUnchanged { .. }
            | TokenErrorKind::Unreadable(_) => Remedy::Investigate,
            _ => Remedy::RetryLater,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenEndpoint;
    use crate::transport::TransportErrorKind;

    /// What each failure means for the next attempts of this process and of peers, and for the operator.
    #[test]
    fn each_failure_has_effect_retry_class_and_remedy() {
        let refused = |code| TokenErrorKind::Refused(ApiError::new(ErrCode::new(code), "x"));
        let before = |fault| TokenErrorKind::Transport(TransportError::before_sending(fault, ""));
        let after = TokenErrorKind::Transport(TransportError::maybe_sent(TransportErrorKind::Broken, ""));
        let unavailable = LocalizedText::new("unavailable", "不可用");
        let upstream = |remedy| TokenErrorKind::Upstream { text: unavailable.into(), remedy };
        let weixin = TokenEndpoint::Token.behavior().name;
        let minute = Duration::from_secs(60);
        use Remedy::*;
        for (failure, expected, class, remedy) in [
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
            (
                TokenErrorKind::RejectedTokenReissued { upstream: weixin },
                (false, false),
                RetryClass::Persistent,
                Investigate,
            ),
            (
                TokenErrorKind::TokenUnchanged { upstream: weixin },
                (false, false),
                RetryClass::Persistent,
                Investigate,
            ),
            (TokenErrorKind::RateLimited(minute), (false, false), RetryClass::After(minute), SlowDown),
            (TokenErrorKind::ShortLived(minute), (false, false), RetryClass::After(minute), RetryLater),
            (TokenErrorKind::NoRuntime, (false, false), RetryClass::Transient, FixConfig),
            (upstream(RetryLater), (false, false), RetryClass::Transient, RetryLater),
            (upstream(FixConfig), (false, false), RetryClass::Persistent, FixConfig),
        ] {
            let effects = (failure.may_have_taken_effect(), failure.affects_all_peers());
            assert_eq!((effects, failure.retry_class()), (expected, class), "{failure}");
            let error = TokenError::new(failure, Some(minute));
            assert_eq!((error.remedy(), error.retry_after()), (remedy, Some(minute)), "{error}");
        }
    }
}
