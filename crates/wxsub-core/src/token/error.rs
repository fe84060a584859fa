use std::sync::Arc;
use std::time::Duration;

use wxsub_proto::codec::Unreadable;
use wxsub_proto::{ErrCode, Refusal, Remedy, Role};

use crate::clock::Moment;
use crate::retry::Pace;
use crate::transport::{Stage, TransportError, TransportFault};

/// Why no token could be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Weixin refused to issue one.
    #[error("Weixin refused: {0}")]
    Refused(Refusal),
    /// The exchange failed.
    #[error("{0}")]
    Transport(TransportError),
    /// What came back is not Weixin's word.
    #[error("unreadable reply: {0}")]
    Unreadable(Unreadable),
    /// No reply within the attempt's time.
    #[error("no reply in time")]
    TimedOut,
    /// The attempt was dropped half-way, because its runtime ended or something panicked.
    #[error("the attempt was interrupted")]
    Interrupted,
    /// The token had ended when it came.
    #[error("the token had ended before it arrived")]
    DeadOnArrival,
    /// Weixin rejects the token it keeps handing out, and forcing another is not allowed yet.
    #[error("Weixin keeps handing out a token that it rejects")]
    StillRejected,
    /// The token was reported, but Weixin says it is the current one.
    #[error("Weixin has no other token than the one reported")]
    NoOther,
    /// Refreshes on report are used up for now.
    #[error("too many refreshes on report; the next is allowed in {} s", .0.as_secs().max(1))]
    Rationed(Duration),
    /// The last token has ended, and tokens were fetched so often lately that another fetch has to wait: their lives are too
    /// short.
    #[error(
        "fetch rate limit reached because tokens end too soon after they are fetched; retry in {} s",
        .0.as_secs().max(1)
    )]
    ShortLived(Duration),
    /// A fixed token cannot be refreshed.
    #[error("this token was given by hand and cannot be refreshed; supply a new one")]
    Fixed,
    /// Whoever keeps the token elsewhere gave none: a control server, or a token source of your own.
    #[error("{text}")]
    Elsewhere {
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
    StoreAway,
    /// There is no tokio runtime here to fetch in.
    #[error("no tokio runtime; ask for tokens from within one")]
    NoRuntime,
}

impl Failure {
    /// Whether Weixin may have issued a token that nobody received.
    #[must_use]
    pub fn maybe_applied(&self) -> bool {
        match self {
            Self::Transport(error) => error.stage() == Stage::MaybeSent,
            Self::Unreadable(_) | Self::TimedOut | Self::Interrupted | Self::DeadOnArrival => true,
            _ => false,
        }
    }

    /// Whether another process that asked now would most likely fare no better: something answered, or broke, at Weixin's
    /// end. A wait for nothing is not among them; it has taken long enough.
    pub(crate) fn meets_everybody(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.errcode().remedy(Role::TokenCall) != Remedy::AllowIp,
            Self::Transport(error) => {
                error.stage() == Stage::MaybeSent && error.fault() != TransportFault::Timeout
            }
            Self::Unreadable(_) => true,
            _ => false,
        }
    }

    /// How soon another attempt makes sense.
    pub(crate) fn pace(&self) -> Pace {
        match self {
            Self::Refused(refusal) => match (refusal.errcode(), refusal.errcode().remedy(Role::TokenCall)) {
                (ErrCode::MINUTE_QUOTA, _) => Pace::AtLeast(Duration::from_secs(60)),
                (_, Remedy::RetryLater) => Pace::Soon,
                _ => Pace::Slow,
            },
            Self::Transport(error) if error.is_configuration() => Pace::Slow,
            Self::StillRejected | Self::NoOther => Pace::Slow,
            Self::Rationed(wait) | Self::ShortLived(wait) => Pace::AtLeast(*wait),
            Self::Elsewhere { remedy: Remedy::RetryLater, .. } => Pace::Soon,
            Self::Elsewhere { .. } => Pace::Slow,
            _ => Pace::Soon,
        }
    }
}

