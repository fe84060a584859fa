//! Checks with Weixin whether a token works, for clients that cannot report a rejected token.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use wxsub_core::clock::{Clock, MonotonicInstant, timeout_at};
use wxsub_core::token::{CachedToken, Evidence, TokenCache, TokenSource};
use wxsub_core::transport::{HttpRequest, Transport};
use wxsub_proto::BaseUrl;
use wxsub_proto::endpoint::domain_ip;

use crate::state::locked;

/// Minimum time between two probes.
const MIN_PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// Maximum time that a request waits for a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// A probe of an app, shared by all its requests. It calls Weixin at most once in 10 s.
pub(crate) struct Probe {
    transport: Arc<dyn Transport>,
    base: BaseUrl,
    clock: Arc<dyn Clock>,
    /// When the last probe started, and whether it is done.
    last: Mutex<Option<(MonotonicInstant, watch::Receiver<bool>)>>,
}

impl Probe {
    pub(super) fn new(transport: Arc<dyn Transport>, base: BaseUrl, clock: Arc<dyn Clock>) -> Self {
        Self { transport, base, clock, last: Mutex::default() }
    }

    /// Probes this token, and refreshes it if Weixin calls it stale. Returns when that is done, or after 2 s.
    ///
    /// # Cancel safety
    /// A started probe goes on in its own task.
    pub(crate) async fn check(self: &Arc<Self>, token_cache: &TokenCache, token: Arc<CachedToken>) {
        let now = self.clock.now().mono;
        let mut done = self.start(now, token_cache, token);
        // An error means that the probe task is gone; then there is nothing to wait for.
        timeout_at(&*self.clock, now + PROBE_TIMEOUT, done.wait_for(|done| *done)).await;
    }

    /// Starts a probe, or joins the last one if it started less than 10 s ago.
    fn start(
        self: &Arc<Self>,
        now: MonotonicInstant,
        token_cache: &TokenCache,
        token: Arc<CachedToken>,
    ) -> watch::Receiver<bool> {
        let mut last = locked(&self.last);
        if let Some((_, done)) =
            last.as_ref().filter(|(started_at, _)| now.duration_since(*started_at) < MIN_PROBE_INTERVAL)
        {
            return done.clone();
        }
        let (sender, done) = watch::channel(false);
        *last = Some((now, done.clone()));
        let (probe, token_cache) = (Arc::clone(self), token_cache.clone());
        tokio::spawn(async move {
            if probe.is_stale(&token).await {
                // The next token request shows whether the refresh succeeded.
                let _ = token_cache.refresh(token.generation(), Evidence::Observed).await;
            }
            let _ = sender.send(true);
        });
        done
    }

    async fn is_stale(&self, token: &CachedToken) -> bool {
        let Ok(request) = HttpRequest::new(&self.base, domain_ip::request(token.token())) else {
            return false;
        };
        let Ok(response) = self.transport.execute(request).await else { return false };
        matches!(domain_ip::parse_response(response.status, &response.body), Ok(Err(refusal)) if refusal.errcode().is_stale_token())
    }
}
