//! Redis in virtual time. It does what the scripts of `wxsub-redis` do, each at one instant and by the clock of Redis.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use wxsub_core::clock::UnixMillis;
use wxsub_core::proto::{AccessToken, AppId};
use wxsub_core::store::{LeaseOutcome, LoggedChanges, MAX_LEASE, UpstreamId};
use wxsub_core::token::{ForceRefreshLog, Generation};

use super::node_clock::NodeClock;

/// The most changes in one response, as in `wxsub-redis`.
const MAX_CHANGES: usize = 1_000;

/// The hash of one app, and its lease.
#[derive(Clone, Default)]
pub(super) struct Fields {
    pub(super) token: Option<TokenFields>,
    pub(super) in_doubt_since: Option<UnixMillis>,
    pub(super) forced: ForceRefreshLog,
    /// The token is broken. Its generation, or 0 if that is broken too.
    pub(super) broken: Option<Generation>,
    /// The holder of the lease, and when it expires.
    lease: Option<(String, Duration)>,
}

/// The fields of a token. `requested_at` uses the clock of the server that fetched it, `stored_at` that of Redis.
#[derive(Clone)]
pub(super) struct TokenFields {
    pub(super) token: AccessToken,
    pub(super) generation: Generation,
    pub(super) requested_at: UnixMillis,
    pub(super) age: Duration,
    pub(super) stored_at: Duration,
    pub(super) lifetime: Duration,
    pub(super) upstream: Option<UpstreamId>,
}

impl Fields {
    pub(super) fn generation(&self) -> Generation {
        let broken = self.broken.unwrap_or_default();
        self.token.as_ref().map_or(broken, |token| token.generation)
    }
}

/// What a replica or a dump has too.
#[derive(Clone, Default)]
struct Data {
    apps: HashMap<AppId, Fields>,
    /// The positions at which the change log began and ended, and that of the last change of each app: microseconds.
    log_began: u64,
    log_end: u64,
    log: HashMap<AppId, u64>,
}

impl Data {
    /// Appends this app to the change log.
    fn announce(&mut self, app: &AppId, now: Duration) {
        let now = u64::try_from(now.as_micros()).unwrap() + 1;
        if self.log.is_empty() {
            self.log_began = now;
            self.log_end = now;
        }
        self.log_end = now.max(self.log_end + 1);
        self.log.insert(app.clone(), self.log_end);
    }
}

#[derive(Default)]
pub(super) struct State {
    data: Data,
    /// The links that get a notification when a token is stored.
    subscribers: Vec<UnboundedSender<AppId>>,
    /// The state after each change. A replica that lags behind has an older one.
    history: Vec<(Duration, Data)>,
    /// When a token was stored.
    pub(super) store_times: Vec<Duration>,
    /// When a token was last stored or lost.
    pub(super) last_change: Duration,
    /// How many scripts were run.
    pub(super) operations: u64,
}

pub(super) struct Redis {
    pub(super) clock: Arc<NodeClock>,
    /// Whether older states are kept for [`Redis::restore`].
    keeps_history: bool,
    state: Mutex<State>,
}

