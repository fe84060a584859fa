//! One attempt to get a token: lease, store, mark, call, put. What to do and when was decided elsewhere.

use std::sync::Arc;
use std::time::Duration;

use wxsub_proto::endpoint::stable_token::StableTokenRequest;
use wxsub_proto::endpoint::token::{TokenRequest, TokenResponse};
use wxsub_proto::{AppId, AppSecret, BaseUrl};

use crate::clock::{Clock, ClockReading, MonotonicInstant, UnixMillis, timeout_at};
use crate::hosts::Hosts;
use crate::store::{CasOutcome, StoreError, StoredToken, TokenRecord, TokenStore};
use crate::token::{
    ApiKey, CachedToken, Event, FetchOutcome, FetchRequest, Generation, RefreshMode, TokenEndpoint,
    TokenErrorKind,
};
use crate::transport::{HttpRequest, Transport};

/// How long the store may take for one answer; a round asks it a few times, within its lease.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a token is offered to the store again after losing to another.
const MAX_CAS_ATTEMPTS: usize = 3;

/// What every attempt needs.
pub(super) struct TokenFetcher {
    pub(super) appid: AppId,
    pub(super) origin: Upstream,
    pub(super) hosts: Hosts,
    pub(super) endpoint: TokenEndpoint,
    pub(super) holder: String,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) store: Arc<dyn TokenStore>,
    pub(super) clock: Arc<dyn Clock>,
}

/// Who issues the tokens.
pub(super) enum Upstream {
    Weixin(AppSecret),
    /// A control server, which keeps them for others too.
    Server(ApiKey),
}

impl TokenFetcher {
    /// What the store holds, if it holds a token. One that has lost its records, or was away when the token held came, is
    /// given that.
    pub(super) async fn sync_with_store(&self, held: Option<Arc<CachedToken>>) -> Option<Event> {
        let record = self.with_store_timeout(self.store.load(&self.appid)).await.ok()?;
        let ahead = held.filter(|held| held.generation() > record.generation());
        if let Some(held) = ahead.filter(|held| held.is_valid(self.clock.now())) {
            let put = self.store.compare_and_set(&self.appid, record.generation(), self.to_store(&held));
            return match self.with_store_timeout(put).await {
                Ok(CasOutcome::Stored) => Some(Event::StorePublished {
                    generation: held.generation(),
                    replaced: record.generation(),
                }),
                // The next reading shows what it holds.
                Ok(CasOutcome::Conflict(_)) | Err(_) => None,
            };
        }
        let TokenRecord { token, in_doubt_since: lost_since, .. } = record;
        token.map(|stored| Event::StoreLoaded {
            issued: Arc::new(stored.to_issued(self.clock.now())),
            lost_since,
        })
    }

