//! What the servers owe each other: one token that works, soon after the trouble is over, for few requests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wxsub_core::token::{Generation, Issued};
use wxsub_sandbox::Sandbox;

use super::node_clock::MachineClock;
use super::oracle::Witness;
use super::redis::Redis;
use super::server::READS;

/// So long after the last trouble all servers hold the same token, and it works.
pub(super) const SETTLE: Duration = Duration::from_secs(60);

/// The same after Weixin has refused: a refusal slows attempts down to one in five minutes.
pub(super) const SETTLE_REFUSED: Duration = Duration::from_secs(310);

/// So long after a token was stored all servers hold it: they read the store every 2 s.
const SPREAD: Duration = Duration::from_millis(2_500);

pub(super) struct Judge {
    pub(super) clock: Arc<MachineClock>,
    pub(super) witness: Arc<Witness>,
    pub(super) sandbox: Sandbox,
    pub(super) redis: Arc<Redis>,
    /// When the last trouble is over.
    pub(super) calm: Duration,
    /// How long it may take from then.
    pub(super) settle: Duration,
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// What was read first at the present round of readings.
    round: u64,
    read: String,
    /// How long after the last trouble something was still wrong.
    unsettled: Duration,
    /// From the first server that held a token to the last one so far.
    held: BTreeMap<Generation, (Duration, Duration)>,
}

impl Judge {
    pub(super) fn is_calm(&self, passed: Duration) -> bool {
        passed >= self.calm + self.settle
    }

    /// A server holds this token from now on.
    pub(super) fn holds(&self, generation: Generation) {
        let now = self.clock.passed();
        self.state.lock().unwrap().held.entry(generation).or_insert((now, now)).1 = now;
    }

    /// How long each token took from the first server to the last.
    pub(super) fn spreads(&self) -> Vec<Duration> {
        let state = self.state.lock().unwrap();
        state.held.values().map(|(first, last)| *last - *first).collect()
    }

    pub(super) fn unsettled(&self) -> Duration {
        self.state.lock().unwrap().unsettled
    }

    /// Whether Weixin takes this token now. Asking costs nothing.
    pub(super) fn works(&self, token: &str) -> bool {
        let target = format!("/cgi-bin/get_api_domain_ip?access_token={token}");
        let reply = self.sandbox.handle("GET", &target, b"").outcome.unwrap();
        !String::from_utf8(reply.body).unwrap().contains("errcode")
    }

    /// A server's token at one of the times when all are read.
    pub(super) fn reads(&self, server: usize, issued: Option<&Issued>) {
        let passed = self.clock.passed();
        if passed < self.calm {
            return;
        }
        let wrong = self.wrong(passed, issued);
        let Some(wrong) = wrong else { return };
        match self.is_calm(passed) {
            true => self.witness.complain(&format!("{server}: {wrong}")),
            false => {
                self.witness.tell(|| format!("{server}: {wrong}"));
                self.state.lock().unwrap().unsettled = passed - self.calm;
            }
        }
    }

    fn wrong(&self, passed: Duration, issued: Option<&Issued>) -> Option<&'static str> {
        let Some(issued) = issued else { return Some("holds no token") };
        let token = issued.token().expose();
        if !self.works(token) {
            return Some("holds a token that does not work");
        }
        let mut state = self.state.lock().unwrap();
        let round = passed.as_secs() / READS.as_secs();
        if state.round != round {
            state.round = round;
            token.clone_into(&mut state.read);
        }
        let spreads = passed < self.redis.changed() + SPREAD;
        (state.read != token && !spreads).then_some("holds another token than others")
    }
}
