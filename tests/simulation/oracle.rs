//! The test oracle: sees every call and every token, and reports broken invariants. It shares no logic with the token cache.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use wxsub_core::error::{Delivery, SendError};
use wxsub_core::proto::codec::{RawResponse, decode_query};
use wxsub_core::token::{CachedToken, Generation};
use wxsub_core::transport::{RequestState, TransportError};

use super::node_clock::NodeClock;

/// The most token requests of one node in a minute, also during faults.
const MAX_REQUESTS_PER_MINUTE: usize = 15;

/// The totals of one seed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) sent: u64,
    pub(crate) not_sent: u64,
    pub(crate) maybe_sent: u64,
    pub(crate) refused: u64,
    pub(crate) token_requests: u64,
    /// How many token requests reached Weixin.
    pub(crate) arrived_token_requests: u64,
    /// How often a process first saw that Weixin rejects its token.
    pub(crate) rejections: u64,
    pub(crate) crashes: u64,
    pub(crate) violations: Vec<String>,
}

impl Summary {
    pub(crate) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.not_sent += other.not_sent;
        self.maybe_sent += other.maybe_sent;
        self.refused += other.refused;
        self.token_requests += other.token_requests;
        self.arrived_token_requests += other.arrived_token_requests;
        self.rejections += other.rejections;
        self.crashes += other.crashes;
        self.violations.extend(other.violations);
    }

    /// Shows that faults are frequent enough to matter, and that most sends succeed.
    pub(crate) fn line(&self) -> String {
        let Self {
            sent, not_sent, maybe_sent, refused, token_requests, arrived_token_requests, crashes, ..
        } = self;
        format!(
            "{sent} sent, {refused} refused, {not_sent} not sent, {maybe_sent} maybe sent; \
             {token_requests} token requests sent, {arrived_token_requests} arrived; {crashes} crashes"
        )
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Token,
    Send,
}

/// The state of the last post of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Post {
    InFlight,
    NotSent,
    Stale,
    Done,
}

#[derive(Default)]
struct State {
    summary: Summary,
    /// The latest expiry of each token.
    expires_at: HashMap<String, Duration>,
    posts: HashMap<String, Post>,
    nodes: HashMap<usize, NodeView>,
    /// The outcomes that the client reported.
    outcomes: HashMap<String, Delivery>,
    sent: HashSet<String>,
}

/// What one process has seen so far.
#[derive(Default)]
struct NodeView {
    fetching: bool,
    token_requests: VecDeque<Duration>,
    /// When the process saw the first rejection of each token.
    rejected: HashMap<String, Duration>,
    /// The newest generation that it has served.
    newest: Generation,
}

pub(super) struct Oracle {
    clock: Arc<NodeClock>,
    verbose: bool,
    state: Mutex<State>,
}

