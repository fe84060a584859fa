//! Sees every call and every token, and complains where a promise is broken. Shares no logic with the keeper.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use wxsub_core::error::{Delivery, SendError};
use wxsub_core::proto::codec::{RawReply, decode_query};
use wxsub_core::transport::{Stage, TransportError};

use super::node_clock::MachineClock;

/// A machine in trouble asks at most this often a minute.
const MOST_A_MINUTE: usize = 15;
/// Nobody is blamed for a token that ends within this.
const MARGIN: Duration = Duration::from_secs(60);

/// What there is to tell of one seed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) sent: u64,
    pub(crate) not_sent: u64,
    pub(crate) maybe_sent: u64,
    pub(crate) refused: u64,
    pub(crate) token_requests: u64,
    /// How many of them Weixin has seen.
    pub(crate) reached: u64,
    /// How often a process learnt that its token does not work any more.
    pub(crate) rejections: u64,
    pub(crate) crashes: u64,
    pub(crate) complaints: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Token,
    Send,
}

/// How the last post of a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Post {
    OnItsWay,
    NeverLeft,
    Stale,
    Over,
}

#[derive(Default)]
struct State {
    account: Account,
    /// When each token ends at the latest.
    ends: HashMap<String, Duration>,
    posts: HashMap<String, Post>,
    machines: HashMap<usize, Seen>,
    /// What the senders were told.
    told: HashMap<String, Delivery>,
    sent: HashSet<String>,
}

/// What one process has seen.
#[derive(Default)]
struct Seen {
    fetching: bool,
    asked: VecDeque<Duration>,
    /// When the word of it came.
    rejected: HashMap<String, Duration>,
    received: Option<String>,
}

pub(super) struct Witness {
    clock: Arc<MachineClock>,
    tells: bool,
    state: Mutex<State>,
}

