//! The link from one server to Redis: a store as in `wxsub-redis`, with faults of requests and responses.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;
use wxsub_core::clock::{Clock, UnixMillis};
use wxsub_core::proto::AppId;
use wxsub_core::store::{
    CasOutcome, ChangeLog, ChangeWatcher, LeaseOutcome, LoggedChanges, StoreChange, StoreError,
    StoreErrorKind, StoredToken, TokenRecord, TokenStore,
};
use wxsub_core::token::Generation;

use super::fault_window::FaultWindow;
use super::node_clock::NodeClock;
use super::redis::{Fields, Redis, TokenFields};
use super::store_faults::{Operation, RoundTrip, StoreFault};

/// The longest wait for a response, as in `wxsub-redis`.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(1500);

/// Clocks that differ by less count as equal, as in `wxsub-redis`.
const CLOCK_SKEW_TOLERANCE: Duration = Duration::from_secs(2);

#[derive(derive_more::Debug)]
#[debug("StoreLink")]
pub(super) struct StoreLink {
    redis: Arc<Redis>,
    clock: Arc<NodeClock>,
    /// Faults of the link and of Redis itself.
    faults: Vec<FaultWindow<StoreFault>>,
    /// Called when this server has taken the lease, with whether it could read the record before.
    on_lease: Box<dyn Fn(bool) + Send + Sync>,
    rng: Mutex<Rng>,
    /// The watcher of the current process.
    watcher: Mutex<Arc<ChangeWatcher>>,
    /// The number of the connection. After each error there is a new one.
    connection: AtomicU64,
}

impl StoreLink {
    /// The link of the server with this clock.
    pub(super) fn new(
        clock: &Arc<NodeClock>,
        redis: &Arc<Redis>,
        faults: Vec<FaultWindow<StoreFault>>,
        on_lease: impl Fn(bool) + Send + Sync + 'static,
        rng: Rng,
    ) -> Self {
        let watcher = Mutex::new(Arc::new(ChangeWatcher::new(clock.clone())));
        let (clock, redis, on_lease) = (Arc::clone(clock), Arc::clone(redis), Box::new(on_lease));
        Self {
            redis,
            clock,
            faults,
            on_lease,
            rng: Mutex::new(rng),
            watcher,
            connection: AtomicU64::default(),
        }
    }

    /// Starts a new process. Notifies it of stored tokens until it is dropped.
    pub(super) async fn run_process(&self) {
        let watcher = Arc::new(ChangeWatcher::new(self.clock.clone()));
        *self.watcher.lock().unwrap() = Arc::clone(&watcher);
        let mut stored = self.redis.subscribe();
        while let Some(app) = stored.recv().await {
            // A lost notification is not repeated.
            if self.fault().is_none() {
                let delay = self.rng.lock().unwrap().u64(1..5);
                self.clock.sleep(Duration::from_millis(delay)).await;
                watcher.notify(&app);
            }
        }
    }

    /// Runs a script in Redis.
    async fn execute<T: Send + 'static>(
        &self,
        operation: Operation,
        script: impl FnOnce(&Redis) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let response = self.call(operation, script).await;
        if response.is_err() {
            self.connection.fetch_add(1, Ordering::Relaxed);
        }
        response
    }

    /// The script can take effect although the response is lost, or after the caller has given up.
    async fn call<T: Send + 'static>(
        &self,
        operation: Operation,
        script: impl FnOnce(&Redis) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let began = self.clock.elapsed();
        let fault = self.fault();
        if let Some(refusal) = fault.and_then(|fault| fault.refusal(operation)) {
            return Err(refusal);
        }
        let trip = match fault {
            Some(fault) => fault.round_trip(began, &mut self.rng.lock().unwrap()),
            None => RoundTrip::without_fault(&mut self.rng.lock().unwrap()),
        };
        let lost = || Err(StoreError::new(StoreErrorKind::Unreachable, "no response"));
        match trip.request {
            Some(delay) if delay <= RESPONSE_TIMEOUT => self.clock.wait_until(began + delay).await,
            delay => {
                if let Some(delay) = delay {
                    let redis = Arc::clone(&self.redis);
                    tokio::spawn(async move {
                        redis.clock.wait_until(began + delay).await;
                        script(&redis);
                    });
                }
                self.clock.wait_until(began + RESPONSE_TIMEOUT).await;
                return lost();
            }
        }
        let response = script(&self.redis);
        let Some(delay) = trip.response else {
            self.clock.wait_until(began + RESPONSE_TIMEOUT).await;
            return lost();
        };
        if !delay.is_zero() {
            self.clock.sleep(delay).await;
        }
        // A suspended server finds the response and the timeout at once, and may see either first.
        let late = self.clock.elapsed() > began + RESPONSE_TIMEOUT;
        if late && self.rng.lock().unwrap().bool() { lost() } else { Ok(response) }
    }

    fn fault(&self) -> Option<StoreFault> {
        let elapsed = self.clock.elapsed();
        self.faults.iter().find(|window| window.covers(elapsed)).map(|window| window.fault)
    }

    /// Whether the record was readable at some time in the last 20 s, longer than an attempt takes.
    fn could_read(&self) -> bool {
        let elapsed = self.clock.elapsed();
        let blind = |window: &FaultWindow<StoreFault>| {
            window.fault.is_unreadable()
                && window.covers(elapsed)
                && elapsed - window.from > Duration::from_secs(20)
        };
        !self.faults.iter().find(|window| window.covers(elapsed)).is_some_and(blind)
    }

    /// The record in the time of this server.
    fn to_record(&self, now: Duration, fields: Fields) -> TokenRecord {
        let mut record = TokenRecord::default();
        record.in_doubt_since = fields.in_doubt_since;
        record.forced = fields.forced;
        record.token = fields.token.map(|token| {
            // The age uses Redis time. Where the clocks agree, the written time is kept.
            let requested_at =
                self.clock.now().wall.before(now.saturating_sub(token.stored_at)).before(token.age);
            let skew = requested_at.since(token.requested_at).max(token.requested_at.since(requested_at));
            let requested_at = if skew <= CLOCK_SKEW_TOLERANCE { token.requested_at } else { requested_at };
            StoredToken::new(token.token, token.generation, requested_at, token.lifetime)
                .with_upstream(token.upstream)
        });
        if let Some(generation) = fields.broken {
            record.unusable_generation = generation;
            record.broken = Some(StoreError::new(StoreErrorKind::BrokenRecord, "broken"));
        }
        record
    }
}

