//! Invariants of the cluster: one valid token at all servers soon after the last fault.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wxsub_core::token::{CachedToken, Generation};

use super::network::Weixin;
use super::node_clock::NodeClock;
use super::oracle::Oracle;
use super::redis::Redis;
use super::server::READ_INTERVAL;

/// This long after the last fault, all servers hold the same valid token.
pub(super) const SETTLE_TIME: Duration = Duration::from_secs(60);

/// The same after refusals by Weixin, which slow attempts down to one in five minutes.
pub(super) const SETTLE_TIME_AFTER_REFUSAL: Duration = Duration::from_secs(310);

/// This long after a token was stored, all servers hold it: they read the store every 2 s.
const MAX_SPREAD: Duration = Duration::from_millis(2_500);

pub(super) struct Invariants {
    pub(super) clock: Arc<NodeClock>,
    pub(super) oracle: Arc<Oracle>,
    pub(super) weixin: Weixin,
    pub(super) redis: Arc<Redis>,
    /// Whether all servers hold the same token. Those without a store invalidate each other's tokens.
    pub(super) agrees: bool,
    /// Outside of these times, each send succeeds.
    pub(super) busy: Vec<Range<Duration>>,
    /// When the last fault is over.
    pub(super) calm: Duration,
    /// How long recovery may take from then.
    pub(super) settle_time: Duration,
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// The current round of reads, and the token that was read first in it.
    round: u64,
    first_read: String,
    /// How long after the last fault an invariant was still broken.
    unsettled: Duration,
    /// When the first and the last server got each token.
    held: BTreeMap<Generation, (Duration, Duration)>,
}

impl Invariants {
    pub(super) fn is_calm(&self, elapsed: Duration) -> bool {
        elapsed >= self.calm + self.settle_time
    }

    /// Whether a send at this time succeeds.
    pub(super) fn is_quiet(&self, span: &Range<Duration>) -> bool {
        !self.busy.iter().any(|busy| busy.start <= span.end && span.start < busy.end)
    }

    /// A server holds this token from now on.
    pub(super) fn on_token_held(&self, generation: Generation) {
        let now = self.clock.elapsed();
        self.state.lock().unwrap().held.entry(generation).or_insert((now, now)).1 = now;
    }

    /// The time from the first to the last server, for each token.
    pub(super) fn spreads(&self) -> Vec<Duration> {
        let state = self.state.lock().unwrap();
        state.held.values().map(|(first, last)| *last - *first).collect()
    }

    pub(super) fn unsettled(&self) -> Duration {
        self.state.lock().unwrap().unsettled
    }

    /// Whether Weixin accepts this token now. The check changes nothing.
    pub(super) fn is_accepted(&self, token: &str) -> bool {
        let target = format!("/cgi-bin/get_api_domain_ip?access_token={token}");
        let reply = self.weixin.sandbox.handle("GET", &target, b"").outcome.unwrap();
        !String::from_utf8(reply.body).unwrap().contains("errcode")
    }

    /// Checks a server's token at one of the times when the tokens of all servers are read.
    pub(super) fn check_read(&self, server: usize, issued: Option<&CachedToken>) {
        let elapsed = self.clock.elapsed();
        if elapsed < self.calm || !self.agrees {
            return;
        }
        let Some(violation) = self.violation(elapsed, issued) else { return };
        match self.is_calm(elapsed) {
            true => self.oracle.report_violation(&format!("{server}: {violation}")),
            false => {
                self.oracle.trace(|| format!("{server}: {violation}"));
                self.state.lock().unwrap().unsettled = elapsed - self.calm;
            }
        }
    }

    fn violation(&self, elapsed: Duration, issued: Option<&CachedToken>) -> Option<&'static str> {
        let Some(issued) = issued else { return Some("holds no token") };
        let token = issued.token().expose_secret();
        if !self.is_accepted(token) {
            return Some("holds a token that Weixin rejects");
        }
        let mut state = self.state.lock().unwrap();
        let round = elapsed.as_secs() / READ_INTERVAL.as_secs();
        if state.round != round {
            state.round = round;
            token.clone_into(&mut state.first_read);
        }
        let is_spreading = elapsed < self.redis.state().last_change + MAX_SPREAD;
        (state.first_read != token && !is_spreading).then_some("holds another token than its peers")
    }
}
