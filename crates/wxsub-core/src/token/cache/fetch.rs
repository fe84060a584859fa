//! Carries out one attempt to get a token: lease, store, marker, call, publish.
//! [`RefreshState`](crate::token::RefreshState) decides when.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use wxsub_proto::{AccessToken, AppId};

use crate::clock::{Clock, ClockReading, MonotonicInstant, UnixMillis, timeout_at};
use crate::store::{
    CasOutcome, LeaseOutcome, OwnUpstream, StoreError, StoreErrorKind, StoredToken, TokenFallback,
    TokenRecord, TokenStore,
};
use crate::token::{
    AttemptLimit, CachedToken, Event, FetchOutcome, FetchRequest, FetchedToken, Generation, RefreshMode,
    TokenErrorKind, TokenUpstream, UpstreamBehavior, UpstreamRequest,
};

/// Timeout of one store operation. An attempt makes several of them within its lease.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// Timeout of the first read of an attempt. The store may have to connect before, and nothing is leased yet.
const FIRST_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of writes to the store when peers write at the same time.
const MAX_CAS_ATTEMPTS: usize = 3;

/// What every attempt needs.
pub(super) struct TokenFetcher {
    pub(super) appid: AppId,
    pub(super) upstream: Arc<dyn TokenUpstream>,
    pub(super) behavior: UpstreamBehavior,
    /// Identifies the upstream in the record.
    pub(super) own_upstream: Option<OwnUpstream>,
    /// The name of this token cache as the holder of a lease.
    pub(super) holder: String,
    pub(super) store: Arc<dyn TokenStore>,
    pub(super) fallback: Option<Arc<dyn TokenFallback>>,
    pub(super) attempt_limit: Option<AttemptLimit>,
    pub(super) clock: Arc<dyn Clock>,
    /// The token that the running attempt stores. The end of the attempt says that this process fetched it, so a read that shows
    /// it before is no news of a peer.
    pub(super) publishing: Mutex<Option<AccessToken>>,
}

impl TokenFetcher {
    /// Reads the record. Writes to it if the store is behind, after data loss or an outage, or if generations contradict
    /// the times of the requests. `is_unleased`: the current token was fetched without lease and is not stored yet.
    pub(super) async fn sync_with_store(
        &self,
        current: Option<Arc<CachedToken>>,
        is_unleased: bool,
    ) -> Event {
        let record = match self.load(STORE_TIMEOUT).await {
            Ok(record) => record,
            Err(error) => return Event::StoreReadFailed(error),
        };
        let now = self.clock.now();
        let replaces = record.generation();
        let TokenRecord { token: stored, in_doubt_since, other_endpoint, broken, .. } = record;
        if let Some(current) = current.filter(|current| current.is_valid(now)) {
            let is_ahead = current.generation() > replaces;
            let is_later = |one: &CachedToken, other: &CachedToken| one.was_requested_after(other, now);
            let raised = match &stored {
                Some(stored) if is_ahead && is_later(&stored.to_cached(now), &current) => {
                    Some(stored.raised_above(current.generation()))
                }
                Some(stored) if is_unleased && !is_ahead && is_later(&current, &stored.to_cached(now)) => {
                    Some(self.to_store(&current).raised_above(replaces))
                }
                _ => None,
            };
            if is_ahead || raised.is_some() {
                let new = raised.clone().unwrap_or_else(|| self.to_store(&current)).keeping_marker();
                let write = self.store.compare_and_set(&self.appid, replaces, new);
                let written = self.within(STORE_TIMEOUT, write).await;
                // The marker of the fetch that returned this token.
                let own_marker = in_doubt_since.filter(|since| *since == current.requested_at());
                if let (Ok(CasOutcome::Stored), Some(since)) = (&written, own_marker) {
                    self.clear_in_doubt(since).await;
                }
                return match (written, raised) {
                    (Ok(CasOutcome::Stored), Some(raised)) => {
                        let token = Arc::new(raised.to_cached(now));
                        let in_doubt_since = in_doubt_since.filter(|_| own_marker.is_none());
                        Event::StoreLoaded { token, in_doubt_since, other_endpoint }
                    }
                    (Ok(CasOutcome::Stored), None) => {
                        Event::StorePublished { generation: current.generation(), replaced: replaces }
                    }
                    // The next read shows the record.
                    (Ok(CasOutcome::Conflict(_)) | Err(_), _) => Event::Timer,
                };
            }
        }
        let is_own = |stored: &StoredToken| {
            self.publishing.lock().as_ref().is_some_and(|own| own.ct_eq(&stored.token))
        };
        match (stored, broken) {
            (Some(stored), _) if is_own(&stored) => Event::Timer,
            (Some(stored), _) => {
                let token = Arc::new(stored.to_cached(now));
                Event::StoreLoaded { token, in_doubt_since, other_endpoint }
            }
            (None, Some(error)) => Event::RecordBroken(error),
            (None, None) => Event::StoreEmpty,
        }
    }

