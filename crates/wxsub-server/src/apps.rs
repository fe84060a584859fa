//! One app: its token cache, its client, and the tokens that were served.

mod expiry;
mod history;
mod load;
mod open_files;
mod outbox;
mod probe;
mod problems;
mod report_limiter;
mod send;
mod server_state;
mod token_service;
mod webhooks;

use std::borrow::Cow;
use std::sync::{Arc, Weak};
use std::time::Duration;

use wxsub_api::{AppError, AppHealth, AppStatus, StoreProblem};
use wxsub_core::Client;
use wxsub_core::clock::{Clock, ClockReading};
use wxsub_core::rfc3339;
use wxsub_core::store::{TokenFallback, TokenStore};
use wxsub_core::token::{
    AttemptLimit, CachedToken, Evidence, Generation, TokenCache, TokenError, TokenErrorKind, TokenEvent,
    TokenSource, TokenStatus,
};
use wxsub_core::transport::Transport;
use wxsub_outbox::Ledger;
use wxsub_proto::{ApiError, AppId, Language, LocalizedText, localized_text};

pub(crate) use self::expiry::certificate_warning;
use self::history::TokenHistory;
pub(crate) use self::history::{ServedToken, TokenDigest};
pub(crate) use self::load::{Load, RequestPermit};
pub(crate) use self::outbox::{ServerOutbox, Workers, check_note};
use self::probe::Probe;
use self::report_limiter::Admission;
pub(crate) use self::send::{OutboxFailure, SendJob, SendOutcome, current};
pub use self::send::{failed_send, stored_send};
pub(crate) use self::server_state::{
    ConfigSnapshot, MAX_APP_READS, MAX_KEYLESS_BODIES, MAX_KEYLESS_REQUESTS, ServerState, SharedState,
};
use self::token_service::TokenService;
pub(crate) use self::webhooks::redeliver;
use crate::config::{AppConfig, TokenOrigin};
use crate::state::metrics::{Metrics, TokenGauges};

/// Maximum number of attempts at once to get a token. More would hold up token reads when all apps are due together.
pub(crate) const MAX_ATTEMPTS: usize = 32;

/// The services that all apps of a server share.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<dyn TokenStore>,
    /// Keeps the last tokens for a start while the store fails.
    pub(crate) fallback: Option<Arc<dyn TokenFallback>>,
    pub(crate) metrics: Arc<Metrics>,
    /// Replaces the transports of the configuration.
    pub(crate) transport: Option<Arc<dyn Transport>>,
    pub(crate) attempt_limit: AttemptLimit,
    pub(crate) ledger: Option<Arc<dyn Ledger>>,
}

/// A configured app with its running token cache.
pub(crate) struct ManagedApp {
    pub(crate) config: AppConfig,
    tokens: Arc<AppTokens>,
    client: Client,
    probe: Arc<Probe>,
    /// The load of callers that present an access token of the app.
    pub(crate) load: Arc<Load>,
    clock: Arc<dyn Clock>,
}

/// The tokens of an app. A reload keeps them if they come from the same token service: there is no store to load them from.
struct AppTokens {
    cache: TokenCache,
    history: Arc<TokenHistory>,
    /// Where the tokens come from. `None` for Weixin.
    service: Option<Arc<TokenService>>,
    clock: Arc<dyn Clock>,
}

/// Why a report, or a token request, returns no token.
#[derive(Debug, Clone)]
pub(crate) enum ReportError {
    /// The rate limit of the client or of the app is reached. Retry after this duration.
    RateLimited(Duration),
    /// Fetching failed.
    Failed(TokenError),
    /// No token was available before the deadline of the request.
    TimedOut,
}

impl ReportError {
    /// The name in audit and metrics.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::RateLimited(_) => "rate_limited",
            Self::Failed(_) | Self::TimedOut => "no_token",
        }
    }
}

/// Why there is no token, in a text for clients. The details of a failed connection are in log and status only.
pub(crate) fn public_reason(error: &TokenError) -> String {
    match error.kind() {
        TokenErrorKind::Transport(error) => format!("no usable access token: {}", error.kind()),
        TokenErrorKind::StoreUnavailable(error) => {
            format!("no usable access token: {}", error.kind().localized())
        }
        _ => error.to_string(),
    }
}