    /// Asks the store, which must not keep anybody waiting.
    async fn with_store_timeout<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let deadline = self.clock.now().mono.after(STORE_TIMEOUT);
        timeout_at(&*self.clock, deadline, work)
            .await
            .unwrap_or_else(|| Err(StoreError::new("no answer in time")))
    }

    /// Gets a token.
    pub(super) async fn execute(&self, order: &FetchRequest) -> FetchOutcome {
        match &self.origin {
            Upstream::Weixin(secret) => self.fetch_with_lease(order, secret).await,
            Upstream::Server(key) => self.ask_server(order, key).await,
        }
    }

    /// From the store if it holds a newer one than the order knows, else from Weixin.
    async fn fetch_with_lease(&self, order: &FetchRequest, secret: &AppSecret) -> FetchOutcome {
        // The store counts from when it is asked or later, and its clock may be a little faster.
        let trusted = self.clock.now().mono.after(order.lease * 5 / 6);
        let Ok(leased) =
            self.with_store_timeout(self.store.acquire_lease(&self.appid, &self.holder, order.lease)).await
        else {
            return self.fetch_without_store(order, secret).await;
        };
        let Ok(record) = self.with_store_timeout(self.store.load(&self.appid)).await else {
            return self.fetch_without_store(order, secret).await;
        };
        if let Some(outcome) = self.adopt(&record, order) {
            if leased {
                self.release_lease().await;
            }
            return outcome;
        }
        if !leased {
            return FetchOutcome::LeaseHeldByPeer;
        }
        let outcome = self.fetch(order, secret, record, trusted).await;
        match &outcome {
            FetchOutcome::Failed(failure) if failure.affects_all_peers() => {
                self.extend_lease_for_backoff(order.lease / 3).await;
            }
            _ => self.release_lease().await,
        }
        outcome
    }

    /// Without the store: what was known before this process started, or another if the order says so.
    async fn fetch_without_store(&self, order: &FetchRequest, secret: &AppSecret) -> FetchOutcome {
        let token = self.store.load_fallback(&self.appid).await;
        let remembered = TokenRecord { token, ..TokenRecord::default() };
        if let Some(outcome) = self.adopt(&remembered, order) {
            return outcome;
        }
        if !order.allow_without_lease {
            return FetchOutcome::StoreUnavailable;
        }
        let until = self.clock.now().mono.after(order.lease);
        match self.fetch(order, secret, TokenRecord::default(), until).await {
            FetchOutcome::Issued(issued) => FetchOutcome::IssuedWithoutLease(issued),
            other => other,
        }
    }

    /// A newer token that somebody else has fetched makes the call unnecessary.
    fn adopt(&self, record: &TokenRecord, order: &FetchRequest) -> Option<FetchOutcome> {
        let now = self.clock.now();
        let issued = record.token.as_ref()?.to_issued(now);
        let rejected = order.rejected.as_ref().is_some_and(|rejected| rejected.token().ct_eq(issued.token()));
        let newer = issued.generation() > order.known && issued.is_valid(now) && !rejected;
        let lost_since = record.in_doubt_since;
        newer.then(|| FetchOutcome::Adopted { issued: Arc::new(issued), lost_since, lost_race: false })
    }

    /// Fetches while the lease can be trusted.
    async fn fetch(
        &self,
        order: &FetchRequest,
        secret: &AppSecret,
        record: TokenRecord,
        trusted: MonotonicInstant,
    ) -> FetchOutcome {
        let asked = self.clock.now();
        if order.mode == RefreshMode::Forced
            && !self
                .with_store_timeout(self.store.try_acquire_force_refresh(&self.appid, asked.wall))
                .await
                .unwrap_or(false)
        {
            return FetchOutcome::Failed(TokenErrorKind::RejectedTokenReissued);
        }
        self.mark(asked.wall).await;
        if self.clock.now().mono >= trusted {
            // This process was stopped for a while, or the store was slow: somebody else may be fetching by now.
            self.unmark(asked.wall).await;
            return FetchOutcome::LeaseHeldByPeer;
        }
        let deadline = asked.mono.after(order.timeout).min(trusted);
        let replied =
            timeout_at(&*self.clock, deadline, self.call(secret, order.mode)).await.unwrap_or_else(|| {
                let now = self.clock.now().mono;
                self.hosts.failed(self.hosts.preferred(now), now);
                Err(TokenErrorKind::TimedOut)
            });
        match replied {
            Ok(reply) => self.publish(order, record, &reply, asked).await,
            Err(failure) => {
                if !failure.may_have_taken_effect() {
                    self.unmark(asked.wall).await;
                }
                FetchOutcome::Failed(failure)
            }
        }
    }

    /// The one exchange with Weixin, at the first host that can be reached. Whatever else goes wrong, the next attempt goes to
    /// the next host.
    async fn call(&self, own: &AppSecret, mode: RefreshMode) -> Result<TokenResponse, TokenErrorKind> {
        let mut hosts_left = self.hosts.bases().count();
        loop {
            let base = self.hosts.preferred(self.clock.now().mono);
            let called = self.call_host(base, own, mode).await;
            let Err(failure) = &called else { return called };
            if failure.may_pass_at_another_host() {
                self.hosts.failed(base, self.clock.now().mono);
            }
            hosts_left -= 1;
            if hosts_left == 0 || !failure.is_unsent() {
                return called;
            }
        }
    }

    async fn call_host(
        &self,
        base: &BaseUrl,
        own: &AppSecret,
        mode: RefreshMode,
    ) -> Result<TokenResponse, TokenErrorKind> {
        let (appid, secret) = (self.appid.clone(), own.clone());
        let outgoing = match (self.endpoint, mode) {
            (TokenEndpoint::Token, _) => HttpRequest::new(base, TokenRequest::new(appid, secret).encode()),
            (TokenEndpoint::StableToken, mode) => {
                let request = StableTokenRequest::new(appid, secret);
                let request = if mode == RefreshMode::Forced { request.force_refresh() } else { request };
                HttpRequest::new(base, request.encode())
            }
        };
        let exchange = self.transport.execute(outgoing.map_err(TokenErrorKind::Transport)?);
        let raw = exchange.await.map_err(TokenErrorKind::Transport)?;
        match TokenResponse::parse(raw.status, &raw.body).map_err(TokenErrorKind::Unreadable)? {
            Ok(reply) => Ok(reply),
            Err(refusal) => Err(TokenErrorKind::Refused(refusal.redact(own.expose_secret()))),
        }
    }

    /// Puts the token into the store. Whoever finds a newer one there adopts that. With `/cgi-bin/token` it is then as
    /// uncertain as after a lost reply, since Weixin may have issued the two in the other order.
    async fn publish(
        &self,
        order: &FetchRequest,
        mut record: TokenRecord,
        reply: &TokenResponse,
        asked: ClockReading,
    ) -> FetchOutcome {
        for _ in 0..MAX_CAS_ATTEMPTS {
            let known = order.known.max(record.generation());
            let generation = match &record.token {
                // The same token again is no new generation, unless the store has lost a newer one meanwhile.
                Some(stored) if stored.token.ct_eq(&reply.access_token) && stored.generation == known => {
                    known
                }
                _ => known.next(asked.wall),
            };
            let issued = CachedToken::new(reply.access_token.clone(), generation, asked, reply.expires_in);
            if generation == record.generation() {
                self.unmark(asked.wall).await;
                return FetchOutcome::Issued(Arc::new(issued));
            }
            let put = self.store.compare_and_set(&self.appid, record.generation(), self.to_store(&issued));
            match self.with_store_timeout(put).await {
                Ok(CasOutcome::Conflict(newer)) if newer.generation() > record.generation() => record = newer,
                Ok(CasOutcome::Stored) => return FetchOutcome::Issued(Arc::new(issued)),
                // A store that cannot be reached, or has lost its records, does not make the token less good.
                Ok(CasOutcome::Conflict(_)) | Err(_) => {
                    return FetchOutcome::IssuedWithoutLease(Arc::new(issued));
                }
            }
            if let Some(FetchOutcome::Adopted { issued, lost_since, .. }) = self.adopt(&record, order) {
                let raced = self.endpoint == TokenEndpoint::Token;
                return FetchOutcome::Adopted { issued, lost_since, lost_race: raced };
            }
        }
        let known: Generation = order.known.max(record.generation());
        let issued =
            CachedToken::new(reply.access_token.clone(), known.next(asked.wall), asked, reply.expires_in);
        FetchOutcome::IssuedWithoutLease(Arc::new(issued))
    }

    /// As others are to know it. Where the wall clock was set back, the other clock says how old it is. A token of unknown age
    /// goes back as it was found.
    fn to_store(&self, issued: &CachedToken) -> StoredToken {
        if !issued.has_known_age() {
            return StoredToken::from(issued);
        }
        let now = self.clock.now();
        let asked = now.wall.before(issued.lifetime().saturating_sub(issued.remaining(now)));
        let (token, generation) = (issued.token().clone(), issued.generation());
        StoredToken::new(token, generation, asked.min(issued.requested_at()), issued.lifetime())
    }

    /// From here until the reply is read, the token held may be ended without anybody knowing.
    async fn mark(&self, since: UnixMillis) {
        if self.endpoint == TokenEndpoint::Token {
            let _ = self.with_store_timeout(self.store.set_in_doubt(&self.appid, since)).await;
        }
    }

    async fn unmark(&self, since: UnixMillis) {
        if self.endpoint == TokenEndpoint::Token {
            let _ = self.with_store_timeout(self.store.clear_in_doubt(&self.appid, since)).await;
        }
    }

    /// The others would fare no better now. This process may try again sooner, at its own pace; if it does not, they may.
    async fn extend_lease_for_backoff(&self, span: Duration) {
        let _ = self.with_store_timeout(self.store.acquire_lease(&self.appid, &self.holder, span)).await;
    }

    async fn release_lease(&self) {
        // A lease that cannot be given back ends by itself.
        let _ = self.with_store_timeout(self.store.release_lease(&self.appid, &self.holder)).await;
    }
}