    /// Loads the record, if it belongs to our upstream.
    async fn load(&self, timeout: Duration) -> Result<TokenRecord, StoreError> {
        let record = self.within(timeout, self.store.load(&self.appid)).await?;
        record.of_upstream(self.own_upstream.as_ref(), self.clock.now())
    }

    /// Keeps the current token for a start while the store fails.
    pub(super) fn save_fallback(&self, current: &CachedToken) {
        if let Some(fallback) = &self.fallback {
            fallback.save(&self.appid, self.to_store(current));
        }
    }

    /// Runs a store operation.
    async fn within<T>(
        &self,
        timeout: Duration,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let deadline = self.clock.now().mono + timeout;
        timeout_at(&*self.clock, deadline, work)
            .await
            .unwrap_or_else(|| Err(StoreError::new(StoreErrorKind::Unreachable, "no response in time")))
    }

    /// Carries out the attempt, within the limit of attempts at once.
    pub(super) async fn execute(&self, request: &FetchRequest) -> FetchOutcome {
        let start = || match self.behavior.needs_store {
            true => self.fetch_with_lease(request).boxed(),
            false => self.fetch_directly(request).boxed(),
        };
        let outcome = match &self.attempt_limit {
            Some(limit) => limit.run(&*self.clock, start).await,
            None => start().await,
        };
        *self.publishing.lock() = None;
        outcome
    }

    /// Fetches a token from an upstream that needs neither lease nor store.
    async fn fetch_directly(&self, request: &FetchRequest) -> FetchOutcome {
        let started_at = self.clock.now();
        match self.call(request, started_at.mono + request.timeout).await {
            Ok(FetchedToken { token, lifetime, generation }) => {
                let generation = generation.unwrap_or_else(|| request.known.next(started_at.wall));
                FetchOutcome::Issued(Arc::new(CachedToken::new(token, generation, started_at, lifetime)))
            }
            Err(failure) => FetchOutcome::Failed(failure),
        }
    }

    /// Adopts a newer stored token, or else fetches one with the lease.
    async fn fetch_with_lease(&self, request: &FetchRequest) -> FetchOutcome {
        // A process that cannot read the record takes no lease, because peers that can would wait for it.
        let record = match self.load(FIRST_READ_TIMEOUT).await {
            Ok(record) => record,
            Err(error) => return self.fetch_without_store(request, error).await,
        };
        if let Some(outcome) = self.adopt(&record, request) {
            return outcome;
        }
        // The lease begins in the store after this time. The clock of the store may run a little faster.
        let valid_until = self.clock.now() + request.lease * 5 / 6;
        match self.acquire_lease(request.lease).await {
            Ok(LeaseOutcome::Acquired) => {}
            Ok(LeaseOutcome::HeldBy(holder)) => {
                return FetchOutcome::LeaseHeldByPeer { holder: Some(holder) };
            }
            Err(error) => return self.fetch_without_store(request, error).await,
        }
        let valid_until = Mutex::new(valid_until);
        let outcome = tokio::select! {
            biased;
            outcome = self.fetch_as_holder(request, &valid_until) => outcome,
            never = self.renew_lease(request.lease, &valid_until) => match never {},
        };
        match &outcome {
            FetchOutcome::Failed(failure) if failure.affects_all_peers() => {
                // Peers back off. This process may try again sooner.
                let _ = self.acquire_lease(request.backoff_lease).await;
            }
            _ => self.release_lease().await,
        }
        outcome
    }

    /// Reads the record again under the lease. Adopts a token that a peer stored meanwhile, or else fetches one.
    async fn fetch_as_holder(
        &self,
        request: &FetchRequest,
        lease_valid_until: &Mutex<ClockReading>,
    ) -> FetchOutcome {
        match self.load(STORE_TIMEOUT).await {
            Ok(record) => match self.adopt(&record, request) {
                Some(outcome) => outcome,
                None => self.fetch(request, Some(record), Some(lease_valid_until)).await,
            },
            Err(error) => self.fetch_without_store(request, error).await,
        }
    }

    /// Renews the lease until it is dropped, or until the lease may have expired.
    async fn renew_lease(&self, length: Duration, valid_until: &Mutex<ClockReading>) -> Infallible {
        loop {
            self.clock.sleep_until(self.clock.now().mono + length / 3).await;
            let now = self.clock.now();
            if valid_until.lock().is_past(now) {
                return pending().await;
            }
            if matches!(self.acquire_lease(length).await, Ok(LeaseOutcome::Acquired)) {
                *valid_until.lock() = now + length * 5 / 6;
            }
        }
    }

