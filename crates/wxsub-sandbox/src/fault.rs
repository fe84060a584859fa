//! Fault injection: which requests fail, and how.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use wxsub_proto::ErrCode;

/// How one request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Weixin returns this error code. The request has no effect.
    ErrCode(ErrCode),
    /// An intermediary returns this HTTP status (200 to 599) with an HTML page. The request has no effect.
    ///
    /// A 3xx redirects to [`CAPTIVE_PORTAL_PATH`].
    Status(u16),
    /// The request takes effect at once. The response is delayed by this duration.
    Delay(Duration),
    /// The connection is reset. The request has no effect.
    ResetBeforeApply,
    /// The request takes effect. Then the connection is reset.
    ResetAfterApply,
    /// The request takes effect. Only the first half of the response body is sent.
    Truncate,
    /// A captive portal returns 200 with an HTML page. The request has no effect.
    Html,
    /// No response is ever sent. The request has no effect.
    Hang,
}

/// The redirect target of a [`Fault::Status`] of 3xx. A client that follows the redirect appears in the event log.
pub const CAPTIVE_PORTAL_PATH: &str = "/captive-portal";

impl Fault {
    /// The name of the fault in the control API and the event log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ErrCode(_) => "errcode",
            Self::Status(_) => "status",
            Self::Delay(_) => "delay_ms",
            Self::ResetBeforeApply => "reset_before_apply",
            Self::ResetAfterApply => "reset_after_apply",
            Self::Truncate => "truncate",
            Self::Html => "html",
            Self::Hang => "hang",
        }
    }
}

/// The pending faults: a queue per path, first in, first out.
#[derive(Default)]
pub(crate) struct Faults(HashMap<String, VecDeque<(u64, Fault)>>);

impl Faults {
    /// Queues `fault` for the next `times` requests for `path`.
    pub(crate) fn add(&mut self, path: &str, times: u64, fault: Fault) {
        if times > 0 {
            self.0.entry(path.to_owned()).or_default().push_back((times, fault));
        }
    }

    /// Removes and returns the fault for one request for `path`.
    pub(crate) fn take_next(&mut self, path: &str) -> Option<Fault> {
        let queue = self.0.get_mut(path)?;
        let (times, fault) = queue.front_mut()?;
        let fault = *fault;
        *times -= 1;
        if *times == 0 {
            queue.pop_front();
        }
        Some(fault)
    }

    /// The pending faults with path and remaining count, sorted by path.
    pub(crate) fn pending(&self) -> Vec<(&str, u64, Fault)> {
        let queues = self.0.iter().flat_map(|(path, queue)| {
            queue.iter().map(move |(times, fault)| (path.as_str(), *times, *fault))
        });
        let mut all: Vec<_> = queues.collect();
        // The sort is stable, so faults of one path stay in the order of their queue.
        all.sort_by_key(|(path, ..)| *path);
        all
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Faults};

    #[test]
    fn faults_apply_in_order_and_only_to_their_path() {
        let mut faults = Faults::default();
        faults.add("/a", 2, Fault::Html);
        faults.add("/a", 1, Fault::Hang);
        faults.add("/a", 0, Fault::Truncate);
        assert_eq!(faults.take_next("/b"), None);
        let faults_taken: Vec<_> = (0..4).map(|_| faults.take_next("/a")).collect();
        assert_eq!(faults_taken, [Some(Fault::Html), Some(Fault::Html), Some(Fault::Hang), None]);
        faults.add("/a", u64::MAX, Fault::Hang);
        faults.clear();
        assert_eq!(faults.take_next("/a"), None);
    }
}
