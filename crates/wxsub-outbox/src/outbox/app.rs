use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use derive_setters::Setters;
use wxsub_core::Client;
use wxsub_core::clock::MonotonicInstant;
use wxsub_proto::AppId;

use super::pace::Pace;
use crate::message::{DEFAULT_MAX_FAILURES, StoredMessage};
use crate::state::Decision;

/// How many messages of an app are posted at a time, unless it says otherwise.
const DEFAULT_CONCURRENCY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);

/// An app of an outbox, and what sends its messages.
#[derive(Debug, Clone, Setters)]
#[must_use]
pub struct App {
    #[setters(skip)]
    pub(crate) appid: AppId,
    #[setters(skip)]
    pub(crate) client: Client,
    /// How many of its messages one worker posts at a time. 8 unless set otherwise.
    pub(crate) concurrency: NonZeroUsize,
    #[setters(skip)]
    pace: Option<Arc<Pace>>,
    /// What decides before each attempt of this process whether it may begin. Nothing unless set.
    #[setters(strip_option)]
    gate: Option<Arc<dyn Gate>>,
    /// With how many failures a message is `not_sent`. 20 unless set otherwise.
    pub(crate) max_failures: u32,
    /// What happens to a message whose outcome is unknown. It waits for an operator unless set otherwise.
    pub(crate) maybe_sent: MaybeSentPolicy,
    /// Whether each message must have a grant.
    pub(crate) require_grant: bool,
    /// Whether each message must have an idempotency key.
    pub(crate) require_idempotency_key: bool,
}

/// What happens to a message whose outcome is unknown when it can be decided. There is no policy that sends it again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MaybeSentPolicy {
    /// It waits for an operator.
    #[default]
    Hold,
    /// It counts as sent.
    AssumeSent,
    /// It is given up.
    GiveUp,
}

/// Decides how many messages of an app this process posts, and when, besides its rate.
pub trait Gate: Send + Sync + fmt::Debug {
    /// Takes permits for attempts that begin now, at most so many.
    fn take(&self, max: usize, now: MonotonicInstant) -> usize;

    /// Gives unused permits back.
    fn give_back(&self, unused: usize);

    /// An attempt that used a permit has ended. Gives its message if that changed it.
    fn end_attempt(&self, settled: Option<&StoredMessage>, now: MonotonicInstant);

    /// When there may be a permit; `None` if that depends on the end of an attempt.
    fn next_at(&self) -> Option<MonotonicInstant>;
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
    pub fn new(appid: AppId, client: Client) -> Self {
        Self {
            appid,
            client,
            concurrency: DEFAULT_CONCURRENCY,
            pace: None,
            gate: None,
            max_failures: DEFAULT_MAX_FAILURES,
            maybe_sent: MaybeSentPolicy::default(),
            require_grant: false,
            require_idempotency_key: false,
        }
    }

    /// How many of its messages this process posts in a second, queued and synchronous ones together. No limit unless set.
    pub fn rate_per_s(self, rate: NonZeroU32) -> Self {
        self.rate(rate, Duration::from_secs(1))
    }

    /// How many of its messages this process posts in this time, queued and synchronous ones together. No limit unless set.
    pub fn rate(mut self, rate: NonZeroU32, per: Duration) -> Self {
        self.pace = Some(Arc::new(Pace::new(rate, per)));
        self
    }

    /// Takes as many permits of its rate and gate as there are, at most so many.
    pub(crate) fn take_permits(&self, max: usize, now: MonotonicInstant) -> usize {
        let admitted = self.gate.as_ref().map_or(max, |gate| gate.take(max, now));
        let taken = self.pace.as_ref().map_or(admitted, |pace| pace.take(admitted, now));
        if let Some(gate) = &self.gate {
            gate.give_back(admitted - taken);
        }
        taken
    }

    pub(crate) fn give_back(&self, permits: usize) {
        if let Some(pace) = &self.pace {
            pace.give_back(permits);
        }
        if let Some(gate) = &self.gate {
            gate.give_back(permits);
        }
    }

    /// Whether the outcome of an attempt may decide about the next one.
    pub(crate) fn has_gate(&self) -> bool {
        self.gate.is_some()
    }

    /// An attempt has ended. Gives its message if that changed it.
    pub(crate) fn end_attempt(&self, settled: Option<&StoredMessage>, now: MonotonicInstant) {
        if let Some(gate) = &self.gate {
            gate.end_attempt(settled, now);
        }
    }

    /// When its rate and its gate allow the next message; `None` if it has neither, or if only the end of an attempt can
    /// open its gate.
    pub(crate) fn next_permit_at(&self) -> Option<MonotonicInstant> {
        let paced = self.pace.as_ref().map(|pace| pace.next_at());
        match &self.gate {
            Some(gate) => gate.next_at().map(|at| paced.map_or(at, |paced| paced.max(at))),
            None => paced,
        }
    }
}