    /// Adopts the last token that this process knew, or else fetches one if the request allows it.
    async fn fetch_without_store(&self, request: &FetchRequest, error: StoreError) -> FetchOutcome {
        let token = match &self.fallback {
            Some(fallback) => fallback.load(&self.appid).await,
            None => None,
        };
        let record = TokenRecord { token, ..TokenRecord::default() };
        let adopted = record.of_upstream(self.own_upstream.as_ref(), self.clock.now());
        if let Some(outcome) = adopted.ok().and_then(|record| self.adopt(&record, request)) {
            return outcome;
        }
        if !request.allow_without_lease {
            return FetchOutcome::StoreUnavailable(error);
        }
        let record = (error.kind() != StoreErrorKind::OtherUpstream).then(TokenRecord::default);
        match self.fetch(request, record, None).await {
            FetchOutcome::Issued(token) => FetchOutcome::IssuedWithoutLease(token, error),
            outcome => outcome,
        }
    }

    /// Returns a newer stored token, which makes the fetch unnecessary.
    fn adopt(&self, record: &TokenRecord, request: &FetchRequest) -> Option<FetchOutcome> {
        let now = self.clock.now();
        let token = record.token.as_ref()?.to_cached(now);
        let rejected =
            request.rejected.as_ref().is_some_and(|rejected| rejected.token().ct_eq(token.token()));
        let is_older =
            request.unleased.as_ref().is_some_and(|unleased| unleased.was_requested_after(&token, now));
        let is_newer = token.generation() > request.known && token.is_valid(now) && !rejected && !is_older;
        let in_doubt_since = record.in_doubt_since;
        is_newer.then(|| FetchOutcome::Adopted { token: Arc::new(token), in_doubt_since, lost_race: false })
    }

    /// Fetches a token and publishes it. With a lease, calls nothing once that may have expired.
    ///
    /// `record` is `None` if the record belongs to another upstream. The call invalidates no token there, so the record
    /// gets no marker, and does not count a forced refresh.
    async fn fetch(
        &self,
        request: &FetchRequest,
        record: Option<TokenRecord>,
        lease_valid_until: Option<&Mutex<ClockReading>>,
    ) -> FetchOutcome {
        let started_at = self.clock.now();
        let is_own_record = record.is_some();
        if request.mode == RefreshMode::Forced {
            let permit = self.store.try_acquire_force_refresh(&self.appid, started_at.wall);
            if !is_own_record || !self.within(STORE_TIMEOUT, permit).await.unwrap_or(false) {
                let upstream = self.behavior.name;
                return FetchOutcome::Failed(TokenErrorKind::RejectedTokenReissued { upstream });
            }
        }
        if is_own_record {
            self.set_in_doubt(started_at.wall).await;
        }
        if lease_valid_until.is_some_and(|valid_until| valid_until.lock().is_past(self.clock.now())) {
            // The process or the machine was suspended, or the store was slow. A peer may be fetching by now.
            self.clear_in_doubt(started_at.wall).await;
            return FetchOutcome::LeaseHeldByPeer { holder: None };
        }
        match self.call(request, started_at.mono + request.timeout).await {
            Ok(fetched) => self.publish(request, record.unwrap_or_default(), &fetched, started_at).await,
            Err(failure) => {
                if is_own_record && !failure.may_have_taken_effect() {
                    self.clear_in_doubt(started_at.wall).await;
                }
                FetchOutcome::Failed(failure)
            }
        }
    }

    /// Calls the upstream once, within the deadline.
    async fn call(
        &self,
        request: &FetchRequest,
        deadline: MonotonicInstant,
    ) -> Result<FetchedToken, TokenErrorKind> {
        // An older rejected token was reported before.
        let rejected = request.rejected.as_ref().filter(|rejected| rejected.generation() == request.known);
        let rejected = rejected.map(|rejected| rejected.token());
        let fetch = self.upstream.fetch(UpstreamRequest { mode: request.mode, rejected });
        timeout_at(&*self.clock, deadline, fetch).await.unwrap_or_else(|| {
            self.upstream.on_timeout();
            Err(TokenErrorKind::TimedOut)
        })
    }

