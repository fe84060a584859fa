//! One app: its keeper, its client, and what has been handed out.

mod history;
mod probe;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use wxsub_core::Client;
use wxsub_core::clock::{Clock, UnixMillis};
use wxsub_core::store::TokenStore;
use wxsub_core::token::{
    CachedToken, Evidence, Generation, TokenCache, TokenError, TokenErrorKind, TokenEvent, TokenSource,
};
use wxsub_core::transport::Transport;
use wxsub_proto::{AccessToken, AppId};

pub(crate) use self::history::TokenHistory;
use self::probe::Probe;
use crate::config::AppConfig;
use crate::metrics::Metrics;
use crate::rate_limit::Admission;

/// What all apps of a server share.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<dyn TokenStore>,
    pub(crate) metrics: Arc<Metrics>,
    /// Goes everywhere instead of the transports of the configuration.
    pub(crate) transport: Option<Arc<dyn Transport>>,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("store", &self.store).finish_non_exhaustive()
    }
}

/// An app as it is served.
#[derive(Debug)]
pub(crate) struct ManagedApp {
    pub(crate) config: AppConfig,
    pub(crate) keeper: TokenCache,
    pub(crate) client: Client,
    pub(crate) memory: Arc<TokenHistory>,
    pub(crate) probe: Arc<Probe>,
    clock: Arc<dyn Clock>,
    /// Since when fetching has failed.
    failing: Arc<Mutex<Option<UnixMillis>>>,
}

/// A token to hand out, and how long the server vouches for it.
#[derive(Debug, Clone)]
pub(crate) struct ServedToken {
    pub(crate) issued: Arc<CachedToken>,
    pub(crate) expires_in: Duration,
}

/// Why a report brings no token.
#[derive(Debug, Clone)]
pub(crate) enum ReportError {
    /// Whoever reports has used up their ration, or the app has.
    Rationed(Duration),
    /// None could be had.
    Failed(TokenError),
    /// None came in time.
    TimedOut,
}

/// Why there is no token, for whoever asked: what a library said of it is in log and status, for those who run the server.
pub(crate) fn public_reason(error: &TokenError) -> String {
    match error.kind() {
        TokenErrorKind::Transport(error) => format!("no usable access token: {}", error.kind()),
        _ => error.to_string(),
    }
}

impl ManagedApp {
    /// As configured; `memory` is what an earlier one of the same app remembers.
    pub(crate) fn new(config: AppConfig, shared: &Services, memory: Arc<TokenHistory>) -> Arc<Self> {
        Arc::new_cyclic(|app| Self::observed_by(app, config, shared, memory))
    }

    fn observed_by(
        app: &Weak<Self>,
        config: AppConfig,
        shared: &Services,
        memory: Arc<TokenHistory>,
    ) -> Self {
        let transport = shared.transport.clone().unwrap_or_else(|| Arc::clone(&config.transport));
        let failing: Arc<Mutex<Option<UnixMillis>>> = Arc::default();
        let observe = observer(app, &config.appid, shared, Arc::clone(&failing));
        let keeper = TokenCache::builder(config.appid.clone(), config.secret.clone(), Arc::clone(&transport))
            .api_bases(config.bases.clone())
            .endpoint(config.endpoint)
            .clock(Arc::clone(&shared.clock))
            .store(Arc::clone(&shared.store))
            .on_event(observe)
            .build();
        let client = Client::with_token_source(Arc::new(keeper.clone()), Arc::clone(&transport))
            .api_bases(config.bases.clone())
            .clock(Arc::clone(&shared.clock))
            .build();
        let probe = Arc::new(Probe::new(transport, config.bases.first().clone(), Arc::clone(&shared.clock)));
        Self { config, keeper, client, memory, probe, clock: Arc::clone(&shared.clock), failing }
    }

    pub(crate) fn appid(&self) -> &AppId {
        &self.config.appid
    }

