//! The event log: requests and controls, without secrets.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Serialize;
use wxsub_proto::{AppId, ErrCode};

use crate::request::Request;

/// The number of events kept. Older ones are dropped.
const MAX_EVENTS: usize = 10_000;
/// The number of paths with a count of their own. Other paths are counted together.
const MAX_PATHS: usize = 256;
/// The length in bytes of a path with a count of its own.
const MAX_PATH_LENGTH: usize = 128;
/// The name under which the other paths are counted.
const OTHER_PATHS: &str = "(other)";

/// The requests and events so far.
///
/// It contains no secret: tokens appear by their sequence number, openids and bodies do not appear.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EventLog {
    /// The exact number of requests to each of Weixin's paths, including those that met a fault.
    pub requests: BTreeMap<String, u64>,
    /// The last 10000 events, oldest first.
    pub events: VecDeque<Event>,
}

/// One request to Weixin, or one control of the sandbox.
#[serde_with::skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// The time in seconds since the Unix epoch, by the sandbox's clock.
    pub at: u64,
    /// Method and path of a request to Weixin, or a description of the control.
    pub what: String,
    /// The app, if one was identified.
    pub appid: Option<AppId>,
    /// The sequence number of the token that was issued or used.
    pub token: Option<u64>,
    /// The error code of Weixin's response, even if the response was not sent.
    pub errcode: Option<ErrCode>,
    /// The name of the fault that the request met.
    pub fault: Option<&'static str>,
}

/// The facts about a request, for the event log and the journal.
#[derive(Default)]
pub(crate) struct Trace {
    pub(crate) appid: Option<AppId>,
    pub(crate) token: Option<u64>,
    pub(crate) errcode: Option<ErrCode>,
    pub(crate) fault: Option<&'static str>,
}

impl EventLog {
    /// The number of requests to this path.
    #[must_use]
    pub fn request_count(&self, path: &str) -> u64 {
        self.requests.get(path).copied().unwrap_or_default()
    }

    /// Records a request to Weixin.
    pub(crate) fn record_request(&mut self, request: &Request<'_>, trace: Trace) {
        let is_known = self.requests.contains_key(request.path);
        let has_own_count =
            is_known || (self.requests.len() < MAX_PATHS && request.path.len() <= MAX_PATH_LENGTH);
        let path = if has_own_count { request.path } else { OTHER_PATHS };
        *self.requests.entry(path.to_owned()).or_default() += 1;
        let method: String = request.method.chars().take(16).collect();
        self.push(request.now, format!("{method} {path}"), trace);
    }

    /// Records a control of the sandbox.
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
    fn counts_are_exact_and_events_and_paths_are_bounded() {
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
