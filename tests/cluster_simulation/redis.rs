//! Redis under virtual time: what the scripts of `wxsub-redis` do there, each at one instant and by Redis' own clock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use wxsub_core::clock::UnixMillis;
use wxsub_core::proto::{AccessToken, AppId};
use wxsub_core::token::{ForceLog, Generation};

use super::node_clock::MachineClock;

/// The hash of one app, and its lease.
#[derive(Clone, Default)]
pub(super) struct Fields {
    pub(super) token: Option<Kept>,
    pub(super) lost_since: Option<UnixMillis>,
    pub(super) forced: ForceLog,
    /// Who may refresh, and until when.
    lease: Option<(String, Duration)>,
}

/// A token as it is kept: `asked` is by the clock of the server that fetched it, `issued` by that of Redis.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) token: AccessToken,
    pub(super) generation: Generation,
    pub(super) asked: UnixMillis,
    pub(super) age: Duration,
    pub(super) issued: Duration,
    pub(super) life: Duration,
}

impl Fields {
    pub(super) fn generation(&self) -> Generation {
        self.token.as_ref().map_or(Generation::default(), |kept| kept.generation)
    }
}

type Apps = HashMap<AppId, Fields>;

#[derive(Default)]
struct State {
    apps: Apps,
    /// The generation that was published last, for those who listen.
    published: HashMap<AppId, watch::Sender<Generation>>,
    /// What it held from when on: what a replica holds that lags behind.
    past: Vec<(Duration, Apps)>,
    /// When a token was stored.
    stored: Vec<Duration>,
    /// When a token was last stored or lost.
    changed: Duration,
    operations: u64,
}

pub(super) struct Redis {
    pub(super) clock: Arc<MachineClock>,
    /// Whether somebody will ask for the past.
    remembers: bool,
    state: Mutex<State>,
}

impl Redis {
    pub(super) fn new(clock: Arc<MachineClock>, remembers: bool) -> Self {
        Self { clock, remembers, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Runs a script.
    fn run<T>(&self, app: &AppId, script: impl FnOnce(&mut Fields) -> T) -> T {
        let mut state = self.state();
        state.operations += 1;
        script(state.apps.entry(app.clone()).or_default())
    }

    /// Runs a script that may change something.
    fn change<T>(&self, app: &AppId, script: impl FnOnce(&mut Fields) -> T) -> T {
        let before = self.state().apps.get(app).map(Fields::generation);
        let answer = self.run(app, script);
        let (now, mut state) = (self.clock.passed(), self.state());
        if state.apps.get(app).map(Fields::generation) != before {
            state.changed = now;
            state.stored.push(now);
        }
        if self.remembers {
            let apps = state.apps.clone();
            state.past.push((now, apps));
        }
        answer
    }

    /// The time, and all fields.
    pub(super) fn load(&self, app: &AppId) -> (Duration, Fields) {
        (self.clock.passed(), self.run(app, |fields| fields.clone()))
    }

    /// Stores a token if the record still holds the generation it replaces, and that is lower. Whether it did, the time, and
    /// all fields.
    pub(super) fn put_if_newer(
        &self,
        app: &AppId,
        replaces: Generation,
        kept: Kept,
    ) -> (bool, Duration, Fields) {
        let (now, generation) = (self.clock.passed(), kept.generation);
        let (stored, fields) = self.change(app, |fields| {
            let newer = fields.generation() == replaces && generation > replaces;
            if newer {
                fields.token = Some(Kept { issued: now, ..kept });
                fields.lost_since = None;
            }
            (newer, fields.clone())
        });
        if let Some(listeners) = self.state().published.get(app).filter(|_| stored) {
            listeners.send_replace(generation);
        }
        (stored, now, fields)
    }

    /// Listens to what is published of this app.
    pub(super) fn listen(&self, app: &AppId) -> watch::Receiver<Generation> {
        self.state().published.entry(app.clone()).or_default().subscribe()
    }

    /// Takes or prolongs the lease, unless another holder has it.
    pub(super) fn lease(&self, app: &AppId, holder: &str, length: Duration) -> bool {
        let now = self.clock.passed();
        self.change(app, |fields| {
            let taken = fields.lease.as_ref().is_some_and(|(other, until)| other != holder && *until > now);
            if !taken {
                fields.lease = Some((holder.to_owned(), now + length));
            }
            !taken
        })
    }

    /// Gives the lease back, if this holder has it.
    pub(super) fn release(&self, app: &AppId, holder: &str) {
        self.change(app, |fields| {
            fields.lease.take_if(|(owner, _)| owner == holder);
        });
    }

    /// The first mark stays.
    pub(super) fn mark(&self, app: &AppId, since: UnixMillis) {
        self.change(app, |fields| {
            fields.lost_since.get_or_insert(since);
        });
    }

    /// Another's mark stays.
    pub(super) fn clear_mark(&self, app: &AppId, since: UnixMillis) {
        self.change(app, |fields| {
            fields.lost_since.take_if(|mark| *mark == since);
        });
    }

    pub(super) fn take_force(&self, app: &AppId, now: UnixMillis) -> bool {
        self.change(app, |fields| fields.forced.take(now))
    }

    /// It has come back as it was this long ago: a replica took over that had not heard of everything.
    pub(super) fn falls_back(&self, by: Duration) {
        let (now, mut state) = (self.clock.passed(), self.state());
        let then = now.saturating_sub(by);
        let known = state.past.iter().rev().find(|(at, _)| *at <= then);
        state.apps = known.map(|(_, apps)| apps.clone()).unwrap_or_default();
        state.changed = now;
    }

    /// Whether somebody has asked Weixin and not heard of it yet.
    pub(super) fn is_marked(&self) -> bool {
        self.state().apps.values().any(|fields| fields.lost_since.is_some())
    }

    /// When a token was last stored or lost.
    pub(super) fn changed(&self) -> Duration {
        self.state().changed
    }

    /// When a token was stored.
    pub(super) fn stored(&self) -> Vec<Duration> {
        self.state().stored.clone()
    }

    /// How many scripts were run.
    pub(super) fn operations(&self) -> u64 {
        self.state().operations
    }
}
