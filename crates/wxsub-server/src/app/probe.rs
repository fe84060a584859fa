//! Asking Weixin whether a token works: for clients that can only say so by asking again.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use wxsub_core::clock::{Clock, MonotonicInstant, timeout_at};
use wxsub_core::token::{CachedToken, Evidence, TokenCache, TokenSource};
use wxsub_core::transport::{HttpRequest, Transport};
use wxsub_proto::BaseUrl;
use wxsub_proto::endpoint::domain_ip;

/// Weixin is asked no more often.
const MIN_PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// Nobody waits longer for the answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks at most once in 10 s, for all who want to know.
pub(crate) struct Probe {
    transport: Arc<dyn Transport>,
    base: BaseUrl,
    clock: Arc<dyn Clock>,
    /// When Weixin was asked last, and whether it has answered.
    last: Mutex<Option<(MonotonicInstant, watch::Receiver<bool>)>>,
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Probe {
    pub(super) fn new(transport: Arc<dyn Transport>, base: BaseUrl, clock: Arc<dyn Clock>) -> Self {
        Self { transport, base, clock, last: Mutex::default() }
    }

    /// Has the keeper refresh this token if Weixin calls it stale. Returns when that is settled, or after 2 s; what is
    /// under way goes on.
    pub(crate) async fn check(self: &Arc<Self>, keeper: &TokenCache, issued: Arc<CachedToken>) {
        let now = self.clock.now().mono;
        let mut answered = self.ask(now, keeper, issued);
        // A task that is gone has settled it.
        timeout_at(&*self.clock, now.after(PROBE_TIMEOUT), answered.wait_for(|answered| *answered)).await;
    }

    /// Asks, unless somebody has done so just now.
    fn ask(
        self: &Arc<Self>,
        now: MonotonicInstant,
        keeper: &TokenCache,
        issued: Arc<CachedToken>,
    ) -> watch::Receiver<bool> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, answered)) =
            last.as_ref().filter(|(asked, _)| now.duration_since(*asked) < MIN_PROBE_INTERVAL)
        {
            return answered.clone();
        }
        let (answer, answered) = watch::channel(false);
        *last = Some((now, answered.clone()));
        let (probe, keeper) = (Arc::clone(self), keeper.clone());
        tokio::spawn(async move {
            if probe.is_stale(&issued).await {
                // Whether it succeeds is seen by whoever asks for a token next.
                let _ = keeper.refresh(issued.generation(), Evidence::Observed).await;
            }
            let _ = answer.send(true);
        });
        answered
    }

    async fn is_stale(&self, issued: &CachedToken) -> bool {
        let Ok(outgoing) = HttpRequest::new(&self.base, domain_ip::encode(issued.token())) else {
            return false;
        };
        let Ok(raw) = self.transport.execute(outgoing).await else { return false };
        matches!(domain_ip::parse_response(raw.status, &raw.body), Ok(Err(refusal)) if refusal.errcode().is_stale_token())
    }
}