impl Witness {
    pub(super) fn new(clock: Arc<MachineClock>, tells: bool) -> Self {
        Self { clock, tells, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Only for a seed that is played alone.
    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        if self.tells {
            eprintln!("{:>11.3} {}", self.clock.passed().as_secs_f64(), what());
        }
    }

    pub(super) fn complain(&self, what: &str) {
        self.tell(|| format!("WRONG: {what}"));
        let passed = self.clock.passed().as_secs_f64();
        self.state().account.complaints.push(format!("{passed:.3} {what}"));
    }

    pub(super) fn account(&self) -> Account {
        self.state().account.clone()
    }

    /// The process is gone, and with it what it knew.
    pub(super) fn crashed(&self, machine: usize) {
        self.tell(|| format!("{machine}: crash"));
        let mut state = self.state();
        state.account.crashes += 1;
        state.machines.remove(&machine);
    }

    /// A call leaves a machine.
    pub(super) fn leaves(self: &Arc<Self>, machine: usize, target: &str, body: &[u8]) -> OnTheLine {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let sends = path.ends_with("/subscribe");
        let (call, about) = match sends {
            true => (Call::Send, text(&serde_json::from_slice(body).unwrap(), "touser")),
            false => (Call::Token, String::new()),
        };
        self.tell(|| format!("{machine}: {path} {about}"));
        let token = decode_query(query).unwrap().into_iter().find(|(name, _)| name == "access_token");
        let token = token.map(|(_, token)| token).unwrap_or_default();
        match call {
            Call::Token => self.asks(machine),
            Call::Send => self.posts(&about),
        }
        OnTheLine { witness: Arc::clone(self), machine, call, about, token }
    }

    fn asks(&self, machine: usize) {
        let passed = self.clock.passed();
        let mut state = self.state();
        state.account.token_requests += 1;
        let seen = state.machines.entry(machine).or_default();
        let at_once = std::mem::replace(&mut seen.fetching, true);
        seen.asked.push_back(passed);
        while seen.asked.front().is_some_and(|at| *at + Duration::from_secs(60) < passed) {
            seen.asked.pop_front();
        }
        let often = seen.asked.len();
        drop(state);
        if at_once {
            self.complain(&format!("{machine}: two token requests at once"));
        }
        if often > MOST_A_MINUTE {
            self.complain(&format!("{machine}: {often} token requests in a minute"));
        }
    }

    fn posts(&self, openid: &str) {
        let before = self.state().posts.insert(openid.to_owned(), Post::OnItsWay);
        if let Some(before @ (Post::OnItsWay | Post::Over)) = before {
            self.complain(&format!("{openid}: posted again after {before:?}"));
        }
    }

    /// A machine's call has reached Weixin.
    pub(super) fn reached(&self, target: &str) {
        self.state().account.reached += u64::from(!target.contains("/subscribe"));
    }

    /// A request has reached Weixin, and this is what Weixin answered.
    pub(super) fn arrived(&self, target: &str, body: &[u8]) {
        self.tell(|| format!("  Weixin: {} {}", target.split('?').next().unwrap(), shown(body)));
        let body: Value = serde_json::from_slice(body).unwrap();
        if let (Some(token), Some(life)) = (body["access_token"].as_str(), body["expires_in"].as_u64()) {
            let ends = self.clock.passed() + Duration::from_secs(life);
            let mut state = self.state();
            // Lives are told in whole seconds, so the longest is the nearest to the truth.
            let known = state.ends.entry(token.to_owned()).or_default();
            *known = ends.max(*known);
        }
    }

    /// A stranger has ended whatever this machine holds, at once or soon.
    pub(super) fn robbed(&self, machine: usize) {
        self.state().machines.entry(machine).or_default().received = None;
    }

    /// A process hands out this token.
    pub(super) fn handed_out(&self, machine: usize, token: &str, knows_its_age: bool) {
        let passed = self.clock.passed();
        let state = self.state();
        let ended = state.ends.get(token).is_none_or(|ends| *ends < passed);
        let seen = state.machines.get(&machine).and_then(|seen| seen.rejected.get(token));
        let rejected = seen.is_some_and(|at| *at < passed);
        drop(state);
        if ended && knows_its_age {
            self.complain(&format!("{machine}: hands out a token past its end"));
        }
        if rejected {
            self.complain(&format!("{machine}: hands out a token that Weixin has rejected to its face"));
        }
    }

    /// Whether this process has received a token that should still be in its hands.
    pub(super) fn could_send(&self, machine: usize) -> bool {
        let state = self.state();
        let Some(seen) = state.machines.get(&machine) else { return false };
        let alive = |token: &&String| state.ends[*token] > self.clock.passed() + MARGIN;
        seen.received.as_ref().filter(alive).is_some_and(|token| !seen.rejected.contains_key(token))
    }

    /// What a sender was told about its message.
    pub(super) fn told(&self, openid: &str, outcome: &Result<(), SendError>) {
        self.tell(|| {
            format!("{openid}: {}", outcome.as_ref().map_or_else(ToString::to_string, |()| "sent".to_owned()))
        });
        let mut state = self.state();
        match outcome {
            Ok(()) => {
                state.account.sent += 1;
                state.sent.insert(openid.to_owned());
            }
            Err(error) => {
                match error.delivery() {
                    Delivery::NotSent => state.account.not_sent += 1,
                    Delivery::MaybeSent => state.account.maybe_sent += 1,
                    Delivery::Answered => state.account.refused += 1,
                }
                state.told.insert(openid.to_owned(), error.delivery());
            }
        }
    }

    /// Compares what the sender of a message was told with what the user received.
    pub(super) fn compare(&self, openid: &str, received: usize) {
        let state = self.state();
        let told = state.told.get(openid).copied();
        let right = match (state.sent.contains(openid), told) {
            (true, _) => received == 1,
            (false, Some(Delivery::NotSent | Delivery::Answered)) => received == 0,
            // Nobody could tell, or the sender crashed.
            (false, Some(Delivery::MaybeSent) | None) => received <= 1,
        };
        let sent = state.sent.contains(openid);
        drop(state);
        if !right {
            self.complain(&format!("{openid}: received {received}, told {told:?}, sent {sent}"));
        }
    }
}

/// A call that has not come back yet.
pub(super) struct OnTheLine {
    witness: Arc<Witness>,
    machine: usize,
    pub(super) call: Call,
    about: String,
    token: String,
}

impl OnTheLine {
    /// The caller is about to learn this.
    pub(super) fn comes_back(&self, carried: &Result<RawReply<Bytes>, TransportError>) {
        self.witness.tell(|| match carried {
            Ok(reply) => format!("{}: {} {}", self.machine, reply.status, shown(&reply.body)),
            Err(error) => format!("{}: {error}", self.machine),
        });
        let reply: Value = match carried {
            Ok(reply) if reply.status == 200 => serde_json::from_slice(&reply.body).unwrap_or_default(),
            _ => Value::Null,
        };
        let passed = self.witness.clock.passed();
        let mut state = self.witness.state();
        let seen = state.machines.entry(self.machine).or_default();
        let stale = matches!(reply["errcode"].as_i64(), Some(40001 | 40014 | 42001));
        match self.call {
            Call::Token if reply["expires_in"].as_u64().is_some_and(|life| life > 0) => {
                seen.received = Some(text(&reply, "access_token"));
            }
            Call::Send if stale => {
                let known = seen.rejected.len();
                seen.rejected.entry(self.token.clone()).or_insert(passed);
                let new = seen.rejected.len() - known;
                state.account.rejections += new as u64;
            }
            _ => {}
        }
        if self.call == Call::Send {
            let unsent = carried.as_ref().is_err_and(|error| error.stage() == Stage::BeforeSending);
            let post = if stale {
                Post::Stale
            } else if unsent {
                Post::NeverLeft
            } else {
                Post::Over
            };
            state.posts.insert(self.about.clone(), post);
        }
    }
}

impl Drop for OnTheLine {
    fn drop(&mut self) {
        if self.call == Call::Token {
            self.witness.state().machines.entry(self.machine).or_default().fetching = false;
        }
    }
}

fn text(object: &Value, name: &str) -> String {
    object[name].as_str().unwrap_or_default().to_owned()
}

/// Play money may be shown, but need not fill the screen.
fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(120).collect()
}