#[async_trait]
impl ChangeLog for StoreLink {
    async fn read_changes(&self, from: u64) -> Result<LoggedChanges, StoreError> {
        let connection = self.connection.load(Ordering::Relaxed);
        let found = self.execute(Operation::ReadLog, move |redis| redis.read_changes(from)).await?;
        Ok(LoggedChanges { epoch: format!("{connection} {}", found.epoch), ..found })
    }
}

#[async_trait]
impl TokenStore for StoreLink {
    async fn load(&self, app: &AppId) -> Result<TokenRecord, StoreError> {
        let app = app.clone();
        let (now, fields) = self.execute(Operation::Read, move |redis| redis.load(&app)).await?;
        Ok(self.to_record(now, fields))
    }

    async fn wait_for_change(&self, app: &AppId, seen: u64) -> StoreChange {
        let watcher = Arc::clone(&self.watcher.lock().unwrap());
        watcher.wait_for_change(self, app, seen).await
    }

    async fn compare_and_set(
        &self,
        app: &AppId,
        replaces: Generation,
        token: StoredToken,
    ) -> Result<CasOutcome, StoreError> {
        let StoredToken { token, generation, requested_at, lifetime, upstream, keeps_marker, .. } = token;
        let age = self.clock.now().wall.since(requested_at);
        let stored_at = Duration::ZERO;
        let token = TokenFields { token, generation, requested_at, age, stored_at, lifetime, upstream };
        let app = app.clone();
        let sent_at = self.redis.clock.elapsed();
        let put = move |redis: &Redis| redis.compare_and_set(&app, replaces, token, keeps_marker, sent_at);
        let (stored, now, fields) = self.execute(Operation::Write, put).await?;
        Ok(if stored { CasOutcome::Stored } else { CasOutcome::Conflict(self.to_record(now, fields)) })
    }

    async fn acquire_lease(
        &self,
        app: &AppId,
        holder: &str,
        length: Duration,
    ) -> Result<LeaseOutcome, StoreError> {
        let (app, holder) = (app.clone(), holder.to_owned());
        let outcome =
            self.execute(Operation::Lease, move |redis| redis.acquire_lease(&app, &holder, length)).await?;
        if outcome == LeaseOutcome::Acquired {
            (self.on_lease)(self.could_read());
        }
        Ok(outcome)
    }

    async fn release_lease(&self, app: &AppId, holder: &str) -> Result<(), StoreError> {
        let (app, holder) = (app.clone(), holder.to_owned());
        self.execute(Operation::Lease, move |redis| redis.release_lease(&app, &holder)).await
    }

    async fn set_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        let app = app.clone();
        self.execute(Operation::Write, move |redis| redis.set_in_doubt(&app, since)).await
    }

    async fn clear_in_doubt(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        let app = app.clone();
        self.execute(Operation::Write, move |redis| redis.clear_in_doubt(&app, since)).await
    }

    async fn try_acquire_force_refresh(&self, app: &AppId, now: UnixMillis) -> Result<bool, StoreError> {
        let app = app.clone();
        self.execute(Operation::Write, move |redis| redis.try_acquire_force_refresh(&app, now)).await
    }
}