/// No token could be had: why, and when it will be tried again without anybody asking.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no usable access token: {why}")]
pub struct TokenError {
    why: Arc<Failure>,
    retry_after: Option<Duration>,
}

impl TokenError {
    /// For token sources of your own.
    #[must_use]
    pub fn new(why: Failure, retry_after: Option<Duration>) -> Self {
        Self { why: Arc::new(why), retry_after }
    }

    /// The same, told later: what is left until the next attempt.
    pub(crate) fn as_of(&self, due: Option<Moment>, now: Moment) -> Self {
        Self { why: Arc::clone(&self.why), retry_after: due.map(|due| due.left(now)).or(self.retry_after) }
    }

    /// Why.
    #[must_use]
    pub fn why(&self) -> &Failure {
        &self.why
    }

    /// How long after this error another attempt is made, or allowed. `None` where waiting does not help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Weixin's refusal, if it was one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match &*self.why {
            Failure::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match &*self.why {
            Failure::Refused(refusal) => refusal.errcode().remedy(Role::TokenCall),
            Failure::Transport(error) if error.is_configuration() => Remedy::FixConfig,
            Failure::Fixed | Failure::NoRuntime => Remedy::FixConfig,
            Failure::Rationed(_) => Remedy::SlowDown,
            Failure::Elsewhere { remedy, .. } => *remedy,
            Failure::StillRejected | Failure::NoOther | Failure::Unreadable(_) => Remedy::Investigate,
            _ => Remedy::RetryLater,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::TransportFault;

    /// What each failure means for the attempts that follow, of this process and of others, and for whoever reads it.
    #[test]
    fn each_failure_answers_every_question() {
        let refused = |code| Failure::Refused(Refusal::new(ErrCode::new(code), "x"));
        let before = |fault| Failure::Transport(TransportError::before_sending(fault, ""));
        let after = Failure::Transport(TransportError::maybe_sent(TransportFault::Broken, ""));
        let elsewhere = |remedy| Failure::Elsewhere { text: "away".to_owned(), remedy };
        let minute = Duration::from_secs(60);
        use Remedy::*;
        for (failure, whose, pace, remedy) in [
            (refused(-1), (false, true), Pace::Soon, RetryLater),
            (refused(40125), (false, true), Pace::Slow, FixConfig),
            (refused(40164), (false, false), Pace::Slow, AllowIp),
            (refused(45011), (false, true), Pace::AtLeast(minute), SlowDown),
            (before(TransportFault::Connect), (false, false), Pace::Soon, RetryLater),
            (before(TransportFault::Certificate), (false, false), Pace::Slow, FixConfig),
            (after, (true, true), Pace::Soon, RetryLater),
            (Failure::Unreadable(Unreadable::Html), (true, true), Pace::Soon, Investigate),
            (Failure::TimedOut, (true, false), Pace::Soon, RetryLater),
            (Failure::Interrupted, (true, false), Pace::Soon, RetryLater),
            (Failure::DeadOnArrival, (true, false), Pace::Soon, RetryLater),
            (Failure::StillRejected, (false, false), Pace::Slow, Investigate),
            (Failure::NoOther, (false, false), Pace::Slow, Investigate),
            (Failure::Rationed(minute), (false, false), Pace::AtLeast(minute), SlowDown),
            (Failure::ShortLived(minute), (false, false), Pace::AtLeast(minute), RetryLater),
            (Failure::Fixed, (false, false), Pace::Soon, FixConfig),
            (Failure::NoRuntime, (false, false), Pace::Soon, FixConfig),
            (elsewhere(RetryLater), (false, false), Pace::Soon, RetryLater),
            (elsewhere(FixConfig), (false, false), Pace::Slow, FixConfig),
        ] {
            let (applied, everybody) = (failure.maybe_applied(), failure.meets_everybody());
            assert_eq!(((applied, everybody), failure.pace()), (whose, pace), "{failure}");
            let error = TokenError::new(failure, Some(minute));
            assert_eq!((error.remedy(), error.retry_after()), (remedy, Some(minute)), "{error}");
        }
    }
}