impl Oracle {
    pub(super) fn new(clock: Arc<NodeClock>, verbose: bool) -> Self {
        Self { clock, verbose, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Prints a line of the trace, if this seed is traced.
    pub(super) fn trace(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("{:>11.3} {}", self.clock.elapsed().as_secs_f64(), what());
        }
    }

    pub(super) fn report_violation(&self, what: &str) {
        self.trace(|| format!("VIOLATION: {what}"));
        let elapsed = self.clock.elapsed().as_secs_f64();
        self.state().summary.violations.push(format!("{elapsed:.3} {what}"));
    }

    pub(super) fn summary(&self) -> Summary {
        self.state().summary.clone()
    }

    /// The process is gone with everything it knew.
    pub(super) fn crashed(&self, node: usize) {
        self.trace(|| format!("{node}: crash"));
        let mut state = self.state();
        state.summary.crashes += 1;
        state.nodes.remove(&node);
    }

    /// A node sends a request.
    pub(super) fn request_sent(self: &Arc<Self>, node: usize, target: &str, body: &[u8]) -> PendingCall {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let is_send = path.ends_with("/subscribe");
        let (operation, about) = match is_send {
            true => {
                let body: Value = serde_json::from_slice(body).unwrap();
                (Operation::Send, body["touser"].as_str().unwrap().to_owned())
            }
            false => (Operation::Token, String::new()),
        };
        self.trace(|| format!("{node}: {path} {about}"));
        let token = decode_query(query).unwrap().into_iter().find(|(name, _)| name == "access_token");
        let token = token.map(|(_, token)| token).unwrap_or_default();
        match operation {
            Operation::Token => self.on_token_request(node),
            Operation::Send => self.on_send(&about),
        }
        PendingCall { oracle: Arc::clone(self), node, operation, about, token }
    }

    fn on_token_request(&self, node: usize) {
        let elapsed = self.clock.elapsed();
        let mut state = self.state();
        state.summary.token_requests += 1;
        let seen = state.nodes.entry(node).or_default();
        let was_fetching = std::mem::replace(&mut seen.fetching, true);
        seen.token_requests.push_back(elapsed);
        while seen.token_requests.front().is_some_and(|at| *at + Duration::from_secs(60) < elapsed) {
            seen.token_requests.pop_front();
        }
        let count = seen.token_requests.len();
        drop(state);
        if was_fetching {
            self.report_violation(&format!("{node}: two token requests at once"));
        }
        if count > MAX_REQUESTS_PER_MINUTE {
            self.report_violation(&format!("{node}: {count} token requests in a minute"));
        }
    }

    fn on_send(&self, openid: &str) {
        let before = self.state().posts.insert(openid.to_owned(), Post::InFlight);
        if let Some(before @ (Post::InFlight | Post::Done)) = before {
            self.report_violation(&format!("{openid}: posted again after {before:?}"));
        }
    }

    /// A request has reached Weixin.
    pub(super) fn request_arrived(&self, target: &str) {
        self.state().summary.arrived_token_requests += u64::from(!target.contains("/subscribe"));
    }

    /// Weixin has sent this response.
    pub(super) fn response_issued(&self, target: &str, body: &[u8]) {
        self.trace(|| format!("  Weixin: {} {}", target.split('?').next().unwrap(), excerpt(body)));
        let body: Value = serde_json::from_slice(body).unwrap();
        if let (Some(token), Some(lifetime)) = (body["access_token"].as_str(), body["expires_in"].as_u64()) {
            let expires_at = self.clock.elapsed() + Duration::from_secs(lifetime);
            let mut state = self.state();
            // Lifetimes are in whole seconds, so the latest expiry is the most accurate.
            let known = state.expires_at.entry(token.to_owned()).or_default();
            *known = expires_at.max(*known);
        }
    }

    /// A process serves this token.
    pub(super) fn token_served(&self, node: usize, served: &CachedToken) {
        let (elapsed, token) = (self.clock.elapsed(), served.token().expose_secret());
        let mut state = self.state();
        let is_expired = state.expires_at.get(token).is_none_or(|expires_at| *expires_at < elapsed);
        let seen = state.nodes.entry(node).or_default();
        let is_rejected = seen.rejected.get(token).is_some_and(|at| *at < elapsed);
        let is_older = served.generation() < std::mem::replace(&mut seen.newest, served.generation());
        drop(state);
        for (is_wrong, what) in [
            (is_expired, "serves an expired token"),
            (is_rejected, "serves a token that Weixin rejected in its own call"),
            (is_older, "the generation went back"),
        ] {
            if is_wrong {
                self.report_violation(&format!("{node}: {what}"));
            }
        }
    }

    /// The client has reported the outcome of a message.
    pub(super) fn outcome_reported(&self, openid: &str, outcome: &Result<(), SendError>) {
        self.trace(|| {
            format!("{openid}: {}", outcome.as_ref().map_or_else(ToString::to_string, |()| "sent".to_owned()))
        });
        let mut state = self.state();
        match outcome {
            Ok(()) => {
                state.summary.sent += 1;
                state.sent.insert(openid.to_owned());
            }
            Err(error) => {
                match error.delivery() {
                    Delivery::NotSent => state.summary.not_sent += 1,
                    Delivery::MaybeSent => state.summary.maybe_sent += 1,
                    Delivery::Rejected => state.summary.refused += 1,
                }
                state.outcomes.insert(openid.to_owned(), error.delivery());
            }
        }
    }

    /// Compares the reported outcome with the number of messages that the user received.
    pub(super) fn check_mailbox(&self, openid: &str, received: usize) {
        let state = self.state();
        let reported = state.outcomes.get(openid).copied();
        let is_consistent = match (state.sent.contains(openid), reported) {
            (true, _) => received == 1,
            (false, Some(Delivery::NotSent | Delivery::Rejected)) => received == 0,
            // The outcome is unknown, or the sender crashed.
            (false, Some(Delivery::MaybeSent) | None) => received <= 1,
        };
        let sent = state.sent.contains(openid);
        drop(state);
        if !is_consistent {
            self.report_violation(&format!(
                "{openid}: received {received}, reported {reported:?}, sent {sent}"
            ));
        }
    }
}

/// A call without a response so far.
pub(super) struct PendingCall {
    oracle: Arc<Oracle>,
    node: usize,
    pub(super) operation: Operation,
    about: String,
    token: String,
}

impl PendingCall {
    /// The caller is about to get this result.
    pub(super) fn response_received(&self, result: &Result<RawResponse<Bytes>, TransportError>) {
        self.oracle.trace(|| match result {
            Ok(reply) => format!("{}: {} {}", self.node, reply.status, excerpt(&reply.body)),
            Err(error) => format!("{}: {error}", self.node),
        });
        let reply: Value = match result {
            Ok(reply) if reply.status == 200 => serde_json::from_slice(&reply.body).unwrap_or_default(),
            _ => Value::Null,
        };
        let elapsed = self.oracle.clock.elapsed();
        let mut state = self.oracle.state();
        let seen = state.nodes.entry(self.node).or_default();
        let stale = matches!(reply["errcode"].as_i64(), Some(40001 | 40014 | 42001));
        if self.operation == Operation::Send && stale {
            let known = seen.rejected.len();
            seen.rejected.entry(self.token.clone()).or_insert(elapsed);
            let new = seen.rejected.len() - known;
            state.summary.rejections += new as u64;
        }
        if self.operation == Operation::Send {
            let is_unsent =
                result.as_ref().is_err_and(|error| error.request_state() == RequestState::NotSent);
            let post = if stale {
                Post::Stale
            } else if is_unsent {
                Post::NotSent
            } else {
                Post::Done
            };
            state.posts.insert(self.about.clone(), post);
        }
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        if self.operation == Operation::Token {
            self.oracle.state().nodes.entry(self.node).or_default().fetching = false;
        }
    }
}

/// The first 120 characters. Tokens of the sandbox may be printed.
fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(120).collect()
}