impl ManagedApp {
    /// Starts the app. `before` is its instance before a reload.
    pub(crate) fn new(config: AppConfig, services: &Services, before: Option<&Self>) -> Arc<Self> {
        let transport = services.transport.as_ref().unwrap_or(&config.transport);
        let tokens = before.and_then(|before| before.keep_tokens(&config, services)).unwrap_or_else(|| {
            let history = before.map(|before| Arc::clone(&before.tokens.history)).unwrap_or_default();
            AppTokens::new(&config, services, history)
        });
        let client = Client::with_token_source(tokens.cache.clone(), Arc::clone(transport))
            .api_bases(config.bases.clone())
            .clock(Arc::clone(&services.clock))
            .build();
        let (base, clock) = (config.bases.first().clone(), Arc::clone(&services.clock));
        let probe = Arc::new(Probe::new(Arc::clone(transport), base, Arc::clone(&clock)));
        Arc::new(Self { config, tokens, client, probe, load: Arc::default(), clock })
    }

    /// The tokens, if those of this configuration come from the same service. Without a valid token, a service with other settings
    /// is asked at once, by another token cache.
    fn keep_tokens(&self, config: &AppConfig, services: &Services) -> Option<Arc<AppTokens>> {
        let (TokenOrigin::Service(old), TokenOrigin::Service(new)) = (&self.config.tokens, &config.tokens)
        else {
            return None;
        };
        let has_token = || self.tokens.cache.status().usable(self.clock.now()).is_some();
        if old.url != new.url || !(old.is_same(new) || has_token()) {
            return None;
        }
        self.tokens.service.as_ref()?.set_config(new, services.transport.as_ref());
        Some(Arc::clone(&self.tokens))
    }

    pub(crate) fn token_cache(&self) -> &TokenCache {
        &self.tokens.cache
    }

    /// Whether the tokens are those of this instance, which a reload has replaced.
    pub(crate) fn has_same_tokens(&self, before: &Self) -> bool {
        Arc::ptr_eq(&self.tokens, &before.tokens)
    }

    pub(crate) fn appid(&self) -> &AppId {
        &self.config.appid
    }

    /// The current token, if it is usable. Does not wait.
    pub(crate) fn current(&self) -> Option<ServedToken> {
        self.tokens.current()
    }

    /// A usable token. Waits for a fetch if there is none.
    pub(crate) async fn token(&self) -> Result<ServedToken, ReportError> {
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let cached = self.tokens.cache.token().await.map_err(|error| self.failed(error))?;
        Ok(self.serve(cached))
    }

    /// A usable token for a client that has no way to report a rejected one.
    ///
    /// Such a client requests a token again after a 40001. So a request before the ttl of the last one ends is a sign
    /// that Weixin may reject it, and the token is probed first. `force_refresh` is a report of the token that the
    /// client was served last, or of the current one if it was served none.
    pub(crate) async fn token_or_probe(
        &self,
        client: &str,
        force_refresh: bool,
    ) -> Result<ServedToken, ReportError> {
        let current = self.current();
        let served = if force_refresh {
            let held = current.as_ref().map(|current| current.cached.generation());
            self.report_invalid(client, self.tokens.history.last_served(client).or(held)).await
        } else {
            match current {
                Some(current)
                    if !self.tokens.history.within_ttl(
                        client,
                        current.cached.generation(),
                        self.clock.now(),
                    ) =>
                {
                    Ok(current)
                }
                current => {
                    if let Some(current) = current {
                        self.probe.check(&self.tokens.cache, current.cached).await;
                    }
                    self.token().await
                }
            }
        };
        served.inspect(|served| self.tokens.history.record_served(client, served, self.clock.now()))
    }

    /// The current status: for the list of apps and the readiness.
    pub(crate) fn status(&self, now: ClockReading) -> AppStatus {
        let status = self.tokens.cache.status();
        let error = status.failure.as_ref().map(|error| {
            let cause = self.name_service(error, error.kind().localized());
            AppError {
                text: cause.in_language(Language::English),
                text_zh: cause.in_language(Language::Chinese),
                errcode: error.api_error().map(ApiError::errcode),
                rid: error.api_error().and_then(ApiError::trace_id).cloned(),
                ip: error.api_error().and_then(ApiError::blocked_ip),
                remedy: error.remedy(),
                since: status.failing_since.map(rfc3339::format),
            }
        });
        let token = status.usable(now);
        let in_doubt = status.is_in_doubt(now);
        let is_certain = !in_doubt && status.in_doubt_from.is_none() && status.store_problem.is_none();
        let state = match (token, &error) {
            (Some(_), None) if is_certain => AppHealth::Ok,
            (Some(_), _) => AppHealth::Degraded,
            (None, None) => AppHealth::Starting,
            (None, Some(_)) => AppHealth::Down,
        };
        AppStatus {
            appid: self.appid().clone(),
            state,
            token_endpoint: Cow::Borrowed(self.config.tokens.as_str()),
            generation: token.map(|token| token.generation().get()),
            expires_in: token.map(|_| ttl(&status, now).as_secs()),
            in_doubt,
            in_doubt_from: token.and(status.in_doubt_from).map(|from| rfc3339::format(from.wall)),
            state_file_broken: false,
            store: status.store_problem.as_ref().map(|problem| StoreProblem {
                kind: Cow::Borrowed(problem.error.kind().as_str()),
                text: problem.error.to_string(),
                remedy: problem.error.remedy(),
                since: rfc3339::format(problem.since),
            }),
            error,
            outbox: None,
        }
    }

