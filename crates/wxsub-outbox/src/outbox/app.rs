use std::num::NonZeroUsize;

use wxsub_core::Client;
use wxsub_proto::AppId;

use crate::message::DEFAULT_MAX_FAILURES;
use crate::state::Decision;

/// How many messages of an app are posted at a time, unless it says otherwise.
const DEFAULT_CONCURRENCY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);

/// An app of an outbox, and what sends its messages.
#[derive(Debug, Clone)]
pub struct App {
    pub(crate) appid: AppId,
    pub(crate) client: Client,
    pub(crate) concurrency: NonZeroUsize,
    pub(crate) max_failures: u32,
    pub(crate) maybe_sent: MaybeSentPolicy,
    pub(crate) require_grant: bool,
    pub(crate) require_idempotency_key: bool,
}

/// What happens to a message whose outcome is unknown when it can be decided. There is no policy that sends it again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MaybeSentPolicy {
    /// It waits for an operator.
    #[default]
    Hold,
    /// It is taken for sent.
    AssumeSent,
    /// It is given up.
    GiveUp,
}

impl MaybeSentPolicy {
    pub(crate) fn decision(self) -> Option<Decision> {
        match self {
            Self::Hold => None,
            Self::AssumeSent => Some(Decision::AssumeSent),
            Self::GiveUp => Some(Decision::GiveUp),
        }
    }
}

impl App {
    /// An app whose messages this client sends.
    #[must_use]
    pub fn new(appid: AppId, client: Client) -> Self {
        Self {
            appid,
            client,
            concurrency: DEFAULT_CONCURRENCY,
            max_failures: DEFAULT_MAX_FAILURES,
            maybe_sent: MaybeSentPolicy::default(),
            require_grant: false,
            require_idempotency_key: false,
        }
    }

    /// How many of its messages one worker posts at a time. 8 unless set otherwise.
    #[must_use]
    pub fn concurrency(mut self, concurrency: NonZeroUsize) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// With how many failures a message is `not_sent`. 20 unless set otherwise.
    #[must_use]
    pub fn max_failures(mut self, max_failures: u32) -> Self {
        self.max_failures = max_failures;
        self
    }

    /// What happens to a message whose outcome is unknown. It waits for an operator unless set otherwise.
    #[must_use]
    pub fn maybe_sent(mut self, policy: MaybeSentPolicy) -> Self {
        self.maybe_sent = policy;
        self
    }

    /// Whether each message must have a grant.
    #[must_use]
    pub fn require_grant(mut self, require: bool) -> Self {
        self.require_grant = require;
        self
    }

    /// Whether each message must have an idempotency key.
    #[must_use]
    pub fn require_idempotency_key(mut self, require: bool) -> Self {
        self.require_idempotency_key = require;
        self
    }
}
