use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;

use wxsub_core::Client;
use wxsub_core::clock::MonotonicInstant;
use wxsub_proto::AppId;

use super::pace::Pace;
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
    pace: Option<Arc<Pace>>,
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
            pace: None,
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

    /// How many of its messages this process posts in a second, queued and synchronous ones together. No limit unless set.
    #[must_use]
    pub fn rate_per_s(mut self, rate: NonZeroU32) -> Self {
        self.pace = Some(Arc::new(Pace::new(rate)));
        self
    }

    /// Takes as many permits of its rate as there are, at most so many.
    pub(crate) fn take_permits(&self, most: usize, now: MonotonicInstant) -> usize {
        self.pace.as_ref().map_or(most, |pace| pace.take(most, now))
    }

    pub(crate) fn give_back(&self, permits: usize) {
        if let Some(pace) = &self.pace {
            pace.give_back(permits);
        }
    }

    /// When its rate allows the next message; `None` if it has no rate.
    pub(crate) fn next_permit_at(&self) -> Option<MonotonicInstant> {
        self.pace.as_ref().map(|pace| pace.next_at())
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