    /// What the metrics have of the current status.
    pub(crate) fn gauges(&self, now: ClockReading) -> TokenGauges {
        let status = self.tokens.cache.status();
        let token = status.usable(now);
        TokenGauges {
            appid: self.appid().clone(),
            expires_in: token.map_or(0, |_| ttl(&status, now).as_secs()),
            generation: token.map_or(0, |token| token.generation().get()),
            in_doubt: status.is_in_doubt(now),
            in_doubt_from: token.and(status.in_doubt_from).map(|from| from.wall).unwrap_or_default(),
            store_problem: status.store_problem.as_ref().map(|problem| problem.error.kind()),
        }
    }

    /// Names the token service in the cause of an error that does not name it.
    fn name_service(&self, error: &TokenError, cause: LocalizedText<String>) -> LocalizedText<String> {
        let is_nameless = matches!(
            error.kind(),
            TokenErrorKind::Refused(_)
                | TokenErrorKind::Transport(_)
                | TokenErrorKind::TimedOut
                | TokenErrorKind::ExpiredOnArrival
        );
        match &self.config.tokens {
            TokenOrigin::Service(_) if is_nameless => {
                localized_text!("the token service: {cause}", "token 服务：{cause}"; cause)
            }
            _ => cause,
        }
    }

    /// The error for a client. It names the token service, without the details of a failed connection.
    fn failed(&self, error: TokenError) -> ReportError {
        let kind = match (&self.config.tokens, error.kind()) {
            (TokenOrigin::Weixin { .. }, _) | (_, TokenErrorKind::Refused(_)) => {
                return ReportError::Failed(error);
            }
            (_, TokenErrorKind::Transport(failure)) => failure.kind().localized(),
            (_, kind) => kind.localized(),
        };
        let (text, remedy) = (self.name_service(&error, kind), error.remedy());
        ReportError::Failed(TokenError::new(TokenErrorKind::Upstream { text, remedy }, error.retry_after()))
    }

    fn serve(&self, cached: Arc<CachedToken>) -> ServedToken {
        self.current().unwrap_or_else(|| {
            self.tokens.history.remember(&cached);
            let expires_in = cached.remaining(self.clock.now()).min(Duration::from_secs(60));
            ServedToken { cached, expires_in }
        })
    }

    /// The generation of the token with this digest, if it is the current one or one of the two before it.
    pub(crate) fn generation_of(&self, token: TokenDigest) -> Option<Generation> {
        self.tokens.history.generation_of(token)
    }

    /// Handles a client's report that Weixin rejects a token.
    ///
    /// Returns the current token if it is another one. Otherwise refreshes, within the rate limit.
    pub(crate) async fn report_invalid(
        &self,
        client: &str,
        failed: Option<Generation>,
    ) -> Result<ServedToken, ReportError> {
        let Some((failed, admission)) = self.admit(client, failed) else {
            return self.token().await;
        };
        let permit = match admission.map_err(ReportError::RateLimited)? {
            Admission::Leader => Some(ReportPermit { app: self, client, failed, started: true }),
            Admission::Follower => None,
        };
        match self.tokens.cache.refresh(failed, Evidence::Reported).await {
            Ok(cached) => Ok(self.serve(cached)),
            Err(error) => match error.kind() {
                TokenErrorKind::RateLimited(wait) => {
                    if let Some(mut permit) = permit {
                        permit.started = false;
                    }
                    Err(ReportError::RateLimited(*wait))
                }
                TokenErrorKind::StoreUnavailable(_) => self.probe_reported(failed, error).await,
                // The service has heard of no rejection yet. It hears only of one that Weixin confirms.
                TokenErrorKind::TokenUnchanged { .. }
                    if matches!(self.config.tokens, TokenOrigin::Service(_)) =>
                {
                    self.probe_reported(failed, error).await
                }
                _ => Err(self.failed(error)),
            },
        }
    }