impl Redis {
    pub(super) fn new(clock: Arc<NodeClock>, keeps_history: bool) -> Self {
        Self { clock, keeps_history, state: Mutex::default() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Runs a script.
    fn run<T>(&self, app: &AppId, script: impl FnOnce(&mut Fields) -> T) -> T {
        let mut state = self.state();
        state.operations += 1;
        script(state.data.apps.entry(app.clone()).or_default())
    }

    /// Runs a script that may change something. Announces a change of token or marker.
    fn update<T>(&self, app: &AppId, script: impl FnOnce(&mut Fields) -> T) -> T {
        let look = |state: &State| {
            state.data.apps.get(app).map(|fields| (fields.generation(), fields.in_doubt_since))
        };
        let before = look(&self.state());
        let response = self.run(app, script);
        let (now, mut state) = (self.clock.elapsed(), self.state());
        let after = look(&state);
        if after.map(|(generation, _)| generation) != before.map(|(generation, _)| generation) {
            state.last_change = now;
            state.store_times.push(now);
        }
        if after != before {
            state.data.announce(app, now);
        }
        if self.keeps_history {
            let data = state.data.clone();
            state.history.push((now, data));
        }
        response
    }

    /// The changes from this position on.
    pub(super) fn read_changes(&self, from: u64) -> LoggedChanges {
        let mut state = self.state();
        state.operations += 1;
        let mut changes: Vec<_> = state
            .data
            .log
            .iter()
            .filter(|(_, at)| **at >= from)
            .map(|(app, at)| (app.clone(), *at))
            .collect();
        changes.sort_by_key(|(_, at)| *at);
        let has_more = changes.len() > MAX_CHANGES;
        changes.truncate(MAX_CHANGES);
        LoggedChanges { epoch: state.data.log_began.to_string(), changes, has_more }
    }

    /// The time, and all fields.
    pub(super) fn load(&self, app: &AppId) -> (Duration, Fields) {
        (self.clock.elapsed(), self.run(app, |fields| fields.clone()))
    }

    /// Stores a token if the record still has the generation `replaces` and the new one is higher. The token had its age at the
    /// Redis time `sent_at`. Returns whether it was stored, the time, and all fields.
    pub(super) fn compare_and_set(
        &self,
        app: &AppId,
        replaces: Generation,
        token: TokenFields,
        keeps_marker: bool,
        sent_at: Duration,
    ) -> (bool, Duration, Fields) {
        let (now, generation) = (self.clock.elapsed(), token.generation);
        let (stored, fields) = self.update(app, |fields| {
            let is_newer = fields.generation() == replaces && generation > replaces;
            if is_newer {
                fields.token =
                    Some(TokenFields { stored_at: now, age: token.age + (now - sent_at), ..token });
                fields.broken = None;
                fields.in_doubt_since.take_if(|_| !keeps_marker);
            }
            (is_newer, fields.clone())
        });
        if stored {
            self.state().subscribers.retain(|subscriber| subscriber.send(app.clone()).is_ok());
        }
        (stored, now, fields)
    }

    /// Subscribes to the apps whose tokens are stored.
    pub(super) fn subscribe(&self) -> UnboundedReceiver<AppId> {
        let (subscriber, stored) = unbounded_channel();
        self.state().subscribers.push(subscriber);
        stored
    }

    /// Takes or extends the lease, unless another holder has it. A lease that is too long counts as free.
    pub(super) fn acquire_lease(&self, app: &AppId, holder: &str, length: Duration) -> LeaseOutcome {
        let now = self.clock.elapsed();
        let is_held = |until: Duration| until > now && until - now <= MAX_LEASE;
        self.update(app, |fields| match &fields.lease {
            Some((other, until)) if other != holder && is_held(*until) => LeaseOutcome::HeldBy(other.clone()),
            _ => {
                fields.lease = Some((holder.to_owned(), now + length));
                LeaseOutcome::Acquired
            }
        })
    }

    /// Gives each app a lease without end, as a dump that is restored without expiry.
    pub(super) fn restore_endless_leases(&self) {
        for fields in self.state().data.apps.values_mut() {
            fields.lease = Some(("restored".to_owned(), Duration::MAX));
        }
    }

    /// Breaks the records of all apps, and their generations too if those are lost.
    pub(super) fn break_records(&self, loses_generation: bool) {
        for fields in self.state().data.apps.values_mut().filter(|fields| fields.token.is_some()) {
            let generation = fields.generation();
            fields.token = None;
            fields.broken = Some(if loses_generation { Generation::default() } else { generation });
        }
    }

    /// Whether a record is broken.
    pub(super) fn is_broken(&self) -> bool {
        self.state().data.apps.values().any(|fields| fields.broken.is_some())
    }

    /// Whether this app has a token that has not expired.
    pub(super) fn has_valid_token(&self, app: &AppId) -> bool {
        let (now, state) = (self.clock.elapsed(), self.state());
        let token = state.data.apps.get(app).and_then(|fields| fields.token.as_ref());
        token.is_some_and(|token| now.saturating_sub(token.stored_at) + token.age < token.lifetime)
    }

    /// Releases the lease if this holder has it.
    pub(super) fn release_lease(&self, app: &AppId, holder: &str) {
        self.update(app, |fields| {
            fields.lease.take_if(|(owner, _)| owner == holder);
        });
    }

    /// Sets the in-doubt marker. An earlier marker stays.
    pub(super) fn set_in_doubt(&self, app: &AppId, since: UnixMillis) {
        self.update(app, |fields| {
            fields.in_doubt_since.get_or_insert(since);
        });
    }

    /// Clears the in-doubt marker if it has this time. Another marker stays.
    pub(super) fn clear_in_doubt(&self, app: &AppId, since: UnixMillis) {
        self.update(app, |fields| {
            fields.in_doubt_since.take_if(|marker| *marker == since);
        });
    }

    pub(super) fn try_acquire_force_refresh(&self, app: &AppId, now: UnixMillis) -> bool {
        self.update(app, |fields| fields.forced.try_acquire(now))
    }

    /// Restores the state of this long ago: a replica that lagged behind has taken over.
    pub(super) fn restore(&self, by: Duration) {
        let (now, mut state) = (self.clock.elapsed(), self.state());
        let then = now.saturating_sub(by);
        let known = state.history.iter().rev().find(|(at, _)| *at <= then);
        state.data = known.map(|(_, data)| data.clone()).unwrap_or_default();
        state.last_change = now;
    }

    /// Whether a token is in doubt: a call to Weixin has no known outcome yet.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.state().data.apps.values().any(|fields| fields.in_doubt_since.is_some())
    }
}