    /// Since when fetching has failed.
    pub(crate) fn failing_since(&self) -> Option<UnixMillis> {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current token, if there is a usable one; waits for nothing.
    pub(crate) fn current(&self) -> Option<ServedToken> {
        let (status, now) = (self.keeper.status(), self.clock.now());
        let issued = Arc::clone(status.usable(now)?);
        self.memory.remember(&issued);
        // One second is the least that callers understand.
        let expires_in = status.safe_ttl(now).max(Duration::from_secs(1));
        Some(ServedToken { issued, expires_in })
    }

    /// A usable token, waited for if there is none.
    pub(crate) async fn token(&self) -> Result<ServedToken, TokenError> {
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let issued = self.keeper.token().await?;
        Ok(self.vouched(issued))
    }

    fn vouched(&self, issued: Arc<CachedToken>) -> ServedToken {
        self.current().unwrap_or_else(|| {
            self.memory.remember(&issued);
            let expires_in = issued.remaining(self.clock.now()).min(Duration::from_secs(60));
            ServedToken { issued, expires_in }
        })
    }

    /// Which token this is, if it is the current one or one of the two before it.
    pub(crate) fn generation_of(&self, token: &AccessToken) -> Option<Generation> {
        self.memory.generation_of(token)
    }

    /// This client says that this token no longer works. Gives the current one, if that is another; else the one that
    /// comes of a refresh, within the rations.
    pub(crate) async fn report_invalid(
        &self,
        client: &str,
        failed: Option<Generation>,
    ) -> Result<ServedToken, ReportError> {
        let Some((failed, admitted)) = self.admit(client, failed) else {
            return self.token().await.map_err(ReportError::Failed);
        };
        let paid = match admitted.map_err(ReportError::Rationed)? {
            Admission::Leader => Some(ReportPermit { app: self, client, failed, started: true }),
            Admission::Follower => None,
        };
        match self.keeper.refresh(failed, Evidence::Reported).await {
            Ok(issued) => Ok(self.vouched(issued)),
            Err(error) => match error.kind() {
                TokenErrorKind::RateLimited(wait) => {
                    if let Some(mut paid) = paid {
                        paid.started = false;
                    }
                    Err(ReportError::Rationed(*wait))
                }
                _ => Err(ReportError::Failed(error)),
            },
        }
    }

    /// What becomes of a report; nothing if another token is held, so that it need not be looked into. The status is read
    /// within the turn of the rations: a refresh that is over by then is seen.
    fn admit(
        &self,
        client: &str,
        failed: Option<Generation>,
    ) -> Option<(Generation, Result<Admission, Duration>)> {
        self.memory.rations(|rations| {
            let (status, now) = (self.keeper.status(), self.clock.now());
            let held = status.usable(now)?.generation();
            let failed = failed.filter(|failed| *failed == held)?;
            Some((failed, rations.admit(client, failed, status.fetching, now.mono)))
        })
    }
}

/// A report that has paid for its refresh; ends with it, given up or not.
struct ReportPermit<'a> {
    app: &'a ManagedApp,
    client: &'a str,
    failed: Generation,
    started: bool,
}

impl Drop for ReportPermit<'_> {
    fn drop(&mut self) {
        self.app.memory.rations(|rations| rations.end(self.client, self.failed, self.started));
    }
}

fn observer(
    app: &Weak<ManagedApp>,
    appid: &AppId,
    shared: &Services,
    failing: Arc<Mutex<Option<UnixMillis>>>,
) -> impl Fn(&TokenEvent) + Send + Sync + 'static {
    let (app, appid) = (Weak::clone(app), appid.clone());
    let (metrics, clock) = (Arc::clone(&shared.metrics), Arc::clone(&shared.clock));
    move |notice| {
        metrics.record_token_event(&appid, notice);
        let mut failing = failing.lock().unwrap_or_else(PoisonError::into_inner);
        match notice {
            TokenEvent::Refreshed { .. } => {
                *failing = None;
                // Another server may hand it out while nobody asks this one.
                let _ = app.upgrade().and_then(|app| app.current());
            }
            TokenEvent::FetchFailed { .. } => {
                failing.get_or_insert_with(|| clock.now().wall);
            }
            _ => {}
        }
    }
}