    /// Asks Weixin whether the reported token works, because the store cannot tell whether a peer has a newer one, or the
    /// token service returned it again. A rejection is believed, and another token fetched.
    async fn probe_reported(
        &self,
        failed: Generation,
        error: TokenError,
    ) -> Result<ServedToken, ReportError> {
        let held = || self.current().filter(|current| current.cached.generation() == failed);
        if let Some(current) = held() {
            self.probe.check(&self.tokens.cache, current.cached).await;
        }
        match held() {
            Some(_) => Err(self.failed(error)),
            None => self.token().await,
        }
    }

    /// Admits a report of the current token; `None` if the report concerns another token.
    ///
    /// The status is read while the limiter is locked, so a refresh that has just finished is seen.
    fn admit(
        &self,
        client: &str,
        failed: Option<Generation>,
    ) -> Option<(Generation, Result<Admission, Duration>)> {
        self.tokens.history.with_limiter(|limiter| {
            let (status, now) = (self.tokens.cache.status(), self.clock.now());
            let held = status.usable(now)?.generation();
            let failed = failed.filter(|failed| *failed == held)?;
            Some((failed, limiter.admit(client, failed, status.fetching, now.mono)))
        })
    }
}

/// The `expires_in` of API and metrics: how long a client may cache the current token. Clients expect at least 1 s.
fn ttl(status: &TokenStatus, now: ClockReading) -> Duration {
    status.safe_ttl(now).max(Duration::from_secs(1))
}

/// The permit of a report that starts a refresh. Dropping it ends the report, also on cancellation.
struct ReportPermit<'a> {
    app: &'a ManagedApp,
    client: &'a str,
    failed: Generation,
    started: bool,
}

impl Drop for ReportPermit<'_> {
    fn drop(&mut self) {
        self.app
            .tokens
            .history
            .with_limiter(|limiter| limiter.finish(self.client, self.failed, self.started));
    }
}

impl AppTokens {
    #[expect(clippy::expect_used, reason = "AppID and AppSecret are validated types")]
    fn new(config: &AppConfig, services: &Services, history: Arc<TokenHistory>) -> Arc<Self> {
        let (clock, limit) = (&services.clock, &services.attempt_limit);
        Arc::new_cyclic(|tokens| {
            let observe = observer(tokens, &config.appid, &services.metrics);
            let (cache, service) = match &config.tokens {
                TokenOrigin::Weixin { secret, endpoint } => {
                    let transport = services.transport.as_ref().unwrap_or(&config.transport);
                    let builder =
                        TokenCache::builder(config.appid.clone(), secret.clone(), Arc::clone(transport))
                            .api_bases(config.bases.clone())
                            .endpoint(*endpoint)
                            .store(Arc::clone(&services.store));
                    let builder = match &services.fallback {
                        Some(fallback) => builder.fallback(Arc::clone(fallback)),
                        None => builder,
                    };
                    let builder = builder.clock(Arc::clone(clock)).attempt_limit(limit.clone());
                    (builder.on_event(observe).build().expect("a validated AppID and AppSecret"), None)
                }
                TokenOrigin::Service(service) => {
                    let service = Arc::new(TokenService::new(
                        config.appid.clone(),
                        service,
                        services.transport.as_ref(),
                        clock,
                    ));
                    let builder = TokenCache::from_upstream(Arc::clone(&service));
                    let builder = builder.clock(Arc::clone(clock)).attempt_limit(limit.clone());
                    (builder.on_event(observe).build(), Some(service))
                }
            };
            Self { cache, history, service, clock: Arc::clone(clock) }
        })
    }

    /// The current token, if it is usable. Does not wait.
    fn current(&self) -> Option<ServedToken> {
        let (status, now) = (self.cache.status(), self.clock.now());
        let cached = Arc::clone(status.usable(now)?);
        self.history.remember(&cached);
        Some(ServedToken { cached, expires_in: ttl(&status, now) })
    }
}

fn observer(
    tokens: &Weak<AppTokens>,
    appid: &AppId,
    metrics: &Arc<Metrics>,
) -> impl Fn(&TokenEvent) + Send + Sync + 'static {
    let (tokens, appid, metrics) = (Weak::clone(tokens), appid.clone(), Arc::clone(metrics));
    move |event| {
        metrics.record_token_event(&appid, event);
        if matches!(event, TokenEvent::Refreshed { .. }) {
            // A client may get this token from a peer and present it here, so the history records it now.
            let _ = tokens.upgrade().and_then(|tokens| tokens.current());
        }
    }
}
