//! Fault injection: which requests fail, and how.

use std::time::Duration;

use wxsub_proto::{AppId, ErrCode};

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

/// The pending faults, oldest first.
#[derive(Default)]
pub(crate) struct Faults(Vec<PendingFault>);

/// A fault for the next `times` requests for `path`, or for those of one app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PendingFault {
    pub(crate) path: String,
    /// `None`: requests of every app, and requests of no app.
    pub(crate) appid: Option<AppId>,
    pub(crate) times: u64,
    pub(crate) fault: Fault,
}

impl Faults {
    /// Adds a fault, unless it is for no request.
    pub(crate) fn add(&mut self, fault: PendingFault) {
        if fault.times > 0 {
            self.0.push(fault);
        }
    }

    /// Uses up and returns the oldest fault that applies to one request of this app for `path`.
    pub(crate) fn take_next(&mut self, path: &str, appid: Option<&AppId>) -> Option<Fault> {
        let is_of_app = |fault: &PendingFault| fault.appid.is_none() || fault.appid.as_ref() == appid;
        let next = self.0.iter_mut().find(|pending| pending.path == path && is_of_app(pending))?;
        next.times -= 1;
        let fault = next.fault;
        self.0.retain(|pending| pending.times > 0);
        Some(fault)
    }

    /// The pending faults, sorted by path. Faults of one path are in the order in which they were added.
    pub(crate) fn pending(&self) -> Vec<&PendingFault> {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by_key(|pending| &pending.path);
        all
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{AppId, Fault, Faults, PendingFault};

    fn add(faults: &mut Faults, path: &str, appid: Option<&AppId>, times: u64, fault: Fault) {
        faults.add(PendingFault { path: path.to_owned(), appid: appid.cloned(), times, fault });
    }

    #[test]
    fn faults_apply_in_order_and_only_to_their_path_and_app() {
        let (app, other): (AppId, AppId) = ("wx1".parse().unwrap(), "wx2".parse().unwrap());
        let mut faults = Faults::default();
        add(&mut faults, "/a", Some(&app), 2, Fault::Html);
        add(&mut faults, "/a", None, 1, Fault::Hang);
        add(&mut faults, "/a", Some(&app), 1, Fault::Truncate);
        add(&mut faults, "/a", None, 0, Fault::ResetAfterApply);
        assert_eq!(faults.take_next("/b", Some(&app)), None);
        let mut take = |appid| faults.take_next("/a", appid);
        assert_eq!(take(Some(&app)), Some(Fault::Html));
        assert_eq!([take(Some(&other)), take(Some(&other)), take(None)], [Some(Fault::Hang), None, None]);
        assert_eq!(
            [take(Some(&app)), take(Some(&app)), take(Some(&app))],
            [Some(Fault::Html), Some(Fault::Truncate), None]
        );
        add(&mut faults, "/b", None, 2, Fault::Hang);
        add(&mut faults, "/a", None, u64::MAX, Fault::Hang);
        assert_eq!(faults.pending().iter().map(|one| one.path.as_str()).collect::<Vec<_>>(), ["/a", "/b"]);
        faults.clear();
        assert_eq!(faults.take_next("/a", None), None);
    }
}
