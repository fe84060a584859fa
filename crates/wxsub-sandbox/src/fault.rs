//! What goes wrong on demand.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use wxsub_proto::ErrCode;

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Weixin refuses with this code; the request has no effect.
    ErrCode(ErrCode),
    /// Something in between answers with this HTTP status (200 to 599) and a page; the request has no effect. A 3xx leads
    /// to [`CAPTIVE_PORTAL_PATH`].
    Status(u16),
    /// The request has its effect at once, its reply comes this late.
    Delay(Duration),
    /// The connection is reset; the request has no effect.
    ResetBeforeApply,
    /// The request has its effect, then the connection is reset.
    ResetAfterApply,
    /// The request has its effect, the body of its reply breaks off halfway.
    Truncate,
    /// A captive portal answers 200 with a page; the request has no effect.
    Html,
    /// No reply ever comes; the request has no effect.
    Hang,
}

/// Where a [`Fault::Status`] of 3xx leads: whoever follows it shows up in the journal.
pub const CAPTIVE_PORTAL_PATH: &str = "/captive-portal";

impl Fault {
    /// Its name in the control API and the journal.
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

/// The faults to come: for each path a queue, first in, first out.
#[derive(Default)]
pub(crate) struct Faults(HashMap<String, VecDeque<(u64, Fault)>>);

impl Faults {
    pub(crate) fn add(&mut self, path: &str, times: u64, fault: Fault) {
        if times > 0 {
            self.0.entry(path.to_owned()).or_default().push_back((times, fault));
        }
    }

    /// The fault that meets the next request for this path.
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

    /// Which are still to come: path, how often, and what; by path.
    pub(crate) fn pending(&self) -> Vec<(&str, u64, Fault)> {
        let queues = self.0.iter().flat_map(|(path, queue)| {
            queue.iter().map(move |(times, fault)| (path.as_str(), *times, *fault))
        });
        let mut all: Vec<_> = queues.collect();
        // Stable: within a path the order is that of the queue.
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
    fn each_is_used_as_often_as_asked_in_order_and_on_its_path_only() {
        let mut faults = Faults::default();
        faults.add("/a", 2, Fault::Html);
        faults.add("/a", 1, Fault::Hang);
        faults.add("/a", 0, Fault::Truncate);
        assert_eq!(faults.take_next("/b"), None);
        let met: Vec<_> = (0..4).map(|_| faults.take_next("/a")).collect();
        assert_eq!(met, [Some(Fault::Html), Some(Fault::Html), Some(Fault::Hang), None]);
        faults.add("/a", u64::MAX, Fault::Hang);
        faults.clear();
        assert_eq!(faults.take_next("/a"), None);
    }
}
