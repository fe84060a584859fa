//! What happened, without secrets.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Serialize;
use wxsub_proto::{AppId, ErrCode};

use crate::request::Request;

/// How many events are kept; older ones are forgotten.
const MAX_EVENTS: usize = 10_000;
/// How many paths are counted each on their own, and how long they may be; the rest is counted together.
const MAX_PATHS: usize = 256;
const MAX_PATH_LENGTH: usize = 128;
const OTHER_PATHS: &str = "(other)";

/// What happened so far. Holds no secret: tokens appear as the number of their issue, openids and bodies not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EventLog {
    /// How many requests reached each path of Weixin's, those that met a fault included. Exact.
    pub requests: BTreeMap<String, u64>,
    /// The last 10000 events, oldest first.
    pub events: VecDeque<Event>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// When, in seconds since the Unix epoch, by the sandbox's clock.
    pub at: u64,
    /// What: verb and path of a request to Weixin, or what was done to the sandbox.
    pub what: String,
    /// The app it concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appid: Option<AppId>,
    /// The token that was issued or used: the number of its issue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// What Weixin decided, whether or not the reply arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errcode: Option<ErrCode>,
    /// The fault it met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<&'static str>,
}

/// What is learnt about a request while it is answered.
#[derive(Default)]
pub(crate) struct Trace {
    pub(crate) appid: Option<AppId>,
    pub(crate) token: Option<u64>,
    pub(crate) errcode: Option<ErrCode>,
    pub(crate) fault: Option<&'static str>,
}

impl EventLog {
    /// How many requests reached this path.
    #[must_use]
    pub fn request_count(&self, path: &str) -> u64 {
        self.requests.get(path).copied().unwrap_or_default()
    }

    /// Keeps a request to Weixin.
    pub(crate) fn record_request(&mut self, request: &Request<'_>, trace: Trace) {
        let is_known = self.requests.contains_key(request.path);
        let has_own_count =
            is_known || (self.requests.len() < MAX_PATHS && request.path.len() <= MAX_PATH_LENGTH);
        let path = if has_own_count { request.path } else { OTHER_PATHS };
        *self.requests.entry(path.to_owned()).or_default() += 1;
        let method: String = request.method.chars().take(16).collect();
        self.push(request.now, format!("{method} {path}"), trace);
    }

    /// Keeps something that was done to the sandbox.
    pub(crate) fn record_control(&mut self, now: Duration, what: impl Into<String>, appid: Option<&AppId>) {
        let appid = appid.cloned();
        self.push(now, what.into(), Trace { appid, ..Trace::default() });
    }

    fn push(&mut self, now: Duration, what: String, trace: Trace) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        let Trace { appid, token, errcode, fault } = trace;
        let at = now.as_secs();
        self.events.push_back(Event { at, what, appid, token, errcode, fault });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str) -> Request<'_> {
        let client_ip = std::net::Ipv4Addr::LOCALHOST.into();
        Request {
            now: Duration::ZERO,
            client_ip,
            base_url: "",
            is_cross_site: false,
            method: "GET",
            path,
            query: "",
            body: Some(b""),
        }
    }

    #[test]
    fn counts_are_exact_while_events_and_paths_are_bounded() {
        let mut log = EventLog::default();
        for _ in 0..MAX_EVENTS + 5 {
            log.record_request(&request("/a"), Trace::default());
        }
        assert_eq!(log.request_count("/a"), MAX_EVENTS as u64 + 5);
        assert_eq!(log.events.len(), MAX_EVENTS);
        for number in 0..1000 {
            log.record_request(&request(&format!("/{number}")), Trace::default());
        }
        log.record_request(&request(&"/x".repeat(MAX_PATH_LENGTH)), Trace::default());
        assert_eq!(log.requests.len(), MAX_PATHS + 1);
        assert_eq!(log.requests.values().sum::<u64>(), MAX_EVENTS as u64 + 1006);
    }
}