    /// Writes the token to the store, or adopts a newer one that is there. If a fetch invalidates the previous token, an
    /// adopted one is then in doubt, because Weixin may have issued the two in the other order. A stored token of a lower
    /// generation that was requested later than ours is newer: it gets the generation of ours.
    async fn publish(
        &self,
        request: &FetchRequest,
        mut record: TokenRecord,
        fetched: &FetchedToken,
        started_at: ClockReading,
    ) -> FetchOutcome {
        *self.publishing.lock() = Some(fetched.token.clone());
        let lost_race = self.behavior.invalidates_previous;
        let mut later: Option<StoredToken> = None;
        for _ in 0..MAX_CAS_ATTEMPTS {
            let known = request.known.max(record.generation());
            let generation = match &record.token {
                // The same token keeps its generation, unless the store has lost a newer one.
                Some(stored) if stored.token.ct_eq(&fetched.token) && stored.generation == known => known,
                _ => known.next(started_at.wall),
            };
            let token = CachedToken::new(fetched.token.clone(), generation, started_at, fetched.lifetime);
            if generation == record.generation() {
                self.clear_in_doubt(started_at.wall).await;
                return FetchOutcome::Issued(Arc::new(token));
            }
            let raised = later.take().map(|later| later.raised_above(known).keeping_marker());
            let new = raised.clone().unwrap_or_else(|| self.to_store(&token));
            let write = self.store.compare_and_set(&self.appid, record.generation(), new);
            match self.within(STORE_TIMEOUT, write).await {
                Ok(CasOutcome::Conflict(newer)) if newer.generation() > record.generation() => {
                    match newer.of_upstream(self.own_upstream.as_ref(), self.clock.now()) {
                        Ok(newer) => record = newer,
                        Err(error) => return FetchOutcome::IssuedWithoutLease(Arc::new(token), error),
                    }
                }
                Ok(CasOutcome::Stored) => {
                    let raised = raised.map(|raised| Arc::new(raised.to_cached(self.clock.now())));
                    return match raised {
                        Some(token) => {
                            let in_doubt_since = record.in_doubt_since;
                            FetchOutcome::Adopted { token, in_doubt_since, lost_race }
                        }
                        None => FetchOutcome::Issued(Arc::new(token)),
                    };
                }
                // The token is good even if the store failed or has lost its records.
                Ok(CasOutcome::Conflict(_)) => {
                    return FetchOutcome::IssuedWithoutLease(Arc::new(token), not_stored());
                }
                Err(error) => return FetchOutcome::IssuedWithoutLease(Arc::new(token), error),
            }
            if let Some(FetchOutcome::Adopted { token, in_doubt_since, .. }) = self.adopt(&record, request) {
                return FetchOutcome::Adopted { token, in_doubt_since, lost_race };
            }
            let now = self.clock.now();
            let is_later = |stored: &&StoredToken| stored.to_cached(now).was_requested_after(&token, now);
            later = record.token.as_ref().filter(is_later).cloned();
        }
        let known: Generation = request.known.max(record.generation());
        let token = CachedToken::new(
            fetched.token.clone(),
            known.next(started_at.wall),
            started_at,
            fetched.lifetime,
        );
        FetchOutcome::IssuedWithoutLease(Arc::new(token), not_stored())
    }

    /// Returns the token as it is stored. If the wall clock was set back, the age on the monotonic clock counts. A
    /// token of unknown age is stored as it was read.
    fn to_store(&self, token: &CachedToken) -> StoredToken {
        if !token.has_known_age() {
            return StoredToken::from(token).with_upstream(self.own_upstream.map(|own| own.id));
        }
        let now = self.clock.now();
        let requested_at = now.wall.before(token.lifetime().saturating_sub(token.remaining(now)));
        let requested_at = requested_at.min(token.requested_at());
        StoredToken::new(token.token().clone(), token.generation(), requested_at, token.lifetime())
            .with_upstream(self.own_upstream.map(|own| own.id))
    }

    /// Marks the stored token as in doubt. From now until the response is read, the fetch may invalidate it.
    async fn set_in_doubt(&self, since: UnixMillis) {
        if self.behavior.invalidates_previous {
            let _ = self.within(STORE_TIMEOUT, self.store.set_in_doubt(&self.appid, since)).await;
        }
    }

    async fn clear_in_doubt(&self, since: UnixMillis) {
        if self.behavior.invalidates_previous {
            let _ = self.within(STORE_TIMEOUT, self.store.clear_in_doubt(&self.appid, since)).await;
        }
    }

    async fn acquire_lease(&self, length: Duration) -> Result<LeaseOutcome, StoreError> {
        self.within(STORE_TIMEOUT, self.store.acquire_lease(&self.appid, &self.holder, length)).await
    }

    /// Releases the lease if this process has it. A lease that cannot be released expires by itself.
    pub(super) async fn release_lease(&self) {
        let _ = self.within(STORE_TIMEOUT, self.store.release_lease(&self.appid, &self.holder)).await;
    }
}

/// The store holds neither this token nor a newer one that is usable.
fn not_stored() -> StoreError {
    StoreError::new(StoreErrorKind::Failed, "it did not accept the new token")
}
